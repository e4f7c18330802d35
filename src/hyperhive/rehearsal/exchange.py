"""HTTP/1.1 over one connection: a bounded request in, an answer out that may stream or break off."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import h11

MAX_BODY: Final = 32 << 20
MAX_HEAD: Final = 64 << 10
IDLE_S: Final = 600.0
"""Seconds a connection may wait for its next request."""
STUCK_S: Final = 60.0
"""Seconds the other side may take for the next bytes of a request, or to read what was written."""
_READ: Final = 256 << 10


class Budget:
    """Bytes of request bodies that all connections together may hold."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        self._left += size


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str  #: without the query
    headers: Mapping[str, str]
    body: bytes


class RefusedError(Exception):
    """A request that is not taken; carries the status to answer with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Exchange:
    """The answering half of one request. What was begun and not ended breaks off when the handler returns."""

    def __init__(self, http: h11.Connection, writer: asyncio.StreamWriter) -> None:
        self._http = http
        self._writer = writer

    async def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """The whole answer at once."""
        await self.begin(status, {**headers, "content-length": str(len(body))})
        await self.write(body)
        await self.end()

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        await self._send(h11.Response(status_code=status, headers=list(headers.items())))

    async def write(self, data: bytes) -> None:
        if data:
            await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    def reset(self) -> None:
        """Drop the connection without a farewell."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._writer.write(data)
            async with asyncio.timeout(STUCK_S):
                await self._writer.drain()


Handler = Callable[[Request, Exchange], Awaitable[None]]


class Connection:
    """Serves the requests of one connection, one after the other, until it ends, idles too long or misbehaves."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, handler: Handler, budget: Budget
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._budget = budget
        self._held = 0
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    async def run(self) -> None:
        try:
            while await self._one_exchange():
                self._http.start_next_cycle()
        except (OSError, TimeoutError, h11.RemoteProtocolError):
            pass  # the other side went away, idled or stopped making sense: closing is the answer
        except asyncio.CancelledError:
            self._writer.transport.abort()
            raise
        finally:
            self._budget.give(self._held)
            await self._close()

    async def _close(self) -> None:
        """Let what was written be read, within bounds."""
        self._writer.close()
        try:
            async with asyncio.timeout(STUCK_S):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    async def _one_exchange(self) -> bool:
        """Whether the connection can take another."""
        exchange = Exchange(self._http, self._writer)
        try:
            request = await self._request()
        except h11.RemoteProtocolError as error:
            await exchange.respond(error.error_status_hint, {"connection": "close"}, f"{error}\n".encode())
            return False
        except RefusedError as refused:
            await exchange.respond(refused.status, {"connection": "close"}, f"{refused}\n".encode())
            return False
        if request is None:
            return False
        await self._until_hangup(self._handler(request, exchange))
        self._budget.give(self._held)
        self._held = 0
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _request(self) -> Request | None:
        head = await self._next_event(IDLE_S)
        if not isinstance(head, h11.Request):
            return None
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        if int(headers.get("content-length", "0")) > MAX_BODY:
            raise RefusedError(413, f"a request may hold {MAX_BODY} bytes")
        if self._http.they_are_waiting_for_100_continue:
            self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        path = head.target.decode("ascii", "replace").partition("?")[0]
        return Request(method=head.method.decode("ascii"), path=path, headers=headers, body=await self._body())

    async def _body(self) -> bytes:
        body = bytearray()
        while isinstance(event := await self._next_event(STUCK_S), h11.Data):
            self._hold(len(event.data))
            body += event.data
        return bytes(body)

    def _hold(self, size: int) -> None:
        if self._held + size > MAX_BODY:
            raise RefusedError(413, f"a request may hold {MAX_BODY} bytes")
        if not self._budget.take(size):
            raise RefusedError(503, "too many large requests at once; try again")
        self._held += size

    async def _next_event(self, patience_s: float) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            async with asyncio.timeout(patience_s):
                self._http.receive_data(await self._reader.read(_READ))
        return event

    async def _until_hangup(self, answering: Awaitable[None]) -> None:
        """Let the handler answer, and stop it when the other side closes the connection meanwhile."""
        answer = asyncio.ensure_future(answering)
        hangup = asyncio.create_task(self._hangup())
        try:
            await asyncio.wait({answer, hangup}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hangup.cancel()
            unfinished = not answer.done()
            answer.cancel()
            await asyncio.wait({answer, hangup})
            _ = hangup.cancelled() or hangup.exception()  # a reset is a hangup too
        if unfinished:
            raise ConnectionResetError
        answer.result()

    async def _hangup(self) -> None:
        data = await self._reader.read(_READ)
        if data:  # the next request, early: hold it and stop reading, which bounds what is held
            self._http.receive_data(data)
            await asyncio.get_running_loop().create_future()
