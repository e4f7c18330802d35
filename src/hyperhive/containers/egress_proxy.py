"""The allow-list proxy of one agent: CONNECT on a unix socket, nothing else.

Its peer is hostile: every read is bounded in size and time, and what the peer sends is never interpreted behind the
request's head.
"""

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.containers.egress_rules import Allowed, is_public, parse_target, refusal

MAX_HEAD: Final = 8192
HEAD_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 15.0
IDLE_TIMEOUT_S: Final = 900.0
MAX_CONNECTIONS: Final = 128
_CHUNK: Final = 1 << 16

Resolve = Callable[[str, int], Awaitable[list[str]]]
Refused = Callable[[str, int, str], None]
Public = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    head_timeout_s: float = HEAD_TIMEOUT_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    idle_timeout_s: float = IDLE_TIMEOUT_S
    connections: int = MAX_CONNECTIONS


class _Refusal(Exception):  # noqa: N818 - an answer to the peer, not a mistake of ours
    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


async def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, as the system resolves them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_outside(address: str) -> bool:
    """Whether the address is on the internet and not this host's own, which no firewall on the way would guard."""
    return is_public(address) and not is_own(address)


def is_own(address: str) -> bool:
    """Whether the kernel delivers what is sent there to this very host. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:  # there is no way there
            return False
        return bool(probe.getsockname()[0] == address)


class Proxy:
    """Serves one agent's socket between `open` and `close`. `allowed` may be replaced at any time."""

    def __init__(
        self,
        path: Path,
        allowed: tuple[Allowed, ...],
        refused: Refused,
        *,
        resolve: Resolve = resolve,
        is_outside: Public = is_outside,
        bounds: Bounds | None = None,
    ) -> None:
        self.path = path
        self.allowed = allowed
        self._refused = refused
        self._resolve = resolve
        self._is_outside = is_outside
        self._bounds = bounds or Bounds()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, uid: int | None = None) -> None:
        """Listens; only `uid` (by default our own) and root can connect."""
        listener = await asyncio.to_thread(_listen, self.path, uid)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_HEAD)

    async def close(self) -> None:
        """Ends all connections and takes the socket away."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.path.unlink, missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= 2 * self._bounds.connections:
            writer.transport.abort()  # not even worth an answer: descriptors are for all agents
            return
        self._tasks.add(task)
        try:
            await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            # The peer is gone or out of time, or we are closing: there is nobody left to tell. A cancelled stream
            # handler must end quietly, or asyncio reports it as an error.
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host, port = await self._request(reader)
            remote_reader, remote_writer = await self._connect(host, port)
        except _Refusal as answer:
            text = f"{answer.why}\n".encode()
            head = f"HTTP/1.1 {answer.status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
            writer.write(head.encode() + b"Connection: close\r\n\r\n" + text)
            async with asyncio.timeout(self._bounds.head_timeout_s):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            return
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await self._relay((reader, remote_writer), (remote_reader, writer))
        finally:
            remote_writer.transport.abort()

    async def _request(self, reader: asyncio.StreamReader) -> tuple[str, int]:
        try:
            async with asyncio.timeout(self._bounds.head_timeout_s):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise _Refusal("431 Request Header Fields Too Large", f"the head is over {MAX_HEAD} bytes") from None
        except asyncio.IncompleteReadError:
            raise _Refusal("400 Bad Request", "the request ended in its head") from None
        if len(self._tasks) > self._bounds.connections:
            raise _Refusal("503 Service Unavailable", "too many connections; close some")
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        if method != "CONNECT":
            raise _Refusal("405 Method Not Allowed", "only CONNECT is possible; use https")
        target = parse_target(rest.rpartition(" ")[0])
        if target is None:
            raise _Refusal("400 Bad Request", "CONNECT takes host:port")
        return target

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To an address that was looked at, never to a name a second time: it could resolve otherwise by then."""
        if why := refusal(host, port, self.allowed):
            raise self._forbid(host, port, why)
        try:
            async with asyncio.timeout(self._bounds.connect_timeout_s):
                addresses = await self._resolve(host, port)
                outside = [address for address in addresses if self._is_outside(address)]
                if not outside:
                    raise self._forbid(host, port, "resolves to private addresses or to this host only")
                for address in outside:
                    with contextlib.suppress(OSError):
                        return await asyncio.open_connection(address, port, limit=_CHUNK)
        except (TimeoutError, OSError) as error:
            raise _Refusal("502 Bad Gateway", f"cannot reach {host}: {error or 'it took too long'}") from None
        raise _Refusal("502 Bad Gateway", f"cannot reach {host}")

    def _forbid(self, host: str, port: int, why: str) -> _Refusal:
        self._refused(host, port, why)
        return _Refusal("403 Forbidden", f"{host}:{port}: {why}; the operator can add it under [network] allow")

    async def _relay(self, *directions: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Both ways until both have ended or nothing moved for a while in either."""
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(self._bounds.idle_timeout_s) as idle:

            def moved() -> None:
                idle.reschedule(clock() + self._bounds.idle_timeout_s)

            await asyncio.gather(*(_copy(reader, writer, moved) for reader, writer in directions))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Callable[[], None]) -> None:
    while data := await reader.read(_CHUNK):
        moved()
        writer.write(data)
        await writer.drain()
    # Only this direction has ended; the other side may have more to say.
    writer.write_eof()


def _listen(path: Path, uid: int | None) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Before it has a name: nobody may connect between bind and chown.
    os.fchmod(listener.fileno(), 0o600)
    listener.bind(str(path))
    if uid is not None and os.geteuid() == 0:
        os.chown(path, uid, -1, follow_symlinks=False)
    listener.setblocking(False)
    return listener
