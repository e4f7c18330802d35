"""What claude's output says about a turn: read from its structured fields, never from its text."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from hyperhive.protocol.agent import Window
from hyperhive.protocol.events import Outcome

MAX_NOTE: Final = 500
MAX_WINDOWS: Final = 8


class Head(Struct, frozen=True):
    type: str = ""
    subtype: str | None = None
    parent_tool_use_id: str | None = None


class Usage(Struct, frozen=True):
    input_tokens: int | None = 0
    output_tokens: int | None = 0
    cache_read_input_tokens: int | None = 0
    cache_creation_input_tokens: int | None = 0

    @property
    def context(self) -> int:
        """Tokens that the model was sent."""
        return (self.input_tokens or 0) + (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)


class ModelUsage(Struct, frozen=True, rename="camel"):
    context_window: int | None = 0
    cost_usd: float | None = msgspec.field(name="costUSD", default=0.0)


class Origin(Struct, frozen=True):
    kind: str = ""


class Init(Struct, frozen=True):
    """A turn of claude's has begun."""

    session_id: str = ""
    user_message_uuids: list[str] | None = None


class Lifecycle(Struct, frozen=True):
    command_uuid: str = ""
    state: str = ""


class Status(Struct, frozen=True):
    """What claude is at beside thinking."""

    status: str | None = None


class CompactMetadata(Struct, frozen=True):
    pre_tokens: int | None = None
    post_tokens: int | None = None


class Compacted(Struct, frozen=True):
    """The conversation goes on from a summary."""

    compact_metadata: CompactMetadata = CompactMetadata()


class Background(Struct, frozen=True):
    """What claude has running beside its turns."""

    tasks: list[Any] = []


class Assistant(Struct, frozen=True):
    error: str | None = None


class StreamedMessage(Struct, frozen=True):
    usage: Usage | None = None


class StreamedEvent(Struct, frozen=True):
    type: str = ""
    message: StreamedMessage | None = None


class Streamed(Struct, frozen=True):
    event: StreamedEvent = StreamedEvent()


class _Window(Struct, frozen=True, rename="camel"):
    utilization: float = 0.0
    resets_at: float = 0.0


class RateLimitInfo(Struct, frozen=True, rename="camel"):
    status: str = ""
    resets_at: float | None = None
    unified_windows: Any = None

    @property
    def windows(self) -> list[Window]:
        """As far as they are of a shape that is known: what is said beside them counts in any case."""
        try:
            found = msgspec.convert(self.unified_windows or {}, dict[str, _Window])
            parts = [{"name": n, "utilization": w.utilization, "resets_at": w.resets_at} for n, w in found.items()]
            return msgspec.convert(parts[:MAX_WINDOWS], list[Window])
        except msgspec.ValidationError:
            return []


class RateLimit(Struct, frozen=True):
    rate_limit_info: RateLimitInfo = RateLimitInfo()


class Result(Struct, frozen=True):
    """A turn of claude's has ended. `total_cost_usd` counts over the conversation, resumed processes included."""

    subtype: str = ""
    is_error: bool = False
    session_id: str = ""
    terminal_reason: str | None = None
    total_cost_usd: float | None = 0.0
    usage: Usage | None = None
    model_usage: dict[str, ModelUsage] | None = msgspec.field(name="modelUsage", default=None)
    model_usage_since_last_result: dict[str, ModelUsage] | None = None
    user_message_uuid: str | None = None
    user_message_uuids: list[str] | None = None
    origin: Origin | None = None
    errors: list[Any] | None = None
    result: Any = None

    def answers(self, uuid: str) -> bool:
        """Whether the turn that ended is the one which took this prompt."""
        taken = self.user_message_uuids or ([self.user_message_uuid] if self.user_message_uuid else None)
        if taken is not None:
            return uuid in taken
        return self.origin is None or self.origin.kind != "task-notification"


Message = Init | Lifecycle | Status | Compacted | Background | Assistant | Streamed | RateLimit | Result

_KINDS: Final[dict[tuple[str, str | None], type[Any]]] = {
    ("system", "init"): Init,
    ("system", "status"): Status,
    ("system", "compact_boundary"): Compacted,
    ("system", "background_tasks_changed"): Background,
    ("command_lifecycle", None): Lifecycle,
    ("assistant", None): Assistant,
    ("stream_event", None): Streamed,
    ("rate_limit_event", None): RateLimit,
}
_SHAPES: Final[list[type[Any]]] = [*_KINDS.values(), Result]
_head: Final = msgspec.json.Decoder(Head).decode
_decoders: Final[dict[type[Any], Callable[[Raw | bytes], Message]]] = {
    kind: msgspec.json.Decoder(kind).decode for kind in _SHAPES
}


