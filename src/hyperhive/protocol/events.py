"""What happened in an agent, as its harness records it, and what happened in the hive."""

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

MAX_PAYLOAD: Final = 256 * 1024
"""Bytes of one event's payload; a larger one is cut by the harness before it is stored or sent."""


class TurnState(StrEnum):
    IDLE = "idle"
    THINKING = "thinking"
    COMPACTING = "compacting"


class Rest(StrEnum):
    """How awake an agent's container is."""

    WARM = "warm"  #: claude is up and answers at once
    DOZING = "dozing"  #: only the runner is up
    ASLEEP = "asleep"  #: the container is stopped; the next message starts it


class Outcome(StrEnum):
    """How a turn ended, from the SDK's structured fields, never from text."""

    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"  #: the operator stopped it
    INTERRUPTED = "interrupted"  #: claude or its container died in the middle
    NEEDS_LOGIN = "needs_login"
    RATE_LIMITED = "rate_limited"  #: until an announced time
    OVERLOADED = (
        "overloaded"  #: the model's side did not answer: too many requests, an error of its own, no connection
    )
    OVERFLOW = "overflow"
    BUDGET = "budget"


class LiveEvent(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of the harness's events; the kind is their tag."""


class TurnStart(LiveEvent, frozen=True, kw_only=True, tag="turn_start"):
    turn: str
    sender: str = msgspec.field(name="from")
    body: str
    unread: int = 0  #: how many more messages were queued
    messages: list[int] = []
    attempt: int = 1


class Stream(LiveEvent, frozen=True, kw_only=True, tag="stream"):
    value: msgspec.Raw  #: claude's own stream-json object


class Note(LiveEvent, frozen=True, kw_only=True, tag="note"):
    text: str
    level: Literal["info", "warning", "error"] = "info"


class ToolCall(LiveEvent, frozen=True, kw_only=True, tag="tool_call"):
    """A tool call as the PreToolUse hook saw it, before it ran."""

    tool: str
    input: msgspec.Raw
    tool_use_id: str = ""


class TurnEnd(LiveEvent, frozen=True, kw_only=True, tag="turn_end"):
    turn: str
    ok: bool
    outcome: str = Outcome.OK
    note: str | UnsetType = UNSET
    duration_ms: int = 0
    cost_usd: float = 0.0  #: of this turn alone
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    tool_calls: int = 0


class StatusChanged(LiveEvent, frozen=True, kw_only=True, tag="status_changed"):
    text: str


class ModelChanged(LiveEvent, frozen=True, kw_only=True, tag="model_changed"):
    model: str


class TokenUsageChanged(LiveEvent, frozen=True, kw_only=True, tag="token_usage_changed"):
    context_tokens: int
    context_window: int = 0


class TurnStateChanged(LiveEvent, frozen=True, kw_only=True, tag="turn_state_changed"):
    state: str
    rest: str = Rest.WARM
    since: float = 0.0


AnyLiveEvent = (
    TurnStart
    | Stream
    | Note
    | ToolCall
    | TurnEnd
    | StatusChanged
    | ModelChanged
    | TokenUsageChanged
    | TurnStateChanged
)

Kind = Annotated[str, msgspec.Meta(max_length=64)]


class EventRecord(Struct, frozen=True, kw_only=True):
    """One event of one agent on its way to the hive. The payload is `AnyLiveEvent` as JSON.

    `seq` rises by one per event within the agent's state directory (it is the row's id in the harness's store).
    """

    seq: Annotated[int, msgspec.Meta(ge=0)]
    ts: float
    kind: Kind
    payload: msgspec.Raw


class HiveEvent(Struct, frozen=True, kw_only=True):
    """One event as the hive keeps and publishes it.

    `id` rises over the hive's whole life, restarts included. `agent` is empty for what concerns the hive itself.
    """

    id: int
    ts: float
    agent: str
    kind: str
    payload: msgspec.Raw


_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[AnyLiveEvent]] = msgspec.json.Decoder(AnyLiveEvent)


def record(seq: int, ts: float, event: AnyLiveEvent) -> EventRecord:
    """The event as it is stored and sent."""
    kind = event.__struct_config__.tag
    return EventRecord(seq=seq, ts=ts, kind=str(kind), payload=msgspec.Raw(_encoder.encode(event)))


def live_event(payload: msgspec.Raw | bytes) -> AnyLiveEvent | None:
    """The payload of a record, or None for a kind or shape this version does not know."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
