"""Rows for claude's own output (its stream-json). What it says is data: unknown shapes are shown, never refused."""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from hyperhive.terminal import tools
from hyperhive.terminal.row import MAX_TEXT, Kind, Piece, Row, headline, one_line, with_body

INLINE: Final = 120
"""Characters of a tool's result that are shown whole."""
MAX_BLOCKS: Final = 50
"""Of one message."""


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
    index: int = 0
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


def rows(value: Raw) -> list[Row | Piece]:
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


def _message(message: Message) -> list[Row | Piece]:
    if isinstance(message.content, str):  # what a user message of claude's own begins a turn with
        return []
    shown = [row for block in message.content[:MAX_BLOCKS] for row in _block(block, one_line(message.id))]
    left_out = len(message.content) - MAX_BLOCKS
    return [*shown, Row(kind=Kind.NOTE, head=f"… {left_out} more blocks")] if left_out > 0 else [*shown]


def _block(block: Block, message: str) -> list[Row]:
    match block.type:
        case "text":
            return [with_body(Kind.TEXT, "", block.text, message)] if block.text.strip() else []
        case "thinking" | "redacted_thinking":
            return [with_body(Kind.THOUGHT, "", block.thinking if block.thinking.strip() else "(thinking)", message)]
        case "tool_use":
            return [tools.row(block.name, block.input)]
        case "tool_result":
            return [_result(_text_of(block.content), Kind.ERROR if block.is_error else Kind.RESULT)]
        case _:
            return []


def _result(text: str, kind: Kind) -> Row:
    if len(text) <= INLINE and "\n" not in text.strip():
        return Row(kind=kind, head=f"← {one_line(text, INLINE)}")
    return with_body(kind, f"← {text.count(chr(10)) + 1}l · {headline(text, INLINE)}", text)


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(item.get("text", "")) for item in content if isinstance(item, dict))


def _written(said: Said) -> list[Row | Piece]:
    """A few characters as the model writes them."""
    event = said.event
    if event is None:
        return []
    message = one_line(said.api_message_id)
    if event.type == "content_block_stop":
        return [Piece(message=message, block=event.index, is_end=True)]
    match event.delta:
        case Delta(type="text_delta", text=text):
            return [Piece(message=message, block=event.index, text=text[:MAX_TEXT])]
        case Delta(type="thinking_delta", thinking=text):
            return [Piece(message=message, block=event.index, text=text[:MAX_TEXT], is_thought=True)]
        case _:
            return []


def _system(said: Said) -> list[Row | Piece]:
    task = f"⌁ task {one_line(said.task_id, 20)}"
    match said.subtype:
        case "task_started":
            words = f"{task} started {one_line(said.description, 100)}"
        case "task_notification":
            words = f"{task} {_TASK_MARKS.get(said.status or '', '◌')} {one_line(said.summary, 100)}"
        case _:
            return []
    return [Row(kind=Kind.TASK, head=words.rstrip())]


def _as_it_came(value: Raw) -> Row:
    return Row(kind=Kind.UNKNOWN, head=f"· {one_line(bytes(value)[:4096].decode(errors='replace'), 200)}")
