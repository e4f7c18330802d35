"""Listening: the stage on a unix socket, on the loopback, or on both."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.rehearsal.exchange import MAX_BODY, Budget, Connection
from hyperhive.rehearsal.stage import Stage

MAX_CONNECTIONS: Final = 256
MAX_BODIES: Final = 8 * MAX_BODY
"""Bytes of requests held at once, over all connections."""
_STREAM_LIMIT: Final = 256 << 10
_LOOPBACK: Final = "127.0.0.1"
_PROBE_S: Final = 2.0
_UCRED: Final = struct.Struct("3i")


class AddressTakenError(Exception):
    """Somebody serves there already."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the model listens. `port` is on the loopback; 0 takes a free one."""

    socket: Path | None = None
    port: int | None = None


@contextlib.asynccontextmanager
async def serving(stage: Stage, address: Address) -> AsyncIterator[Address]:
    """Serve the stage while the block runs; yields the address with its real port.

    Every uid may connect to the socket: who gets at it is the matter of its directory. A socket left behind by a
    dead server is replaced; a live one raises AddressTakenError.
    """
    listeners = _Listeners(stage)
    try:
        if address.socket is not None:
            await listeners.on_socket(address.socket)
        port = None if address.port is None else await listeners.on_loopback(address.port)
        yield Address(socket=address.socket, port=port)
    finally:
        await listeners.close()


def serving_pid(path: Path) -> int | None:
    """The process that listens on the socket, or None when nobody does. Blocks for a moment at most."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except OSError:
            return None
        pid, _, _ = _UCRED.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(pid)


class _Listeners:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._budget = Budget(MAX_BODIES)
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._socket: Path | None = None

    async def on_socket(self, path: Path) -> None:
        if pid := await asyncio.to_thread(serving_pid, path):
            raise AddressTakenError(f"cannot serve on {path}: process {pid} serves there; stop it first")
        listening = await asyncio.to_thread(_bound, path)
        self._servers.append(await asyncio.start_unix_server(self._connected, sock=listening, limit=_STREAM_LIMIT))
        self._socket = path

    async def on_loopback(self, port: int) -> int:
        try:
            server = await asyncio.start_server(self._connected, _LOOPBACK, port, limit=_STREAM_LIMIT)
        except OSError as error:
            raise AddressTakenError(f"cannot serve on port {port}: {error.strerror}; take another, or 0") from error
        self._servers.append(server)
        listening: socket.socket = server.sockets[0]
        return int(listening.getsockname()[1])

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        if self._socket is not None:
            await asyncio.to_thread(self._socket.unlink, missing_ok=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        connection = Connection(reader, writer, handler=self._stage.answer, budget=self._budget)
        task = asyncio.get_running_loop().create_task(connection.run())
        self._connections.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if not task.cancelled() and (error := task.exception()):
            context = {"message": "unexpected error while answering a request", "exception": error}
            task.get_loop().call_exception_handler(context)


def _bound(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
        path.chmod(0o666)
    except OSError:
        listening.close()
        raise
    return listening
