"""The one door for child processes.

Argument lists only, an environment built from nothing, stdin closed or given, both outputs drained and bounded,
TERM then KILL with bounds, and every child reaped on every path.
"""

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.child import Child

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin"
PLAIN_ENV: Final[Mapping[str, str]] = {"PATH": PATH, "LANG": "C.UTF-8"}
"""What a system tool needs to run and to answer in English."""

MAX_OUTPUT: Final = 1 << 20
TERM_GRACE_S: Final = 2.0
KILL_GRACE_S: Final = 2.0
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A child that has ended. `status` is its exit code, or the negative number of the signal that ended it."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    truncated: bool  #: one of the outputs was longer than the bound; what is here is its beginning

    def text(self) -> str:
        """stdout as text, bad bytes replaced."""
        return self.stdout.decode(errors="replace")


class CommandFailed(Exception):  # noqa: N818 - named for what the reader of a log sees
    """A command did not do its work; the text names the reason, the last words of it, and the command to paste."""

    def __init__(self, argv: Sequence[str], reason: str, stderr: bytes = b"") -> None:
        last_words = stderr.decode(errors="replace").strip()[-2000:]
        super().__init__(f"{reason}{': ' + last_words if last_words else ''}\n  command: {shlex.join(argv)}")
        self.argv = tuple(argv)
        self.reason = reason
        self.last_words = last_words


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] = PLAIN_ENV,
    timeout: float,
    input: bytes = b"",
    max_output: int = MAX_OUTPUT,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    check: bool = True,
    whole_tree: bool = False,
) -> Finished:
    """Runs a command to its end within `timeout` seconds.

    Raises CommandFailed when it cannot be started, takes too long, or (with `check`) ends with anything but 0.
    Output over `max_output` bytes is read and thrown away. `whole_tree` as for `spawn`.
    """
    try:
        children = spawn(argv, env=env, cwd=cwd, pass_fds=pass_fds, whole_tree=whole_tree)
        async with asyncio.timeout(timeout), children as child:
            (out, cut_out), (err, cut_err), _ = await asyncio.gather(
                _drain(child.stdout, max_output), _drain(child.stderr, max_output), _feed(child.stdin, input)
            )
            status = await child.wait()
    except TimeoutError:
        raise CommandFailed(argv, f"took longer than {timeout:g} s and was ended") from None
    if check and status != 0:
        raise CommandFailed(argv, explain(status), err)
    return Finished(argv=tuple(argv), status=status, stdout=out, stderr=err, truncated=cut_out or cut_err)


@contextlib.asynccontextmanager
async def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] = PLAIN_ENV,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    grace_s: float = TERM_GRACE_S,
    whole_tree: bool = False,
) -> AsyncIterator[Child]:
    """A running child with three pipes, in its own session.

    On leaving the block it and its process group get TERM, after `grace_s` KILL, and it is reaped. Whoever reads
    only one of the outputs must keep the other from filling. With `whole_tree` what it has started is killed, too, in
    whichever session that is. Raises CommandFailed when it cannot be started.
    """
    try:
        child = await Child.start(argv, env=env, cwd=cwd, pass_fds=pass_fds)
    except OSError as error:
        raise CommandFailed(argv, f"cannot be started: {error.strerror}") from error
    try:
        yield child
    finally:
        tree: list[int] = []
        try:
            if whole_tree and child.returncode is None:
                tree = await asyncio.to_thread(_tree, child.pid)
        finally:  # whatever became of that, also when it was cancelled: the child ends
            try:
                await _end(child, grace_s)
            finally:
                _kill_all(tree)


def explain(status: int) -> str:
    """How a command ended, in words."""
    if status >= 0:
        return f"ended with status {status}" + (" (command not found inside)" if status == 127 else "")
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


async def _end(child: Child, grace_s: float) -> None:
    # TERM and KILL go to the group, so that a child's own children do not keep our pipes open.
    try:
        if child.returncode is None:
            _signal_group(child.pid, signal.SIGTERM)
            _signal_group(child.pid, signal.SIGCONT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await _reap(child)
        _signal_group(child.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):  # one that left the group may hold our pipes as long as it likes
            async with asyncio.timeout(KILL_GRACE_S):
                await _reap(child)
    finally:  # also when whoever ends it is cancelled over it
        _signal_group(child.pid, signal.SIGKILL)
        child.let_go()


def _tree(root: int) -> list[int]:
    """All that is below a process, as descriptors: whoever gets one of those numbers next is not meant by them."""
    parents = {pid: parent for pid in _pids() if (parent := _parent(pid)) is not None}
    below, found = {root}, 0
    while found != len(below):
        found = len(below)
        below |= {pid for pid, parent in parents.items() if parent in below}
    held = []
    for pid in below - {root}:
        with contextlib.suppress(ProcessLookupError):
            held.append(os.pidfd_open(pid))
            if _parent(pid) != parents[pid]:
                os.close(held.pop())
    return held


def _kill_all(tree: Sequence[int]) -> None:
    for process in tree:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 (names, not paths)


def _parent(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[1])
    except (OSError, IndexError, ValueError):
        return None


async def _reap(child: Child) -> None:
    """Waits for the end while throwing outputs away: `wait` alone would hang on a full pipe."""
    child.stdin.close()
    await asyncio.gather(child.wait(), _drain(child.stdout, 0), _drain(child.stderr, 0))


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


async def _drain(stream: asyncio.StreamReader, keep: int) -> tuple[bytes, bool]:
    kept, cut = bytearray(), False
    while chunk := await stream.read(_CHUNK):
        room = keep - len(kept)
        cut = cut or len(chunk) > room
        kept += chunk[:room] if room > 0 else b""
    return bytes(kept), cut


async def _feed(stream: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if data:
            stream.write(data)
            await stream.drain()
        stream.close()
