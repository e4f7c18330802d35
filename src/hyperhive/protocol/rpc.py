"""JSON-RPC 2.0 over lines, both ends alike: each side may call the other on the same connection."""

import asyncio
import inspect
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.framing import MAX_LINE, LineSplitter, Overlong

P = TypeVar("P")
R = TypeVar("R")

MAX_CALLS_IN_FLIGHT: Final = 256
"""Calls of one peer being handled; past it the connection is not read until some are answered."""
MAX_UNSENT: Final = 8 << 20
"""Bytes waiting for a peer that does not read; past it the connection is aborted."""

_CODES: Final = {
    FaultKind.MALFORMED: -32700,
    FaultKind.LINE_TOO_LONG: -32600,
    FaultKind.UNKNOWN_METHOD: -32601,
    FaultKind.INVALID_PARAMS: -32602,
    FaultKind.INTERNAL: -32603,
}
_APPLICATION_CODE: Final = -32000


CallId = int | str | None | msgspec.UnsetType
"""What an answer repeats; unset on a notification, which gets no answer; None where the call could not be read."""


class ErrorData(msgspec.Struct, frozen=True):
    kind: str = FaultKind.INTERNAL


class Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: ErrorData = ErrorData()


class Frame(msgspec.Struct, omit_defaults=True):
    """Any line of either direction: a call (method and id), a notification (method), an answer (id)."""

    jsonrpc: str | msgspec.UnsetType = msgspec.UNSET
    id: CallId = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Error | msgspec.UnsetType = msgspec.UNSET


class _Answer(msgspec.Struct):
    """A frame that carries a result, encoded in one go."""

    id: CallId
    result: Any
    jsonrpc: str = "2.0"


class Nothing(msgspec.Struct, frozen=True):
    """The parameters of a method without any, and the result of one that only succeeds."""


class Method(msgspec.Struct, Generic[P, R], frozen=True, dict=True):
    """A verb with the types of its parameters and result. Either side may serve it, the other calls it."""

    name: str
    params: type[P]
    result: type[R]

    @cached_property
    def params_decoder(self) -> msgspec.json.Decoder[P]:
        return msgspec.json.Decoder(self.params)

    @cached_property
    def result_decoder(self) -> msgspec.json.Decoder[R]:
        return msgspec.json.Decoder(self.result)


Handler = Callable[[Any], Any]
"""Takes the decoded parameters; gives the result, or an awaitable of it. A FaultError is the caller's answer."""

_encode: Final = msgspec.json.Encoder().encode
_decode_frame: Final = msgspec.json.Decoder(Frame).decode
_EMPTY: Final = msgspec.Raw(b"{}")


