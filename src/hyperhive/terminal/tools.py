"""Rows for claude's tool calls: what it is about to do, in one line where one is enough."""

from typing import Any, Final

import msgspec

from hyperhive.terminal.row import Kind, Row, headline, one_line, with_body

OURS: Final = "mcp__hyperhive__"


def row(tool: str, given: Any) -> Row:
    fields = given if isinstance(given, dict) else {}
    match tool:
        case "Bash":
            command = _text(fields, "command")
            return with_body(Kind.TOOL, f"$ {headline(command, 200)}", _more_than(headline(command, 200), command))
        case "Read":
            return Row(kind=Kind.TOOL, head=f"→ Read {one_line(_text(fields, 'file_path'))}")
        case "Write":
            return _change("Write", _text(fields, "file_path"), "", _text(fields, "content"))
        case "Edit":
            return _change(
                "Edit", _text(fields, "file_path"), _text(fields, "old_string"), _text(fields, "new_string")
            )
        case "mcp__hyperhive__send":
            to, body = one_line(_text(fields, "to"), 40), _text(fields, "body")
            return with_body(Kind.LETTER, f"→ send → {to} · {headline(body)}", _more_than(headline(body), body))
        case _:
            return Row(kind=Kind.TOOL, head=f"→ {one_line(tool.removeprefix(OURS), 60)} {_short(fields)}".rstrip())


def _change(verb: str, path: str, old: str, new: str) -> Row:
    gone, come = old.splitlines(), new.splitlines()
    counts = f"-{len(gone)} +{len(come)}" if old else f"+{len(come)}"
    body = "\n".join([f"- {line}" for line in gone] + [f"+ {line}" for line in come])
    return with_body(Kind.CHANGE, f"→ {verb} {one_line(path)} · {counts}", body)


def _more_than(head: str, text: str) -> str:
    """The whole text, when its headline is not all of it."""
    return text if head != text.strip() else ""


def _text(fields: dict[Any, Any], name: str) -> str:
    value = fields.get(name, "")
    return value if isinstance(value, str) else str(value)


def _short(fields: dict[Any, Any]) -> str:
    values = [value if isinstance(value, str) else _json(value) for value in list(fields.values())[:6]]
    return one_line(" ".join(value[:200] for value in values), 120)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()[:200]
