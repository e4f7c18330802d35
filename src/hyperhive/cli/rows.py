"""What an event looks like in the operator's terminal. Pure; every text in a row is clean."""

from typing import Any

import msgspec

from hyperhive.cli import mail_rows, stream_rows
from hyperhive.cli.row import Row, block
from hyperhive.cli.safe import one_line
from hyperhive.protocol.events import (
    AnyLiveEvent,
    HiveEvent,
    ModelChanged,
    Note,
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


def rows(event: HiveEvent) -> list[Row]:
    """The event's rows; none for what only pages need. An unknown kind is shown as it came."""
    try:
        return _rows(event)
    except Exception as error:  # noqa: BLE001 - an agent wrote it: one event may not end what shows all of them
        return [Row(text=f"· {one_line(event.kind, 40)} cannot be shown: {type(error).__name__}", style="dim")]


def _rows(event: HiveEvent) -> list[Row]:
    live = live_event(event.payload)
    if live is not None:
        return _live(live)
    if event.kind.startswith("message_"):
        return mail_rows.rows(event)
    return [Row(text=f"· {one_line(event.kind, 40)} {one_line(_fields(event.payload), 200)}", style="dim")]


def _live(event: AnyLiveEvent) -> list[Row]:
    match event:
        case TurnStart():
            return _turn_start(event)
        case TurnEnd():
            return [_turn_end(event)]
        case Stream():
            return stream_rows.rows(event.value)
        case Note():
            return [_note(event)]
        case StatusChanged():
            return [Row(text=f"· status: {one_line(event.text)}", style="cyan")]
        case ModelChanged():
            return [Row(text=f"· model: {one_line(event.model)}", style="cyan")]
        case TurnStateChanged():
            return [Row(text="· compacting", style="cyan")] if event.state == TurnState.COMPACTING else []
        case ToolCall() | TokenUsageChanged():  # the stream shows the call, the roster the numbers
            return []


def _turn_start(event: TurnStart) -> list[Row]:
    notes = [f"attempt {event.attempt}"] if event.attempt > 1 else []
    notes += [f"{event.unread} unread"] if event.unread else []
    head = " · ".join([f"◆ TURN ← {one_line(event.sender, 40)}", *notes])
    return [Row(text=head, style="bold magenta"), Row(text=block(event.body))]


def _turn_end(event: TurnEnd) -> Row:
    took = f" · {event.duration_ms / 1000:.1f} s" if event.duration_ms else ""
    cost = f" · ${event.cost_usd:.4f}" if event.cost_usd else ""
    if event.ok:
        return Row(text=f"✓ turn ok{took}{cost}", style="green")
    why = event.note if isinstance(event.note, str) else event.outcome
    return Row(text=f"✗ turn fail — {one_line(why, 300)}{took}{cost}", style="red")


def _note(event: Note) -> Row:
    mark, style = {"info": ("·", "dim"), "warning": ("!", "yellow"), "error": ("!", "red")}[event.level]
    return Row(text=f"{mark} {one_line(event.text, 500)}", style=style)


def _fields(payload: msgspec.Raw) -> str:
    try:
        value: Any = msgspec.json.decode(payload)
        if isinstance(value, dict):
            return " ".join(f"{name}={item}" for name, item in value.items() if name not in ("kind", "agent"))
    except (ValueError, RecursionError):
        pass
    return bytes(payload)[:2000].decode(errors="replace")
