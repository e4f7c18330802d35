"""A hive as a client sees it: `host.sock`, one request a connection."""

import asyncio
import errno
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.framing import MAX_LINE

CONNECT_S: Final = 5.0
QUICK_S: Final = 30.0
CONTAINER_S: Final = 7200.0
"""For what makes, starts or stops containers: it waits in the queue of jobs, for a turn to end, for a build."""
GRACE_S: Final = 15.0
"""What a wait on the daemon's side may run over."""
FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 2.0

_SLOW: Final = (
    host.Start, host.Stop, host.Restart, host.Spawn, host.Kill, host.Destroy, host.Rebuild, host.Move, host.Approve,
    host.Rollback, host.Revive, host.Purge, host.UpdateAll, host.RequestApplyCommit, host.EditConfig,
    host.BuildImage, host.VerifyImages, host.CollectImages,
)  # fmt: skip

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(host.Response).decode


class ClientError(Exception):
    """There is no answer to use; the text says why and what to do. A refusal is a FaultError instead."""


class GoneError(ClientError):
    """The daemon hung up before it answered; it may be back soon."""


class NoDaemonError(GoneError):
    """Nothing listens on the socket: starting a daemon helps."""


class _Head(msgspec.Struct):
    """Read first of an answer: a newer version's may have another shape. Daemons before version 1 send none."""

    version: int = 0


_decode_head: Final = msgspec.json.Decoder(_Head).decode


class Client:
    """Talks to the daemon at a socket's path. Holds nothing between calls; any number may run side by side.

    Calls raise FaultError when the daemon refuses, NoDaemonError when none listens and ClientError when it cannot be
    reached or understood.
    """

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path

    async def call(self, request: host.AnyRequest, *, timeout_s: float | None = None) -> host.Response:
        """The answer. Without a deadline it waits as long as that request may reasonably take."""
        deadline_s = patience(request) if timeout_s is None else timeout_s
        async with self._connection(request) as reader:
            return await _first(reader, deadline_s)

    async def stream(self, request: host.AnyRequest) -> AsyncGenerator[host.Response, None]:
        """Each answer until the daemon ends the connection; close the iterator (`aclosing`) to end it sooner.

        A connection that breaks after the first answer ends the iteration as an orderly end does.
        """
        async with self._connection(request) as reader:
            yield await _first(reader, patience(request))
            while line := await _line(reader):
                yield read_answer(line)

    async def events(self, request: host.Watch, *, on_lost: Callable[[str], None]) -> AsyncGenerator[HiveEvent, None]:
        """What `watch` gives. With `follow` it outlives the daemon: it goes on behind the last event when one is back.

        `on_lost` is told, in words, each time it begins to wait for a daemon. Close the iterator (`aclosing`).
        """
        since, first, retry_s = request.since, True, FIRST_RETRY_S
        while True:
            try:
                async with aclosing(self.stream(msgspec.structs.replace(request, since=since))) as answers:
                    async for answer in answers:
                        first, retry_s = False, FIRST_RETRY_S
                        for event in answer.events or []:
                            since = max(since or 0, event.id) or None  # live news has no number
                            yield event
            except (GoneError, FaultError) as error:
                if _is_final(error, first=first):
                    raise
            if not request.follow:
                return
            if retry_s == FIRST_RETRY_S:
                on_lost("the hive went away; waiting for it to come back (Ctrl-C ends this)")
            await asyncio.sleep(retry_s)
            first, retry_s = False, min(retry_s * 2, LAST_RETRY_S)

    @asynccontextmanager
    async def _connection(self, request: host.AnyRequest) -> AsyncIterator[asyncio.StreamReader]:
        """A connection with the request written on it."""
        reader, writer = await self._connect()
        try:
            writer.write(_encode(request) + b"\n")
            yield reader
        finally:
            writer.transport.abort()  # nothing unsent is worth waiting for once the answer is here

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_unix_connection(self._path, limit=MAX_LINE)
        except TimeoutError:
            raise ClientError(f"cannot reach the hive: {self._path} does not accept connections") from None
        except OSError as error:
            raise unreachable(error, self._path) from error


