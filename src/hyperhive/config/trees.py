"""Directory trees that an agent wrote: any depth, any names, any number; nothing in them is followed."""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_COUNTED: Final = 100_000


def remove(path: Path) -> None:
    """Delete the directory and all beneath it, what is read-only too; harmless when it is gone.

    Nobody may be writing there meanwhile.

    The directories in a directory are moved up before it goes, so that depth costs neither recursion nor descriptors.
    """
    with contextlib.suppress(FileNotFoundError):
        top = _opened(path)
        try:
            _empty(top)
        finally:
            os.close(top)
        path.rmdir()


def measure(path: Path) -> tuple[int, float]:
    """Bytes and latest change (Unix seconds) of the first 100,000 entries; what cannot be read is left out."""
    found = path.lstat()
    size, latest, counted = 0, found.st_mtime, 0
    directories = [str(path)]
    while directories and counted < _MAX_COUNTED:
        for entry in _entries(directories.pop()):
            counted += 1
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                size, latest = size + found.st_size, max(latest, found.st_mtime)
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.path)
    return size, latest


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(itertools.islice(entries, _MAX_COUNTED))
    except OSError:
        return []


def _empty(top: int) -> None:
    fresh = (f".removing-{number}" for number in itertools.count())
    while names := os.listdir(top):
        for name in names:
            if not _unlinked(name, top):
                _flatten(name, top, fresh)


def _flatten(name: str, top: int, fresh: Iterator[str]) -> None:
    """Delete the directory `name` of `top`; the directories in it become directories of `top`."""
    directory = _opened(name, top)
    try:
        for child in os.listdir(directory):  # noqa: PTH208 (a descriptor, not a path)
            if not _unlinked(child, directory):
                _move(child, directory, top, fresh)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=top)


def _move(child: str, directory: int, top: int, fresh: Iterator[str]) -> None:
    """Under a name of `top` that nothing has; an empty directory there would be replaced, which is as good."""
    os.close(_opened(child, directory))  # one that is read-only cannot be moved either
    for name in fresh:
        try:
            os.rename(child, name, src_dir_fd=directory, dst_dir_fd=top)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        else:
            return


def _opened(name: str | Path, within: int | None = None) -> int:
    """A descriptor of the directory, which its owner may write now."""
    try:
        directory = os.open(name, _DIRECTORY, dir_fd=within)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=within)
        directory = os.open(name, _DIRECTORY, dir_fd=within)
    with contextlib.suppress(PermissionError):  # another's: what can be deleted in it shows
        os.fchmod(directory, 0o700)
    return directory


def _unlinked(name: str, directory: int) -> bool:
    """Whether it is gone; a directory is not."""
    try:
        os.unlink(name, dir_fd=directory)
    except IsADirectoryError:
        return False
    return True
