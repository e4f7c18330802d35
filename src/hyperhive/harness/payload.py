"""Claude's output made fit for the record: keys blanked, size bounded."""

import re
from typing import Any, Final

import msgspec

from hyperhive.protocol.events import MAX_PAYLOAD

MAX_VALUE: Final = MAX_PAYLOAD - 1024
"""Bytes of one object from claude; the rest is for the event around it."""
SHORTEST_CUT: Final = 64
MAX_DEPTH: Final = 64
MAX_ITEMS: Final = 256

_KEYS = re.compile(
    rb"sk-ant-[A-Za-z0-9_-]{8,}"
    rb"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    rb"|gh[pousr]_[A-Za-z0-9]{30,}"
    rb"|xox[abprs]-[A-Za-z0-9-]{10,}"
    rb"|(?i:(?<=bearer )[A-Za-z0-9._~+/-]{16,})"
)
_BLANK: Final = b"[redacted]"


def clean(line: bytes) -> bytes:
    """One JSON object with what looks like a key blanked and not over MAX_VALUE bytes.

    A key that claude's stream delivers in several pieces is blanked only where it appears whole.
    """
    return redact(bounded(line))


def redact(text: bytes) -> bytes:
    """JSON stays JSON: no pattern takes a quote or a backslash."""
    return _KEYS.sub(_BLANK, text)


def bounded(line: bytes, limit: int = MAX_VALUE) -> bytes:
    """The object with its long strings shortened, down to `limit` bytes; each cut says how much is gone."""
    if len(line) <= limit:
        return line
    value = msgspec.json.decode(line)
    keep = limit // 4
    while keep >= SHORTEST_CUT:
        short = msgspec.json.encode(_shortened(value, keep, 0))
        if len(short) <= limit:
            return short
        keep //= 4
    return msgspec.json.encode({"type": _kind(value), "cut": f"{len(line)} bytes are not shown"})


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind[:SHORTEST_CUT] if isinstance(kind, str) else "unknown"


def _shortened(value: Any, keep: int, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return "[too deep to show]"
    if isinstance(value, str):
        gone = len(value) - keep
        return f"{value[:keep]}… [{gone} characters are not shown]" if gone > 0 else value
    if isinstance(value, list):
        items = [_shortened(item, keep, depth + 1) for item in value[:MAX_ITEMS]]
        gone = len(value) - MAX_ITEMS
        return [*items, f"[{gone} items are not shown]"] if gone > 0 else items
    if isinstance(value, dict):
        return {key[:keep]: _shortened(item, keep, depth + 1) for key, item in list(value.items())[:MAX_ITEMS]}
    return value
