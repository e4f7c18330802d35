"""Unix sockets with the right owner and mode, from the first moment that they can be connected to."""

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path

from hyperhive.protocol.faults import FaultError, FaultKind


async def bind(path: Path, *, mode: int, gid: int | None = None) -> socket.socket:
    """A bound socket at the path, not listening yet; a dead one left there is replaced.

    Raises FaultError: `wrong_state` when somebody listens there, `storage` when the place cannot be used. The
    caller closes it; `unbind` takes the path away.
    """
    try:
        return await asyncio.to_thread(_bind, path, mode, gid)
    except OSError as error:
        raise FaultError(FaultKind.STORAGE, f"cannot make the socket {path}: {error.strerror}") from error


def _bind(path: Path, mode: int, gid: int | None) -> socket.socket:
    _remove_dead(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.bind(str(path))
        if gid is not None:
            os.chown(path, 0, gid)
        path.chmod(mode)
        sock.listen(128)  # only now can anybody connect
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _remove_dead(path: Path) -> None:
    """What is there is replaced when it is a socket that nobody answers; anything else stays and is an error."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FaultError(
                FaultKind.STORAGE, f"cannot make the socket {path}: something else is there; move it away"
            )
        if _answers(path):
            raise FaultError(FaultKind.WRONG_STATE, f"another hive is listening on {path}; stop it first")
        path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def unbind(path: Path) -> None:
    """Take the socket's path away; harmless when it is gone."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
