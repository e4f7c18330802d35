"""host.sock: one request a line, one answer a line; some requests keep the connection and answer many times."""

import asyncio
import contextlib
import grp
import os
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import structlog

from hyperhive.api.endpoints import ENDPOINTS
from hyperhive.api.lines import lines
from hyperhive.api.listener import bind, unbind
from hyperhive.config.paths import Paths
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.framing import MAX_LINE, Overlong

ADMIN_GROUP: Final = "hive-admin"
MAX_CONNECTIONS: Final = 256
WRITE_S: Final = 30.0
"""How long an answer may wait for a client that does not read."""
_CHUNK: Final = 1 << 16

log = structlog.get_logger(__name__)
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(host.AnyRequest).decode


@contextlib.asynccontextmanager
async def serving(paths: Paths, hive: Hive) -> AsyncIterator[None]:
    """Listen on host.sock until left; then no request is accepted any more and those under way are cancelled."""
    sock = await bind(paths.host_socket, mode=0o600 if os.geteuid() else 0o660, gid=_admin_group())
    clients: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(clients) >= MAX_CONNECTIONS:
            log.warning("refused a client: too many are connected", connected=len(clients))
            writer.close()
            return
        clients.add(task)
        try:
            await _Client(hive, reader, writer).serve()
        except asyncio.CancelledError:
            pass  # the daemon is stopping; asyncio's streams report a cancelled handler as a mistake
        finally:
            clients.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(accept, sock=sock, limit=MAX_LINE)
    try:
        yield
    finally:
        server.close()
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await asyncio.to_thread(unbind, paths.host_socket)


class _Client:
    """One connection."""

    def __init__(self, hive: Hive, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._hive = hive
        self._reader = reader
        self._writer = writer

    async def serve(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            async for line in lines(self._reader):
                if not await self._answer(line):
                    return

    async def _answer(self, line: bytes | Overlong) -> bool:
        """Whether the connection takes another request after this one."""
        try:
            request = _read(line)
            answer = ENDPOINTS[type(request)](self._hive, request)
            if isinstance(answer, AsyncIterator):
                await self._stream(answer)
                return False
            await self._write(await answer)
        except FaultError as fault:
            await self._write(host.Response(ok=False, error=fault.message, error_kind=fault.kind))
        except (ConnectionError, TimeoutError):
            raise  # the client has gone, or does not read
        except Exception:  # the boundary of a request: the client gets an answer, the log the reason
            log.exception("a request failed")
            text = "the request failed in an unexpected way; the daemon's log has the reason"
            await self._write(host.Response(ok=False, error=text, error_kind=FaultKind.INTERNAL))
        return True

    async def _stream(self, answers: AsyncIterator[host.Response]) -> None:
        """Until there is no more, or the client has gone."""
        writing = asyncio.create_task(self._write_all(answers))
        leaving = asyncio.create_task(self._left())
        try:
            await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writing, leaving):
                task.cancel()
            ended, _ = await asyncio.gather(writing, leaving, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    async def _left(self) -> None:
        """The client has closed; what it writes meanwhile is not read as requests."""
        while await self._reader.read(_CHUNK):
            pass

    async def _write_all(self, answers: AsyncIterator[host.Response]) -> None:
        async for answer in answers:
            await self._write(answer)

    async def _write(self, answer: host.Response) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(_encode(answer) + b"\n")
        async with asyncio.timeout(WRITE_S):
            await self._writer.drain()


def _read(line: bytes | Overlong) -> host.AnyRequest:
    if isinstance(line, Overlong):
        raise FaultError(FaultKind.LINE_TOO_LONG, f"cannot read the request: a line may hold {MAX_LINE} bytes")
    try:
        request: host.AnyRequest = _decode(line)
        return request
    except msgspec.ValidationError as error:
        raise FaultError(_kind(line), f"cannot read the request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FaultError(
            FaultKind.MALFORMED, f"cannot read the request: not one JSON object a line: {error}"
        ) from None


class _Tagged(msgspec.Struct):
    cmd: str


def _kind(line: bytes) -> FaultKind:
    """Whether it is the verb that is not known, or its fields that are not right."""
    try:
        cmd = msgspec.json.decode(line, type=_Tagged).cmd
    except (msgspec.DecodeError, UnicodeDecodeError):
        return FaultKind.MALFORMED
    known = {request.__struct_config__.tag for request in host.REQUESTS}
    return FaultKind.INVALID_PARAMS if cmd in known else FaultKind.UNKNOWN_METHOD


def _admin_group() -> int | None:
    """The group that may use a system hive's socket; root alone where there is none."""
    if os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(ADMIN_GROUP).gr_gid
    except KeyError:
        return None
