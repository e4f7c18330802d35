"""What an agent's events say that it spent. Pure: the same events after the same meter come to the same."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import structlog
from msgspec import Meta, Raw, Struct

from hyperhive.broker.budgets import Amount
from hyperhive.broker.turns import MOST_USD
from hyperhive.hub.prices import Prices, Usage
from hyperhive.protocol.events import EventRecord, Stream, TurnEnd, TurnStart, live_event

MAX_OPEN: Final = 32
"""Requests of one agent at the same time, its subagents' included."""
TOLERANCE: Final = 0.2
"""By what part of the higher one the hive's count and claude's may differ before it is worth a word."""
_KINDS: Final = frozenset({"stream", "turn_start", "turn_end"})
_LETTERS: Final = 100

log = structlog.get_logger(__name__)


class _Message(Struct, frozen=True):
    model: str | None = ""
    usage: Usage | None = None


class _Event(Struct, frozen=True):
    type: str = ""
    message: _Message | None = None
    usage: Usage | None = None


class _Line(Struct, frozen=True):
    type: str = ""
    parent_tool_use_id: str | None = None
    event: _Event | None = None


class Request(Struct, frozen=True):
    """One under way, as far as it is known."""

    model: str
    usage: Usage


class Meter(Struct, kw_only=True):
    """How far the events are counted, and what the turn under way has come to."""

    seq: int = -1
    model: str = ""
    usd: float = 0.0
    tokens: int = 0
    requests: Annotated[dict[str, Request], Meta(max_length=MAX_OPEN)] = {}  #: by the tool call that they are within


class Difference(Struct, frozen=True):
    """The hive and claude do not agree on what a turn cost."""

    model: str
    counted: float
    claimed: float


_line: Final = msgspec.json.Decoder(_Line).decode
_meter: Final = msgspec.json.Decoder(Meter).decode
_encode: Final = msgspec.json.Encoder().encode


def speaks_of_usage(record: EventRecord) -> bool:
    """Whether it has to be counted: most pieces of a stream need not be looked at further."""
    return record.kind in _KINDS and (record.kind != "stream" or b'"usage"' in bytes(record.payload))


def advance(before: bytes, records: Sequence[EventRecord], prices: Prices) -> tuple[bytes, Amount, list[Difference]]:
    """The meter after the records and what they add; those that it has counted already add nothing."""
    meter = _meter(before) if before else Meter()
    total, differences = Amount(), list[Difference]()
    for record in records:
        if record.seq > meter.seq:
            meter.seq = record.seq
            total += _take(meter, record, prices, differences)
    return _encode(meter), total, differences


def _take(meter: Meter, record: EventRecord, prices: Prices, differences: list[Difference]) -> Amount:
    match live_event(record.payload) if speaks_of_usage(record) else None:
        case TurnStart():
            meter.usd, meter.tokens, meter.requests = 0.0, 0, {}
        case Stream(value=value):
            return _streamed(meter, value, prices)
        case TurnEnd() as end:
            return _ended(meter, end, prices, differences)
        case _:
            pass
    return Amount()


def _streamed(meter: Meter, value: Raw, prices: Prices) -> Amount:
    try:
        line = _line(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Amount()
    event, key = line.event, (line.parent_tool_use_id or "")[:_LETTERS]
    if line.type != "stream_event" or event is None:
        return Amount()
    if event.type == "message_start" and event.message is not None:
        before = Request((event.message.model or "")[:_LETTERS], Usage())
        meter.model = before.model
        return _raise(meter, key, before, event.message.usage or Usage(), prices)
    if event.type == "message_delta" and event.usage is not None:
        before = meter.requests.get(key) or Request(meter.model, Usage())
        return _raise(meter, key, before, event.usage, prices)
    return Amount()


def _raise(meter: Meter, key: str, before: Request, usage: Usage, prices: Prices) -> Amount:
    after = before.usage.raised_to(usage)
    if key in meter.requests or len(meter.requests) < MAX_OPEN:
        meter.requests = {**meter.requests, key: Request(before.model, after)}
    more = Amount(
        prices.usd(before.model, after) - prices.usd(before.model, before.usage),
        after.tokens - before.usage.bounded().tokens,
    )
    meter.usd, meter.tokens = meter.usd + more.usd, meter.tokens + more.tokens
    return more


def _ended(meter: Meter, end: TurnEnd, prices: Prices, differences: list[Difference]) -> Amount:
    """Of what the stream came to, what the turn's tokens cost and what claude says, the highest counts."""
    usage = Usage(
        end.input_tokens, end.output_tokens, end.cache_creation_tokens, end.cache_read_tokens
    ).bounded()  # fmt: skip
    counted = max(meter.usd, prices.usd(meter.model, usage) if usage.tokens else 0.0)
    claimed = min(max(end.cost_usd, 0.0), MOST_USD)
    if abs(counted - claimed) > TOLERANCE * max(counted, claimed):
        differences.append(Difference(meter.model, counted, claimed))
    more = Amount(max(counted, claimed) - meter.usd, max(usage.tokens - meter.tokens, 0))
    meter.usd, meter.tokens, meter.requests = 0.0, 0, {}
    return more
