"""Reading files where an agent can write: never through a link, never outside, never more than a bound."""

import ctypes
import errno
import os
import platform
import stat
import struct
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
    with open(opened, "rb") as file:  # noqa: PTH123 (a descriptor, not a path)
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", name)
    return content


def _openat2(root: int, name: str) -> int:
    if platform.machine() not in ("x86_64", "aarch64", "riscv64"):
        raise OSError(errno.ENOSYS, f"openat2's number is not known on {platform.machine()}")
    how = struct.pack("QQQ", _FLAGS, 0, _RESOLVE)
    opened: int = _libc.syscall(_OPENAT2, root, os.fsencode(name), how, len(how))
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return opened
