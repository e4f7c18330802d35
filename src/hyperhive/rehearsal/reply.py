"""The two shapes of an answer: events streamed as they are played, or one JSON object at the end."""

import abc
import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from hyperhive.rehearsal import sse
from hyperhive.rehearsal.exchange import Exchange
from hyperhive.rehearsal.script import Call, Fail, Garble, Usage, Windows

SIGNATURE: Final = "cmVoZWFyc2Fs"
_JSON: Final = {"content-type": "application/json"}
_STREAM: Final = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_PAGE: Final = b"<html><body>rehearsed nonsense</body></html>"
_GARBLED: Final = {"page": _PAGE, "event": sse.GARBAGE, "nothing": b""}
_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Reply(abc.ABC):
    """One answer to one request, played step by step. Every id in it is new."""

    def __init__(self, exchange: Exchange, *, model: str, usage: Usage, windows: Windows | None = None) -> None:
        self._exchange = exchange
        self._headers = used(windows, time.time()) if windows else {}
        self._model = model
        self._usage = usage
        self._id = new_id("msg")

    @abc.abstractmethod
    async def say(self, text: str, pace_s: float) -> None: ...

    @abc.abstractmethod
    async def think(self, text: str, pace_s: float) -> None: ...

    @abc.abstractmethod
    async def call(self, call: Call) -> None: ...

    @abc.abstractmethod
    async def ping(self) -> None:
        """Show that the answer is alive while nothing is said."""

    @abc.abstractmethod
    async def fail(self, fail: Fail) -> None:
        """Break with an error of the API; the last thing of a reply."""

    @abc.abstractmethod
    async def garble(self, garble: Garble) -> None:
        """Break with what is not the protocol; the last thing of a reply."""

    @abc.abstractmethod
    async def end(self, stop_reason: str) -> None: ...


class Streamed(Reply):
    _blocks = 0
    _begun = False

    async def say(self, text: str, pace_s: float) -> None:
        deltas = [{"type": "text_delta", "text": piece} for piece in sse.pieces(text)]
        await self._block({"type": "text", "text": ""}, deltas, pace_s)

    async def think(self, text: str, pace_s: float) -> None:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in sse.pieces(text)]
        deltas.append({"type": "signature_delta", "signature": SIGNATURE})
        await self._block({"type": "thinking", "thinking": "", "signature": ""}, deltas, pace_s)

    async def call(self, call: Call) -> None:
        start = {"type": "tool_use", "id": new_id("toolu"), "name": call.tool, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(call.input)}
        await self._block(start, [delta], 0)

    async def ping(self) -> None:
        if self._begun:
            await self._exchange.write(sse.PING)

    async def fail(self, fail: Fail) -> None:
        if not self._begun and not fail.streamed:
            await respond_error(self._exchange, fail)
            return
        await self._begin()
        await self._exchange.write(sse.error(*error_of(fail)))
        await self._exchange.end()

    async def garble(self, garble: Garble) -> None:
        how = garble.how or ("event" if self._begun else "page")
        if not self._begun:
            if how == "page":
                await respond_html(self._exchange)
                return
            await self._exchange.begin(200, _STREAM)
        await self._exchange.write(_GARBLED[how])
        await self._exchange.end()

    async def end(self, stop_reason: str) -> None:
        await self._begin()
        await self._exchange.write(sse.message_end(stop_reason, self._usage))
        await self._exchange.end()

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._exchange.begin(200, _STREAM | self._headers)
            await self._exchange.write(sse.message_start(self._id, self._model, self._usage) + sse.PING)

    async def _block(self, start: dict[str, Any], deltas: list[dict[str, Any]], pace_s: float) -> None:
        await self._begin()
        index = self._blocks
        self._blocks += 1
        await self._exchange.write(sse.block_start(index, start))
        for delta in deltas:
            await self._exchange.write(sse.block_delta(index, delta))
            if pace_s:
                await asyncio.sleep(pace_s)
        await self._exchange.write(sse.block_stop(index))


