"""One running child process, with its three pipes as streams.

As the event loop's own, but for its beginning: uvloop's is a fork, which copies the page tables of the whole hive and
stops it for more than ten milliseconds. A vfork stops it for one millisecond.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

REAP_S: Final = 2.0
"""How long one that is given up at its beginning may take to die of it."""


class Child:
    """A child in a session of its own; it is reaped when it ends, whoever waits.

    `start` makes one; who has it sees to its end and then lets go of its pipes.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]", pipes: "_Pipes", ended: "asyncio.Future[int]") -> None:
        self._popen = popen
        self._pipes = pipes
        self._ended = ended
        self.stdin, self.stdout, self.stderr = pipes.stdin, pipes.stdout, pipes.stderr

    @classmethod
    async def start(
        cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None, pass_fds: Sequence[int]
    ) -> "Child":
        """What the hive ignores of signals, it ignores. Raises OSError when there is no such command, or no room for
        another process."""
        popen = subprocess.Popen(  # noqa: ASYNC220 - it waits for the execution alone
            argv, env=env, cwd=cwd, pass_fds=pass_fds, start_new_session=True, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        pipes = _Pipes(popen)
        try:
            ended = _watched(popen)
        except BaseException:  # whatever it was, it is raised again
            popen.kill()
            popen.wait()  # for want of anybody who would hear of its end
            pipes.let_go()
            raise
        try:
            await pipes.connect()
        except BaseException:  # a cancellation, too: whoever gets no child cannot end it
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(popen.pid, signal.SIGKILL)
            pipes.let_go()
            await asyncio.wait({ended}, timeout=REAP_S)  # after that it is reaped when it ends
            raise
        return cls(popen, pipes, ended)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Its status, or the negative number of the signal that ended it; None while it runs."""
        return self._popen.returncode

    async def wait(self) -> int:
        """Its `returncode`. Whoever waits must see to it that its outputs are read, or it may never end."""
        return await asyncio.shield(self._ended)

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens to one that has ended."""
        self._popen.send_signal(number)

    def let_go(self) -> None:
        """Closes our ends of its pipes, whatever is in them; others may still have the far ones."""
        self._pipes.let_go()


class _Pipes:
    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        pipes = (popen.stdin, popen.stdout, popen.stderr)
        self._files: list[IO[bytes]] = [pipe for pipe in pipes if pipe is not None]
        self._reading: list[asyncio.ReadTransport] = []
        self._writing: list[asyncio.WriteTransport] = []
        self.stdin: asyncio.StreamWriter
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()

    async def connect(self) -> None:
        """Each file is closed when a transport takes its place."""
        loop = asyncio.get_running_loop()
        stdin, stdout, stderr = self._files
        writing, protocol = await loop.connect_write_pipe(_protocol(asyncio.StreamReader()), _End.of(stdin))
        self._writing.append(writing)
        self.stdin = asyncio.StreamWriter(writing, protocol, None, loop)
        for reader, file in ((self.stdout, stdout), (self.stderr, stderr)):
            reading, _ = await loop.connect_read_pipe(_protocol(reader), _End.of(file))
            self._reading.append(reading)

    def let_go(self) -> None:
        for writing in self._writing:
            if not writing.is_closing() or writing.get_write_buffer_size():  # asyncio's can't be, once it is closed
                writing.abort()
        for reading in self._reading:
            reading.close()
        for file in self._files:
            file.close()


class _End:
    """Our end of a pipe, as the transports of asyncio's loops and of uvloop want it.

    uvloop closes the number itself and then us, when the number may already be something else that was just opened.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_left_to_us = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)

    @classmethod
    def of(cls, pipe: IO[bytes]) -> "_End":
        """In place of the pipe, which is closed."""
        with pipe:
            return cls(os.dup(pipe.fileno()))

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._is_left_to_us:
            os.close(self._fd)


def _protocol(reader: asyncio.StreamReader) -> Callable[[], asyncio.StreamReaderProtocol]:
    return lambda: asyncio.StreamReaderProtocol(reader)


def _watched(popen: "subprocess.Popen[bytes]") -> "asyncio.Future[int]":
    """Done with its status when it has ended; then it is reaped."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    pidfd = os.pidfd_open(popen.pid)

    def ended() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        future.set_result(popen.wait())

    try:
        loop.add_reader(pidfd, ended)
    except BaseException:  # raised again: nobody else knows of the descriptor
        os.close(pidfd)
        raise
    return future
