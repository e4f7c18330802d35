"""Directory trees that an agent wrote: any depth, any names, any number; nothing in them is followed."""

import contextlib
import errno
import itertools
import os
import stat
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_COUNTED: Final = 100_000
_DEEPEST: Final = 100
"""Directories in each other, of which each takes a descriptor while it is walked."""
_STRIDE: Final = 500


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


@dataclass(kw_only=True)
class Holding:
    """What is stored below a directory, as the file system counts it: in bytes, and in entries."""

    size: int = 0
    files: int = 0


@dataclass(kw_only=True)
class Usage:
    """By the uid that owns it. Not `whole`: there is more than was counted."""

    by_owner: dict[int, Holding] = field(default_factory=dict)
    whole: bool = True

    @property
    def size(self) -> int:
        return sum(holding.size for holding in self.by_owner.values())

    @property
    def files(self) -> int:
        return sum(holding.files for holding in self.by_owner.values())

    def count(self, found: os.stat_result) -> None:
        """A file with more than one name counts in parts, so that it counts once."""
        holding = self.by_owner.setdefault(found.st_uid, Holding())
        links = 1 if stat.S_ISDIR(found.st_mode) else max(1, found.st_nlink)
        holding.size += found.st_blocks * 512 // links
        holding.files += 1


def usage(path: Path, *, most: int = _MAX_COUNTED, within_s: float = 10.0, pause_s: float = 0.0) -> Usage:
    """What the tree takes of its file system, while others write there: nothing is changed, no link is followed, no
    other file system entered, and it ends after `most` entries or `within_s` seconds. With a `pause_s` it gives way
    now and then.
    """
    found = Usage()
    ends = time.monotonic() + within_s
    try:
        top = os.open(path, _DIRECTORY)
    except OSError as error:
        found.whole = error.errno == errno.ENOENT
        return found
    walked = _walked(top)
    with contextlib.closing(walked):
        for number, entry in enumerate(walked, 1):
            if number > most or (number % _STRIDE == 0 and time.monotonic() > ends):
                found.whole = False
                break
            if entry is None:
                found.whole = False
            else:
                found.count(entry)
            if pause_s and number % _STRIDE == 0:
                time.sleep(pause_s)
    return found


def _walked(top: int) -> Generator[os.stat_result | None]:
    """Every entry below; None where it is too deep, or cannot be looked at. Closes `top`."""
    device = os.fstat(top).st_dev
    open_ones = [(top, _names(top))]
    try:
        while open_ones:
            directory, names = open_ones[-1]
            name = next(names, None)
            if name is None:
                os.close(open_ones.pop()[0])
                continue
            try:
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue  # it has gone meanwhile
            if found.st_dev != device:
                continue
            yield found
            if stat.S_ISDIR(found.st_mode):
                inner = _inner(name, directory, device) if len(open_ones) < _DEEPEST else None
                if inner is None:
                    yield None
                else:
                    open_ones.append((inner, _names(inner)))
    finally:
        for directory, _ in open_ones:
            os.close(directory)


def _inner(name: str, directory: int, device: int) -> int | None:
    try:
        inner = os.open(name, _DIRECTORY, dir_fd=directory)
    except OSError:
        return None
    if os.fstat(inner).st_dev == device:
        return inner
    os.close(inner)
    return None


def _names(directory: int) -> Iterator[str]:
    """As they are read: a directory may have more entries than fit into memory."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            yield entry.name


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
