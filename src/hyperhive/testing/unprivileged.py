"""Runs a command as an ordinary user, for tests that run as root: `python -m hyperhive.testing.unprivileged UID CMD…`.

This Python may live where only root gets to (a 0700 home). So, in a mount namespace of its own, the first directory
on the way that others cannot enter is covered by an empty one with only Python bound into it. Nothing changes for
anybody else.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hyperhive.containers.host import interpreter_mounts

_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_SLAVE = 0x20000, 0x1000, 0x4000, 0x80000
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(argv: Sequence[str]) -> None:
    uid, command = int(argv[0]), argv[1:]
    if _LIBC.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a mount namespace")
    _mount(None, "/", None, _MS_REC | _MS_SLAVE)
    for path, fd in [(mount.source, os.open(mount.source, os.O_PATH)) for mount in interpreter_mounts()]:
        if closed := _closed(path):
            _mount("covered", str(closed), "tmpfs", 0, "mode=0755")
        if not path.exists():
            path.mkdir(parents=True)
            _mount(f"/proc/self/fd/{fd}", str(path), None, _MS_BIND | _MS_REC)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.execve(command[0], list(command), {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"})


def _closed(path: Path) -> Path | None:
    """The outermost directory on the way to `path` that others may not enter."""
    return next((parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001), None)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    words = [None if text is None else text.encode() for text in (source, target, kind, data)]
    if _LIBC.mount(*words[:3], ctypes.c_ulong(flags), words[3]) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), source, None, target)


if __name__ == "__main__":
    main(sys.argv[1:])
