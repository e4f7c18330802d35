"""Rows for claude's tool calls: what it is about to do, in one line where one is enough."""

from typing import Any, Final

import msgspec

from hyperhive.cli.row import MAX_TEXT, Row, block
from hyperhive.cli.safe import headline, one_line

OURS: Final = "mcp__hyperhive__"
STYLE: Final = "yellow"


def rows(tool: str, given: Any) -> list[Row]:
    fields = given if isinstance(given, dict) else {}
    match tool:
        case "Bash":
            return [_row(f"$ {headline(_text(fields, 'command'), 200)}")]
        case "Read":
            return [_row(f"→ Read {one_line(_text(fields, 'file_path'))}")]
        case "Write":
            return _change("Write", _text(fields, "file_path"), "", _text(fields, "content"))
        case "Edit":
            return _change(
                "Edit", _text(fields, "file_path"), _text(fields, "old_string"), _text(fields, "new_string")
            )
        case "mcp__hyperhive__send":
            to, body = one_line(_text(fields, "to"), 40), _text(fields, "body")
            return [_row(f"→ send → {to} · {headline(body)}"), *_rest_of(body)]
        case _:
            return [_row(f"→ {one_line(tool.removeprefix(OURS), 60)} {_short(fields)}".rstrip())]


def _row(text: str) -> Row:
    return Row(text=text, style=STYLE)


def _change(verb: str, path: str, old: str, new: str) -> list[Row]:
    gone, come = _lines(old), _lines(new)
    counts = f"-{len(gone)} +{len(come)}" if old else f"+{len(come)}"
    body = "\n".join([f"- {line}" for line in gone] + [f"+ {line}" for line in come])
    head = _row(f"→ {verb} {one_line(path)} · {counts}")
    return [head, Row(text=block(body, 12), style="dim")] if body else [head]


def _rest_of(body: str) -> list[Row]:
    """The whole body under its headline, when the headline is not all of it."""
    return [Row(text=block(body, 12), style="dim")] if headline(body) != body.strip() else []


def _lines(text: str) -> list[str]:
    return text[:MAX_TEXT].splitlines()


def _text(fields: dict[Any, Any], name: str) -> str:
    value = fields.get(name, "")
    return value if isinstance(value, str) else str(value)


def _short(fields: dict[Any, Any]) -> str:
    values = [value if isinstance(value, str) else _json(value) for value in fields.values()]
    return one_line(" ".join(value[:200] for value in values[:6]), 120)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:200]
