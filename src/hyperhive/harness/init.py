"""The duties of a container's first process: start children, reap whatever ends, leave nothing behind."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

MAX_ROUNDS: Final = 50
ROUND_S: Final = 0.1
"""Rounds of killing what is left, and how long each waits for the dead at most: 5 seconds in all."""
_HIGH_FD: Final = 64
_PR_SET_CHILD_SUBREAPER: Final = 36


class Child(Struct, frozen=True):
    pid: int
    ended: "asyncio.Future[int]"  #: the exit status, negative for a signal


class Children:
    """All processes below this one. Whatever loses its parent becomes a child of the runner and is reaped."""

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._apart: set[int] = set()
        self._some_ended = asyncio.Event()

    def take_over(self) -> None:
        """From now on all that ends below this process is reaped. Needs a running loop; takes SIGCHLD over."""
        if os.getpid() != 1:
            _adopt_orphans()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], fds: Mapping[int, int], apart: bool = False
    ) -> Child:
        """Start a process in its own session with exactly this environment and these descriptors (theirs: ours).

        To be called after `take_over`, which reaps it.
        Standard input is empty unless it is among them; standard error stays the runner's. One that stands apart
        does not end with claude, but by `end`.
        """
        high = {theirs: fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD) for theirs, ours in fds.items()}
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            *((os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in high.items()),
        ]
        try:
            pid = os.posix_spawn(
                argv[0],
                list(argv),
                dict(env),
                file_actions=actions,
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # python ignores them, programs expect them
            )
        finally:
            for fd in high.values():
                os.close(fd)
        child = Child(pid, asyncio.get_running_loop().create_future())
        self._children[pid] = child
        if apart:
            self._apart.add(pid)
        return child

    def end(self, child: Child) -> None:
        """Kill it and its group; what it has put into another group ends with the next `clear`."""
        if not child.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)

    async def clear(self, *, everything: bool = False) -> None:
        """Kill all below this process, in bounded time; a child of a killed claude does not live on.

        What stands apart is spared unless `everything` is to end.
        """
        for _ in range(MAX_ROUNDS):
            self._some_ended.clear()
            self._reap()
            left = self._left(everything)
            if not left:
                self._reap()  # those that died since: whoever gets them after us may take his time
                return
            for pid in left:
                _kill(pid)
            try:
                async with asyncio.timeout(ROUND_S):
                    await self._some_ended.wait()
            except TimeoutError:
                continue

    def _left(self, everything: bool) -> list[int]:
        spared = () if everything else self._apart
        apart = {pid for one in spared for pid in (one, *descendants(one))}
        return [pid for pid in descendants(os.getpid()) if pid not in apart]

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._some_ended.set()
            child = self._children.pop(pid, None)
            self._apart.discard(pid)
            if child is not None and not child.ended.done():
                child.ended.set_result(os.waitstatus_to_exitcode(status))


def descendants(root: int) -> list[int]:
    """The living processes below `root`, as /proc shows them."""
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    below = {root}
    while True:
        grown = below | {pid for pid, parent in parents.items() if parent in below}
        if grown == below:
            return sorted(below - {root})
        below = grown


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, parent = stat.rpartition(b")")[2].split()[:2]
    return None if state in (b"Z", b"X") else int(parent)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _adopt_orphans() -> None:
    import ctypes  # only here: PID 1 adopts by itself, and this costs memory

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
