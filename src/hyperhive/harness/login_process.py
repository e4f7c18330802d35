"""`claude auth login` as a child on plain pipes."""

import asyncio
import os
from collections.abc import Callable
from typing import BinaryIO, Final

from hyperhive.harness.command import ClaudeCommand
from hyperhive.harness.init import Child, Children

MAX_HEARD: Final = 64 * 1024
"""Bytes that are kept of what it says on either stream; the rest is read and forgotten."""
FAREWELL_S: Final = 1.0
"""How long its last words may take once it has ended: a child of its own may still hold the pipes."""


class Heard(asyncio.Protocol):
    """One of its streams, read to the end."""

    def __init__(self, on_news: Callable[[], None]) -> None:
        self._on_news = on_news
        self._bytes = bytearray()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def text(self) -> str:
        return self._bytes.decode(errors="replace")

    def data_received(self, data: bytes) -> None:
        self._bytes += data[: MAX_HEARD - len(self._bytes)]
        self._on_news()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the loop's signature)
        if not self.ended.done():
            self.ended.set_result(None)


class LoginProcess:
    """Made by `start`; `end` must be called, and may be at any time."""

    def __init__(self, children: Children, child: Child, on_news: Callable[[], None]) -> None:
        self._children = children
        self._child = child
        self._transports: list[asyncio.BaseTransport] = []
        self._input: asyncio.WriteTransport | None = None
        self.said = Heard(on_news)  #: on its standard output
        self.complained = Heard(on_news)  #: on its standard error

    @classmethod
    async def start(cls, children: Children, command: ClaudeCommand, on_news: Callable[[], None]) -> "LoginProcess":
        """`on_news` is called whenever it has said something. Raises OSError when it can't be started."""
        (their_in, our_in), (our_out, their_out), (our_err, their_err) = (os.pipe() for _ in range(3))
        ours = [os.fdopen(our_in, "wb", 0), os.fdopen(our_out, "rb", 0), os.fdopen(our_err, "rb", 0)]
        theirs = {0: their_in, 1: their_out, 2: their_err}
        try:
            child = children.start(command.argv, env=command.env, fds=theirs, apart=True)
        except OSError:
            for file in ours:
                file.close()
            raise
        finally:
            for fd in theirs.values():
                os.close(fd)
        process = cls(children, child, on_news)
        await process._attach(*ours)
        return process

    async def over(self) -> int:
        """Its exit status, once it has ended and everything that it said has been heard."""
        status = await asyncio.shield(self._child.ended)
        await asyncio.wait([self.said.ended, self.complained.ended], timeout=FAREWELL_S)
        return status

    def hand_over(self, line: str) -> None:
        """Type a line."""
        if self._input is not None and not self._input.is_closing():
            self._input.write(line.encode() + b"\n")

    def end(self) -> None:
        """Kill it, if it has not ended. Harmless twice."""
        self._children.end(self._child)
        for transport in self._transports:
            transport.close()

    async def _attach(self, typed: BinaryIO, said: BinaryIO, complained: BinaryIO) -> None:
        loop = asyncio.get_running_loop()
        self._input, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, typed)
        hearing, _ = await loop.connect_read_pipe(lambda: self.said, said)
        hearing_more, _ = await loop.connect_read_pipe(lambda: self.complained, complained)
        self._transports = [self._input, hearing, hearing_more]
