"""One running child process, with its three pipes as streams.

As the event loop's own, but for its beginning: uvloop's is a fork, which copies the page tables of the whole hive and
stops it for more than ten milliseconds. This one is a vfork, which stops it for one.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO


class Child:
    """A child in a session of its own; it is reaped when it ends, whoever waits.

    `start` makes one; who has it sees to its end and then lets go of its pipes.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._transports: list[asyncio.BaseTransport] = []
        self._watch(os.pidfd_open(popen.pid))
        self.stdin: asyncio.StreamWriter
        self.stdout: asyncio.StreamReader
        self.stderr: asyncio.StreamReader

    @classmethod
    async def start(
        cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None, pass_fds: Sequence[int]
    ) -> "Child":
        """Raises OSError when there is no such command, or no room for another process."""
        popen = subprocess.Popen(  # noqa: ASYNC220 - it waits for the execution alone
            argv, env=env, cwd=cwd, pass_fds=pass_fds, start_new_session=True, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        child = cls(popen)
        try:
            await child._connect()
        except BaseException:
            child.send_signal(signal.SIGKILL)
            child.let_go()
            raise
        return child

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
        """Closes our ends of its pipes; others may still have the far ones."""
        for transport in self._transports:
            transport.close()
        for pipe in self._pipes():
            pipe.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        stdin, stdout, stderr = self._pipes()
        transport, protocol = await loop.connect_write_pipe(_protocol(asyncio.StreamReader()), _End.of(stdin))
        self._transports.append(transport)
        self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
        self.stdout = await self._reader(stdout)
        self.stderr = await self._reader(stderr)

    async def _reader(self, pipe: IO[bytes]) -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(_protocol(reader), _End.of(pipe))
        self._transports.append(transport)
        return reader

    def _pipes(self) -> list[IO[bytes]]:
        """As they were made; each is closed when a transport takes its place."""
        return [pipe for pipe in (self._popen.stdin, self._popen.stdout, self._popen.stderr) if pipe is not None]

    def _watch(self, pidfd: int) -> None:
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            self._ended.set_result(self._popen.wait())

        loop.add_reader(pidfd, ended)


class _End:
    """Our end of a pipe, as a loop's transport wants it.

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
