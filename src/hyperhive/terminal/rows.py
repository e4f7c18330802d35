"""What an event shows. Pure; total: whatever an agent wrote, it has rows and no error."""

from hyperhive.protocol.events import (
    AnyLiveEvent,
    HiveEvent,
    ModelChanged,
    Note,
    Outcome,
    StatusChanged,
    Stream,
    TokenUsageChanged,
    ToolCall,
    TurnEnd,
    TurnStart,
    TurnState,
    TurnStateChanged,
    live_event,
)
from hyperhive.terminal import news, said
from hyperhive.terminal.row import Kind, Piece, Row, one_line, with_body

_LEVELS = {"info": ("·", Kind.NOTE), "warning": ("!", Kind.WARNING), "error": ("!", Kind.TROUBLE)}


def rows(event: HiveEvent) -> list[Row | Piece]:
    """The event's rows; none for what only pages need. An unknown kind is shown as it came."""
    try:
        live = live_event(event.payload)
        return [news.row(event)] if live is None else _live(live)
    except Exception as error:  # noqa: BLE001 - an agent wrote it: one event may not end what shows all of them
        return [Row(kind=Kind.UNKNOWN, head=f"· {one_line(event.kind, 40)} cannot be shown: {type(error).__name__}")]


def _live(event: AnyLiveEvent) -> list[Row | Piece]:
    match event:
        case TurnStart():
            return [_turn_start(event)]
        case TurnEnd():
            return [_turn_end(event)]
        case Stream():
            return said.rows(event.value)
        case Note():
            mark, kind = _LEVELS[event.level]
            return [Row(kind=kind, head=f"{mark} {one_line(event.text, 500)}")]
        case StatusChanged():
            return [_state(f"status: {one_line(event.text)}")]
        case ModelChanged():
            return [_state(f"model: {one_line(event.model)}")]
        case TurnStateChanged():
            return [_state("compacting")] if event.state == TurnState.COMPACTING else []
        case ToolCall() | TokenUsageChanged():  # the stream shows the call, the roster the numbers
            return []


def _turn_start(event: TurnStart) -> Row:
    notes = [f"attempt {event.attempt}"] if event.attempt > 1 else []
    notes += [f"{event.unread} unread"] if event.unread else []
    return with_body(Kind.TURN, " · ".join([f"◆ TURN ← {one_line(event.sender, 40)}", *notes]), event.body)


def _turn_end(event: TurnEnd) -> Row:
    took = f" · {event.duration_ms / 1000:.1f} s" if event.duration_ms else ""
    cost = f" · ${event.cost_usd:.4f}" if event.cost_usd else ""
    if event.ok:
        return Row(kind=Kind.DONE, head=f"✓ turn ok{took}{cost}")
    if event.outcome == Outcome.CANCELLED:
        return Row(kind=Kind.CANCELLED, head=f"■ turn cancelled{took}{cost}")
    why = event.note if isinstance(event.note, str) else event.outcome
    return Row(kind=Kind.FAILED, head=f"✗ turn fail — {one_line(why, 300)}{took}{cost}")


def _state(words: str) -> Row:
    return Row(kind=Kind.STATE, head=f"· {words}")