class Whole(Reply):
    def __init__(self, exchange: Exchange, *, model: str, usage: Usage, windows: Windows | None = None) -> None:
        super().__init__(exchange, model=model, usage=usage, windows=windows)
        self._content: list[dict[str, Any]] = []

    async def say(self, text: str, pace_s: float) -> None:  # noqa: ARG002 (nobody sees it grow)
        self._content.append({"type": "text", "text": text})

    async def think(self, text: str, pace_s: float) -> None:  # noqa: ARG002 (nobody sees it grow)
        self._content.append({"type": "thinking", "thinking": text, "signature": SIGNATURE})

    async def call(self, call: Call) -> None:
        self._content.append({"type": "tool_use", "id": new_id("toolu"), "name": call.tool, "input": call.input})

    async def ping(self) -> None:
        pass

    async def fail(self, fail: Fail) -> None:
        await respond_error(self._exchange, fail)

    async def garble(self, garble: Garble) -> None:
        if garble.how == "nothing":
            await self._exchange.respond(200, _JSON, b"")
        else:
            await respond_html(self._exchange)

    async def end(self, stop_reason: str) -> None:
        answer = sse.message(self._id, self._model, self._content, stop_reason, self._usage)
        await respond_json(self._exchange, answer, self._headers)


def new_id(kind: str) -> str:
    """claude drops a call whose id it has seen before."""
    return f"{kind}_{secrets.token_hex(12)}"


def error_of(fail: Fail) -> tuple[str, str]:
    """Type and message of the API's error."""
    kind = fail.type or _ERROR_TYPES.get(fail.status, "api_error")
    return kind, fail.message or f"rehearsed failure {fail.status}"


def error_headers(fail: Fail, now: float) -> dict[str, str]:
    headers = dict(_JSON)
    if fail.retry_after_s is not None:
        headers["retry-after"] = f"{fail.retry_after_s:g}"
    if fail.may_retry is not None:
        headers["x-should-retry"] = str(fail.may_retry).lower()
    if fail.limit_resets_in_s is not None:
        headers |= used_up(now + fail.limit_resets_in_s)
    return headers | fail.headers


def used(windows: Windows, now: float) -> dict[str, str]:
    """The headers of a subscription that may go on. The time is Unix seconds."""
    prefix, reset = "anthropic-ratelimit-unified", str(int(now + windows.resets_in_s))
    return {
        f"{prefix}-status": "allowed",
        f"{prefix}-reset": reset,
        f"{prefix}-representative-claim": "five_hour",
        f"{prefix}-5h-status": "allowed",
        f"{prefix}-5h-reset": reset,
        f"{prefix}-5h-utilization": f"{windows.five_hour:g}",
        f"{prefix}-7d-status": "allowed",
        f"{prefix}-7d-reset": reset,
        f"{prefix}-7d-utilization": f"{windows.seven_day:g}",
    }


def used_up(resets_at: float) -> dict[str, str]:
    """The headers of a subscription whose five hours are used up. The time is Unix seconds."""
    prefix, reset = "anthropic-ratelimit-unified", str(int(resets_at))
    return {
        f"{prefix}-status": "rejected",
        f"{prefix}-reset": reset,
        f"{prefix}-representative-claim": "five_hour",
        f"{prefix}-5h-status": "rejected",
        f"{prefix}-5h-reset": reset,
        f"{prefix}-5h-utilization": "1.0",
        f"{prefix}-overage-status": "rejected",
        f"{prefix}-overage-disabled-reason": "org_level_disabled",
    }


async def respond_error(exchange: Exchange, fail: Fail) -> None:
    kind, text = error_of(fail)
    body = {"type": "error", "error": {"type": kind, "message": text}}
    await exchange.respond(fail.status, error_headers(fail, time.time()), json.dumps(body).encode())


async def respond_json(
    exchange: Exchange, answer: dict[str, Any], headers: Mapping[str, str] = MappingProxyType({})
) -> None:
    await exchange.respond(200, {**_JSON, **headers}, json.dumps(answer).encode())


async def respond_html(exchange: Exchange) -> None:
    await exchange.respond(200, {"content-type": "text/html"}, _PAGE)
