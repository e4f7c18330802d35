"""One hive to a runtime directory: a second one would take the first one's containers for strays and end them."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from hyperhive.protocol.faults import FaultError, FaultKind


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Hold the directory while entered; raises FaultError (`wrong_state`) naming the process that holds it.

    The kernel lets go of it when the process dies, however that comes about. The file stays.
    """
    descriptor = os.open(directory / "hive.pid", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise FaultError(
                FaultKind.WRONG_STATE,
                f"cannot use {directory}: a hive with pid {holder} runs there; stop that one, or set "
                "HYPERHIVE_RUNTIME_DIR to a directory of this hive's own",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