def message(line: Raw | bytes) -> Message | None:
    """What the line says, or None when it says nothing that matters here or is of an unknown shape."""
    try:
        head = _head(line)
        if head.type == "result":
            return _decoders[Result](line)
        if head.parent_tool_use_id is not None:
            return None
        kind = _KINDS.get((head.type, head.subtype if head.type == "system" else None))
        return None if kind is None else _decoders[kind](line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Ordered(StrEnum):
    """Why a turn was told to end."""

    CANCEL = "cancel"  #: the operator's
    STOP = "stop"  #: the harness is being stopped
    BUDGET = "budget"  #: the hive's: what may be spent is spent
    OVERDUE = "overdue"  #: ours: it had a time, and took longer
    UNSTICK = "unstick"  #: the hive's: it seems to be stuck


class Tally(Struct):
    """What a turn has shown so far."""

    tool_calls: int = 0
    error: str = ""  #: the kind of the last error that claude reported in this turn
    resets_at: float | None = None  #: when a rejected usage limit ends, Unix seconds
    result: Result | None = None
    cost_before: float = 0.0
    context: Usage = field(default_factory=Usage)  #: of the last request
    compacted: CompactMetadata | None = None

    def take(self, said: Message) -> None:
        if isinstance(said, Assistant):
            self.error = said.error or ""
        elif isinstance(said, RateLimit) and said.rate_limit_info.status == "rejected":
            self.resets_at = said.rate_limit_info.resets_at or 0.0
        elif isinstance(said, Streamed) and said.event.message is not None and said.event.message.usage is not None:
            self.context = said.event.message.usage
        elif isinstance(said, Compacted):
            self.compacted = said.compact_metadata
            self.context = Usage(input_tokens=said.compact_metadata.post_tokens)
        elif isinstance(said, Result):
            self.result = said

    @property
    def cost_usd(self) -> float:
        """Of this turn alone."""
        if self.result is None:
            return 0.0
        if self.result.model_usage_since_last_result is not None:
            return sum(usage.cost_usd or 0.0 for usage in self.result.model_usage_since_last_result.values())
        return max(0.0, (self.result.total_cost_usd or 0.0) - self.cost_before)


_BY_ORDER: Final[dict[Ordered | None, Outcome]] = {Ordered.CANCEL: Outcome.CANCELLED, Ordered.BUDGET: Outcome.BUDGET}
_OVERFLOW: Final = frozenset({"prompt_too_long", "blocking_limit"})
_OVERLOADED: Final = frozenset({"rate_limit", "overloaded", "server_error"})
_BUDGET: Final = frozenset({"error_max_budget_usd"})


def outcome(tally: Tally, ordered: Ordered | None) -> Outcome:
    """How the turn ended. Without a result claude was lost in the middle of it."""
    result = tally.result
    if result is None:
        return _BY_ORDER.get(ordered, Outcome.INTERRUPTED)
    if not result.is_error:
        return Outcome.OK
    if (result.terminal_reason or "").startswith("aborted"):
        return _BY_ORDER.get(ordered, Outcome.INTERRUPTED)
    if tally.error == "authentication_failed":
        return Outcome.NEEDS_LOGIN
    if tally.resets_at:
        return Outcome.RATE_LIMITED
    if tally.error in _OVERLOADED or tally.resets_at is not None:
        return Outcome.OVERLOADED
    if result.terminal_reason in _OVERFLOW:
        return Outcome.OVERFLOW
    if result.subtype in _BUDGET or tally.error == "billing_error":
        return Outcome.BUDGET
    return Outcome.FAILED


def explanation(tally: Tally) -> str:
    """For a person: what claude said about its failure."""
    result = tally.result
    if result is None:
        return "claude ended before the turn did"
    texts = [text for text in [result.result, *(result.errors or [])] if isinstance(text, str) and text]
    kinds = [
        kind for kind in (tally.error, result.terminal_reason or "", result.subtype) if kind and kind != "success"
    ]
    return ": ".join([", ".join(dict.fromkeys(kinds)) or "error", *texts])[:MAX_NOTE]


class Settlement(StrEnum):
    """What becomes of a turn's messages."""

    ACK = "ack"
    RETURN = "return"  #: to the queue, unharmed: the attempt does not count
    FAIL = "fail"  #: to the queue, and the attempt counts


MAX_OVERLOADS: Final = 20
"""In a row: from then on the attempt counts, so that a message which is itself the reason is given up in the end."""


def settlement(ended: Outcome, ordered: Ordered | None, overloads: int = 0) -> Settlement:
    """A cancelled turn's messages are handled: the operator has seen them fail and does not want them again.

    `overloads` is how many turns in a row, this one among them, have ended so.
    """
    if ended in (Outcome.OK, Outcome.CANCELLED):
        return Settlement.ACK
    if ordered in (Ordered.STOP, Ordered.BUDGET) or ended in (Outcome.NEEDS_LOGIN, Outcome.RATE_LIMITED):
        return Settlement.RETURN
    if ended is Outcome.OVERLOADED and overloads <= MAX_OVERLOADS:
        return Settlement.RETURN
    return Settlement.FAIL