class Peer(asyncio.Protocol):
    """One end of a connection.

    Made by a connection factory of the loop (`create_unix_connection`, `create_unix_server`). Serve methods before
    it connects. A line that cannot be read is answered with a fault and the connection goes on. When the connection
    ends, calls under way raise FaultError (`unavailable`), handlers under way are cancelled and `closed` is done.
    """

    def __init__(self, *, max_line: int = MAX_LINE, on_connect: Callable[["Peer"], None] | None = None) -> None:
        self._methods: dict[str, tuple[Method[Any, Any], Handler]] = {}
        self._splitter = LineSplitter(max_line)
        self._answers: dict[int, tuple[Method[Any, Any], asyncio.Future[Any]]] = {}
        self._handling: set[asyncio.Future[Any]] = set()
        self._next_id = 0
        self._reading = True
        self._held = False
        self._on_connect = on_connect
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def serve(self, method: Method[P, R], handler: Callable[[P], R | Awaitable[R]]) -> None:
        """Answer the method's calls with the handler. Handlers of one connection run side by side."""
        self._methods[method.name] = (method, handler)

    async def call(self, method: Method[P, R], params: P) -> R:
        """Call the other side; raises the FaultError it answers with, or `unavailable` when it is gone."""
        return cast(R, await self.call_soon(method, params))

    def call_soon(self, method: Method[P, R], params: P) -> "asyncio.Future[R]":
        """`call`, written at once; the future is the answer."""
        self._next_id += 1
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            answer.set_exception(FaultError(FaultKind.UNAVAILABLE, "cannot call: the connection is closed"))
            return answer
        self._answers[self._next_id] = (method, answer)
        params_json = msgspec.Raw(_encode(params))
        self._write(Frame(jsonrpc="2.0", id=self._next_id, method=method.name, params=params_json))
        return answer

    def notify(self, method: Method[P, Any], params: P) -> None:
        """Tell the other side, without an answer; does nothing on a closed connection."""
        self._write(Frame(jsonrpc="2.0", method=method.name, params=msgspec.Raw(_encode(params))))

    def hold(self, held: bool) -> None:
        """While held, nothing is read from the other side: it waits, instead of filling our memory."""
        self._held = held
        if held:
            self._pause()
        else:
            self._resume()

    def close(self) -> None:
        """End the connection after what is written has been sent. Harmless when it has ended."""
        if self._transport is not None:
            self._transport.close()

    def peer_uid(self) -> int | None:
        """Whose process the other end is, from the kernel; None when the connection is gone."""
        connected = self._transport.get_extra_info("socket") if self._transport is not None else None
        if connected is None or connected.fileno() < 0:
            return None
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("iII", credentials)[1])

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._on_connect is not None:
            self._on_connect(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the loop's signature)
        gone = FaultError(FaultKind.UNAVAILABLE, "the connection ended before the answer; try again")
        for _, answer in self._answers.values():
            if not answer.done():
                answer.set_exception(gone)
                answer.exception()  # an answer nobody waits for any more is not a mistake
        self._answers.clear()
        for work in list(self._handling):
            work.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            if isinstance(line, Overlong):
                self._refuse(None, FaultError(FaultKind.LINE_TOO_LONG, f"a line may hold {MAX_LINE} bytes"))
            else:
                self._take(line)

    # one line

    def _take(self, line: bytes) -> None:
        try:
            frame = _decode_frame(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(None, FaultError(FaultKind.MALFORMED, f"not a JSON-RPC message: {error}"))
            return
        if frame.method is not msgspec.UNSET:
            self._handle(frame, frame.method)
        elif isinstance(frame.id, int):
            self._settle(frame.id, frame)

    def _settle(self, call_id: int, frame: Frame) -> None:
        method, answer = self._answers.pop(call_id, (None, None))
        if method is None or answer is None or answer.done():
            return
        if frame.error is not msgspec.UNSET:
            answer.set_exception(_fault_of(frame.error))
            return
        try:
            answer.set_result(method.result_decoder.decode(_EMPTY if frame.result is msgspec.UNSET else frame.result))
        except (msgspec.DecodeError, RecursionError) as error:
            answer.set_exception(FaultError(FaultKind.MALFORMED, f"cannot read the answer to {method.name}: {error}"))

    def _handle(self, frame: Frame, name: str) -> None:
        call_id = frame.id
        try:
            result = self._invoke(name, _EMPTY if frame.params is msgspec.UNSET else frame.params)
        except FaultError as fault:
            self._refuse(call_id, fault)
            return
        if isinstance(result, asyncio.Future):  # the usual case; asking for any awaitable is slow
            self._await(call_id, result)
        elif inspect.isawaitable(result):
            self._await(call_id, asyncio.ensure_future(result))
        else:
            self._answer(call_id, result)

    def _invoke(self, name: str, params: msgspec.Raw) -> Any:
        if name not in self._methods:
            raise FaultError(FaultKind.UNKNOWN_METHOD, f"unknown method {name[:64]!r}; known: {sorted(self._methods)}")
        method, handler = self._methods[name]
        try:
            decoded = method.params_decoder.decode(params)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FaultError(FaultKind.INVALID_PARAMS, f"cannot read the parameters of {name}: {error}") from None
        return handler(decoded)

    def _await(self, call_id: CallId, work: "asyncio.Future[Any]") -> None:
        self._handling.add(work)
        if len(self._handling) >= MAX_CALLS_IN_FLIGHT:
            self._pause()

        def done(work: "asyncio.Future[Any]") -> None:
            self._handling.discard(work)
            self._resume()
            if work.cancelled():
                self._refuse(call_id, FaultError(FaultKind.UNAVAILABLE, "the call was cancelled; try again"))
            elif (error := work.exception()) is None:
                self._answer(call_id, work.result())
            elif isinstance(error, FaultError):
                self._refuse(call_id, error)
            else:
                self._refuse(call_id, FaultError(FaultKind.INTERNAL, "the call failed; the log has the reason"))
                context = {"message": "unexpected error in a call's handler", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)

        work.add_done_callback(done)

    # the writing half

    def _answer(self, call_id: CallId, result: Any) -> None:
        if call_id is not msgspec.UNSET:
            self._write(_Answer(call_id, result))

    def _refuse(self, call_id: CallId, fault: FaultError) -> None:
        if call_id is msgspec.UNSET:
            return
        code = _CODES.get(fault.kind, _APPLICATION_CODE)
        self._write(Frame(jsonrpc="2.0", id=call_id, error=Error(code, fault.message, ErrorData(fault.kind))))

    def _write(self, frame: Frame | _Answer) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(_encode(frame) + b"\n")
        if transport.get_write_buffer_size() > MAX_UNSENT:
            transport.abort()

    def _pause(self) -> None:
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        may_read = not self._held and len(self._handling) < MAX_CALLS_IN_FLIGHT // 2
        if may_read and not self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()


def _fault_of(error: Error) -> FaultError:
    try:
        kind = FaultKind(error.data.kind)
    except ValueError:
        kind = FaultKind.INTERNAL
    return FaultError(kind, error.message)
