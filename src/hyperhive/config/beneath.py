"""Reading files where an agent can write: never through a link, never outside, never more than a bound."""

import contextlib
import ctypes
import errno
import itertools
import os
import platform
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OPENAT2: Final = 437
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE: Final = _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_libc = ctypes.CDLL(None, use_errno=True)


def read_beneath(directory: Path, name: str, max_bytes: int) -> bytes:
    """The content of the regular file `name` beneath `directory`.

    Follows no symbolic link in any component, crosses no mount and waits for nobody. Raises OSError: ENOENT when it
    is not there, ELOOP for a link, EXDEV for a way out, EFBIG when it is over `max_bytes`, EINVAL when it is no file.
    """
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = _openat2(root, name)
    finally:
        os.close(root)
    return _content(opened, name, max_bytes)


@contextlib.contextmanager
def directory_beneath(directory: Path, name: str) -> Iterator["Directory"]:
    """The directory `name` beneath `directory`, opened as `read_beneath` opens a file; closed at the end."""
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = Directory(_openat2(root, name, os.O_DIRECTORY))
    finally:
        os.close(root)
    try:
        yield opened
    finally:
        os.close(opened.descriptor)


class Directory:
    """A directory that stays the same one, whatever its names come to mean; raises OSError as `read_beneath` does."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @contextlib.contextmanager
    def directory(self, name: str) -> Iterator["Directory"]:
        """One beneath it; closed at the end."""
        opened = Directory(_openat2(self.descriptor, name, os.O_DIRECTORY))
        try:
            yield opened
        finally:
            os.close(opened.descriptor)

    def names(self, most: int) -> list[str]:
        """Raises OSError (EFBIG) when it has more than `most`."""
        with os.scandir(self.descriptor) as entries:
            names = [entry.name for entry in itertools.islice(entries, most + 1)]
        if len(names) > most:
            raise OSError(errno.EFBIG, f"more than {most} names in a directory")
        return names

    def read(self, name: str, max_bytes: int) -> bytes:
        """The content of the regular file `name` beneath it."""
        return _content(_openat2(self.descriptor, name), name, max_bytes)


def _content(opened: int, name: str, max_bytes: int) -> bytes:
    with open(opened, "rb") as file:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", name)
    return content


def _openat2(root: int, name: str, flags: int = 0) -> int:
    if platform.machine() not in ("x86_64", "aarch64", "riscv64"):
        raise OSError(errno.ENOSYS, f"openat2's number is not known on {platform.machine()}")
    how = struct.pack("QQQ", _FLAGS | flags, 0, _RESOLVE)
    opened: int = _libc.syscall(_OPENAT2, root, os.fsencode(name), how, len(how))
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return opened
