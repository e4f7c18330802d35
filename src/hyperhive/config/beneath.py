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
from typing import BinaryIO, Final

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


def open_directory(directory: Path, name: str) -> "Directory":
    """The directory `name` beneath `directory`, found as `read_beneath` finds a file; the caller closes it."""
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return Directory(_openat2(root, name, os.O_DIRECTORY))
    finally:
        os.close(root)


class Directory:
    """A directory that stays the same one, whatever its names come to mean; a context manager that closes it.

    Methods raise OSError as `read_beneath` does.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> "Directory":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def directory(self, name: str) -> "Directory":
        """One beneath it; the caller closes it."""
        return Directory(_openat2(self.descriptor, name, os.O_DIRECTORY))

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

    def copy(self, name: str, target: Path, max_bytes: int) -> int:
        """Copies the regular file `name` beneath it into the new file `target`; returns its bytes.

        Whoever writes to it meanwhile cannot make it longer than `max_bytes`.
        """
        with _regular(_openat2(self.descriptor, name), name) as source, target.open("xb") as copy:
            copied = 0
            while chunk := source.read(1 << 20):
                copied += len(chunk)
                if copied > max_bytes:
                    raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", name)
                copy.write(chunk)
        return copied


def _content(opened: int, name: str, max_bytes: int) -> bytes:
    with _regular(opened, name) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", name)
    return content


@contextlib.contextmanager
def _regular(opened: int, name: str) -> Iterator[BinaryIO]:
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)  # `open` refuses a directory's descriptor, and does not close it then
        raise OSError(errno.EINVAL, "not a regular file", name)
    with open(opened, "rb") as file:
        yield file


def _openat2(root: int, name: str, flags: int = 0) -> int:
    if platform.machine() not in ("x86_64", "aarch64", "riscv64"):
        raise OSError(errno.ENOSYS, f"openat2's number is not known on {platform.machine()}")
    how = struct.pack("QQQ", _FLAGS | flags, 0, _RESOLVE)
    opened: int = _libc.syscall(_OPENAT2, root, os.fsencode(name), how, len(how))
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return opened
