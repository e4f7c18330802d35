"""Text of unknown origin made fit for the operator's terminal: it can say anything and do nothing."""

import re
from typing import Final

_MOVERS = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
"""Characters that reorder or break a line on the screen."""
_UNSAFE: Final = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_MOVERS}\ud800-\udfff]")
_UNSAFE_IN_JSON: Final = re.compile(rf"[\x00-\x09\x0b-\x1f\x7f-\x9f{_MOVERS}\ud800-\udfff]")

_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u206a-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
"""Characters that take no ink, in which a text could hide another from its reader."""


def clean(text: str) -> str:
    """The text with visible marks in place of control characters; lines stay lines."""
    return _UNSAFE.sub(_mark, text.replace("\r\n", "\n").replace("\t", "    "))


def one_line(text: str, limit: int = 120) -> str:
    """The text on one line of at most so many characters."""
    joined = " ".join(clean(text[: limit * 8]).split())
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"


def exact(text: str) -> str:
    """The whole text on one line with a mark for each character that would not be seen: for what is decided on."""
    return _UNSEEN.sub(_mark, clean(text)).replace("\n", "␊")


def headline(text: str, limit: int = 120) -> str:
    """The first line that says something."""
    return next((one_line(line, limit) for line in text[:65536].splitlines() if line.strip()), "")


def clean_json(text: str) -> str:
    """JSON of the same value that is safe to show: what is not printable becomes an escape."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _mark(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"