def hold(path: Path, request: host.AnyRequest) -> tuple[host.Response, socket.socket]:
    """The first answer, and the connection: for a request that means something for as long as that stays.

    Whoever executes another program hands it on (`set_inheritable`). Raises as `Client.call`.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(QUICK_S)
        connection.connect(str(path))
        connection.sendall(_encode(request) + b"\n")
        with connection.makefile("rb") as file:
            line = file.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise GoneError("the hive closed the connection without an answer; its log says why")
        answer = read_answer(line)
    except TimeoutError:
        connection.close()
        raise ClientError(f"the hive did not answer within {QUICK_S:.0f} seconds") from None
    except OSError as error:
        connection.close()
        raise unreachable(error, path) from error
    except BaseException:
        connection.close()
        raise
    connection.settimeout(None)
    return answer, connection


def patience(request: host.AnyRequest) -> float | None:
    """Seconds after which an answer to the request is no longer expected; None for what may stay silent for ever."""
    if isinstance(request, host.WaitReply):
        return request.timeout_seconds + GRACE_S
    if isinstance(request, host.Watch | host.Logs | host.Jobs | host.JobLog) and request.follow:
        return None
    return CONTAINER_S if isinstance(request, _SLOW) else QUICK_S


def unreachable(error: OSError, path: Path) -> ClientError:
    """What a failed connection means to the operator."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return NoDaemonError(f"no hive is running: there is no {path}; start one with `hive serve`")
        case errno.ECONNREFUSED:
            return NoDaemonError(
                f"no hive is running: {path} is left over and nothing listens on it; start one with `hive serve`"
            )
        case errno.EACCES | errno.EPERM:
            return ClientError(
                f"not allowed to use {path}: join the group hive-admin (`usermod -aG hive-admin YOU`) and log in again"
            )
        case _:
            return ClientError(f"cannot connect to {path}: {error.strerror or error}")


def read_answer(line: bytes) -> host.Response:
    """The answer in a line; raises FaultError for a refusal and ClientError for what this client cannot read."""
    try:
        version = _decode_head(line).version
        if version > host.HOST_SOCK_VERSION:
            raise ClientError(
                f"cannot understand this hive: it speaks version {version} of the socket's protocol, this `hive` "
                f"knows {host.HOST_SOCK_VERSION}; update this installation"
            )
        answer = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ClientError(f"cannot read the hive's answer: {error}; are both of the same version?") from None
    if not answer.ok:
        raise _refusal(answer)
    return answer


def _is_final(error: Exception, *, first: bool) -> bool:
    """Whether asking again cannot help: a refusal, or nobody there from the beginning."""
    if isinstance(error, FaultError):
        return error.kind is not FaultKind.UNAVAILABLE
    return first and isinstance(error, NoDaemonError)


def _refusal(answer: host.Response) -> FaultError:
    text = answer.error or "the hive refused without a reason; its log may have one"
    try:
        return FaultError(FaultKind(str(answer.error_kind)), text)
    except ValueError:  # an older daemon names no kind, a newer one may name one that is not known here
        return FaultError(FaultKind.INTERNAL, text)


async def _first(reader: asyncio.StreamReader, timeout_s: float | None) -> host.Response:
    try:
        async with asyncio.timeout(timeout_s):
            line = await _line(reader)
    except TimeoutError:
        raise ClientError(
            f"the hive did not answer within {timeout_s:.0f} seconds; what was asked for may still happen, "
            "`hive list` shows"
        ) from None
    if not line:
        raise GoneError("the hive closed the connection without an answer; its log says why")
    return read_answer(line)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line that is not blank, or nothing at the end: a line cut off by the end is no line."""
    while True:
        try:
            line = await reader.readline()
        except ValueError:
            raise ClientError(f"cannot read the hive's answer: a line of over {MAX_LINE} bytes") from None
        except ConnectionError:
            return b""
        if not line.endswith(b"\n"):
            return b""
        if stripped := line.strip():
            return stripped
