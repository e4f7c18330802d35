"""Processes that are not our children, held by descriptor so that a number used twice cannot mislead us."""

import asyncio
import contextlib
import fcntl
import os
import select
import signal
import struct
from pathlib import Path
from typing import Final

import msgspec

_GET_INFO: Final = 0xC040FF0B
_EXIT: Final = 1 << 3
_INFO_BYTES: Final = 64


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process as a record keeps it: its number and when it started, in ticks since boot."""

    pid: int
    start: int


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def open_process(process: Process) -> int | None:
    """A pidfd, or None when that process is gone. The caller closes it."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return None
    # Looked at after opening: as long as the descriptor refers to it, the number cannot change hands unseen.
    if _start_of(process.pid) == process.start and not is_dead(fd):
        return fd
    os.close(fd)
    return None


def process_of(pid: int) -> Process | None:
    """The process that has this number now."""
    start = _start_of(pid)
    return None if start is None else Process(pid=pid, start=start)


def is_dead(pidfd: int) -> bool:
    """Whether it has ended; a zombie has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def send(pidfd: int, number: int) -> None:
    """Signals the process if it still lives."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


async def ended(pidfd: int) -> None:
    """Returns when the process has ended (a zombie counts as ended)."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    # A descriptor of its own: two waiters may watch one process, and the loop takes one reader per descriptor.
    watched = os.dup(pidfd)
    loop.add_reader(watched, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)


def wait_status(pidfd: int) -> int | None:
    """The wait status of an ended process that was reaped by whoever its parent is; None on kernels before 6.15."""
    info = bytearray(struct.pack("=Q", _EXIT).ljust(_INFO_BYTES, b"\0"))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", info)
    (status,) = struct.unpack_from("=i", info, 60)
    return int(status) if mask & _EXIT else None


def _start_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None
