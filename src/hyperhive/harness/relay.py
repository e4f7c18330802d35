"""A port on the container's loopback that leads to a unix socket of the hive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast

HOST: Final = "127.0.0.1"
MAX_CONNECTIONS: Final = 128
MAX_BUFFERED: Final = 256 * 1024
"""Bytes held for an end that does not read; past it the other end is not read either."""


class _End(asyncio.Protocol):
    """One end of a relayed connection: what it reads, the other end writes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self.ended = False  #: nothing more comes from here

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=MAX_BUFFERED)

    def join(self, other: "_End") -> None:
        self.other, other.other = other, self

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self.other is None or self.other.transport is None or self.other.ended:
            return False
        self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the loop's signature)
        other, self.other = self.other, None
        if other is not None and other.transport is not None:
            other.transport.close()


class _Near(_End):
    """The end on loopback: not read until the far end is there."""

    def __init__(self, relay: "_Relay") -> None:
        super().__init__()
        self._relay = relay
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._relay.accept(self)

    def data_received(self, data: bytes) -> None:
        """Not every Python heeds a pause in `connection_made` (3.11.2 does not): what comes too early waits here."""
        if self.other is not None:
            super().data_received(data)
            return
        assert self.transport is not None
        self._early += data
        self.transport.resume_reading()
        self.transport.pause_reading()

    def join(self, other: _End) -> None:
        super().join(other)
        if self._early and other.transport is not None:
            other.transport.write(self._early)
        self._early = b""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._relay.near.discard(self)
        self._relay.left.set()


class _Relay:
    def __init__(self, socket: Path, group: asyncio.TaskGroup) -> None:
        self._socket = socket
        self._group = group
        self.near: set[_Near] = set()
        self.left = asyncio.Event()

    def accept(self, near: _Near) -> None:
        assert near.transport is not None
        if len(self.near) >= MAX_CONNECTIONS:
            near.transport.abort()
            return
        self.near.add(near)
        near.transport.pause_reading()
        self._group.create_task(self._connect(near))

    async def close(self) -> None:
        """End all connections."""
        while self.near:
            self.left.clear()
            for near in self.near:
                assert near.transport is not None
                near.transport.abort()
            await self.left.wait()

    async def _connect(self, near: _Near) -> None:
        assert near.transport is not None
        try:
            transport, far = await asyncio.get_running_loop().create_unix_connection(_End, str(self._socket))
        except OSError:
            near.transport.abort()
            return
        if near not in self.near:
            transport.abort()
            return
        near.join(far)
        near.transport.resume_reading()


@asynccontextmanager
async def relay(port: int, socket: Path) -> AsyncIterator[int]:
    """Relay 127.0.0.1:port (0: a free one) to the socket until the block ends; gives the port.

    Raises OSError when the port is taken. At most MAX_CONNECTIONS at a time; further ones are refused.
    """
    async with asyncio.TaskGroup() as group:
        hub = _Relay(socket, group)
        server = await asyncio.get_running_loop().create_server(lambda: _Near(hub), HOST, port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await hub.close()
