"""Rows for claude's own output (its stream-json). What it says is data: unknown shapes are shown, never refused."""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from hyperhive.cli import tool_rows
from hyperhive.cli.row import MAX_TEXT, Part, Row, block
from hyperhive.cli.safe import clean, headline, one_line

INLINE: Final = 120
"""Characters of a tool's result that are shown whole."""


class Block(Struct, frozen=True):
    type: str = ""
    text: str = ""
    thinking: str = ""
    name: str = ""
    input: Any = None
    content: Any = None
    is_error: bool | None = None


class Message(Struct, frozen=True):
    id: str = ""
    content: str | list[Block] = ""


class Delta(Struct, frozen=True):
    type: str = ""
    text: str = ""
    thinking: str = ""


class ApiEvent(Struct, frozen=True):
    type: str = ""
    delta: Delta | None = None


class Said(Struct, frozen=True):
    """One line of claude's, with the fields of the few kinds that are shown."""

    type: str = ""
    subtype: str | None = None
    message: Message | None = None
    event: ApiEvent | None = None
    api_message_id: str = ""
    task_id: str = ""
    status: str | None = None
    description: str = ""
    summary: str = ""


_decode: Final = msgspec.json.Decoder(Said).decode
_HIDDEN: Final = frozenset(
    {"result", "rate_limit_event", "command_lifecycle", "control_response", "transcript_mirror"}
)
_TASK_MARKS: Final = {"completed": "✓", "failed": "✗", "killed": "✗", "stopped": "✗"}


def rows(value: Raw) -> list[Row]:
    try:
        said = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [_as_it_came(value)]
    match said.type:
        case "assistant" | "user":
            return _message(said.message) if said.message else []
        case "stream_event":
            return _written(said)
        case "system":
            return _system(said)
        case _:
            return [] if said.type in _HIDDEN else [_as_it_came(value)]


def _message(message: Message) -> list[Row]:
    if isinstance(message.content, str):  # what a user message of claude's own begins a turn with
        return []
    return [row for part in message.content for row in _block(part, message.id)]


def _block(part: Block, message: str) -> list[Row]:
    match part.type:
        case "text":
            return [Row(text=block(part.text), message=message)] if part.text.strip() else []
        case "thinking" | "redacted_thinking":
            thought = block(part.thinking) if part.thinking.strip() else "  (thinking)"
            return [Row(text=thought, style="dim italic", message=message)]
        case "tool_use":
            return tool_rows.rows(part.name, part.input)
        case "tool_result":
            return [_result(_text_of(part.content), failed=bool(part.is_error))]
        case _:
            return []


def _result(text: str, *, failed: bool) -> Row:
    style = "red" if failed else "dim"
    if len(text) <= INLINE and "\n" not in text.strip():
        return Row(text=f"← {one_line(text, INLINE)}", style=style)
    lines = text[:MAX_TEXT].count("\n") + 1
    return Row(text=f"▸ ← {lines}l · {headline(text, INLINE)}", style=style)


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(item.get("text", "")) for item in content if isinstance(item, dict))


def _written(said: Said) -> list[Row]:
    """A few characters as the model writes them."""
    event, message = said.event, said.api_message_id
    if event is None:
        return []
    if event.type == "content_block_stop":
        return [Row(text="", part=Part.END, message=message)]
    if event.delta is None:
        return []
    if event.delta.type == "text_delta":
        return [_piece(event.delta.text, "", message)]
    if event.delta.type == "thinking_delta":
        return [_piece(event.delta.thinking, "dim italic", message)]
    return []


def _piece(text: str, style: str, message: str) -> Row:
    return Row(text=clean(text[:MAX_TEXT]), style=style, part=Part.PIECE, message=message)


def _system(said: Said) -> list[Row]:
    match said.subtype:
        case "task_started":
            return [
                Row(text=f"⌁ task {one_line(said.task_id, 20)} started {one_line(said.description, 100)}".rstrip())
            ]
        case "task_notification":
            mark = _TASK_MARKS.get(said.status or "", "◌")
            return [Row(text=f"⌁ task {one_line(said.task_id, 20)} {mark} {one_line(said.summary, 100)}".rstrip())]
        case _:
            return []


def _as_it_came(value: Raw) -> Row:
    return Row(text=f"· {one_line(bytes(value)[:4096].decode(errors='replace'), 200)}", style="dim")
