"""Copying a tree that an agent wrote: nothing in it is followed, and only directories, files and links are taken."""

import contextlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_LEFT_OUT: Final = 20


@dataclass(kw_only=True)
class Copied:
    files: int = 0
    bytes: int = 0
    left_out: list[str] = field(default_factory=list)  #: the first paths that were neither directory, file nor link


def copy(source: Path, target: Path, *, uid: int | None = None, leave_out: frozenset[str] = frozenset()) -> Copied:
    """Into the new directory `target`, for `uid`. A link is copied as what it says; times are kept, special bits not.

    `leave_out` are names at the top. Raises OSError; what is there of `target` by then is to be removed.
    """
    found = Copied()
    target.mkdir(mode=0o700)
    waiting = [(os.open(source, _DIRECTORY), target, "", leave_out)]
    try:
        while waiting:
            here, there, path, without = waiting.pop()
            try:
                for name in sorted(os.listdir(here)):  # noqa: PTH208 (a descriptor, not a path)
                    if name not in without:
                        _copy_one(here, name, there, f"{path}{name}", found, waiting)
                _dress(there, os.fstat(here), uid)
            finally:
                os.close(here)
    finally:
        for left, *_ in waiting:
            os.close(left)
    return found


def _copy_one(
    here: int, name: str, there: Path, path: str, found: Copied,
    waiting: list[tuple[int, Path, str, frozenset[str]]],
) -> None:  # fmt: skip
    kind = os.stat(name, dir_fd=here, follow_symlinks=False)
    if stat.S_ISDIR(kind.st_mode):
        (there / name).mkdir(mode=0o700)
        waiting.append((os.open(name, _DIRECTORY, dir_fd=here), there / name, f"{path}/", frozenset()))
    elif stat.S_ISLNK(kind.st_mode):
        (there / name).symlink_to(os.readlink(name, dir_fd=here))
    elif stat.S_ISREG(kind.st_mode):
        _copy_file(here, name, there / name, found)
    elif len(found.left_out) < _MOST_LEFT_OUT:
        found.left_out.append(path)


def _copy_file(here: int, name: str, target: Path, found: Copied) -> None:
    with open(os.open(name, _FILE, dir_fd=here), "rb") as source, target.open("xb") as copy:  # noqa: PTH123 (descriptors)
        kind = os.fstat(source.fileno())
        if not stat.S_ISREG(kind.st_mode):
            raise OSError(f"{name} has become something else meanwhile; is the old hive stopped?")
        while sent := os.sendfile(copy.fileno(), source.fileno(), None, 1 << 30):
            found.bytes += sent
        os.fchmod(copy.fileno(), stat.S_IMODE(kind.st_mode) & 0o777)
        os.utime(copy.fileno(), (kind.st_atime, kind.st_mtime))
    found.files += 1


def _dress(directory: Path, kind: os.stat_result, uid: int | None) -> None:
    """Once all that is in it is there: what the agent owns, and since when."""
    if uid is not None:
        for entry in (directory, *directory.iterdir()):
            os.chown(entry, uid, uid, follow_symlinks=False)
    directory.chmod((stat.S_IMODE(kind.st_mode) & 0o777) | 0o700)
    with contextlib.suppress(OSError):
        os.utime(directory, (kind.st_atime, kind.st_mtime))
