"""One row of the terminal."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hyperhive.cli.safe import clean

MAX_BODY_LINES: Final = 40
MAX_TEXT: Final = 64 * 1024
"""Characters of one text that are shown."""


class Part(StrEnum):
    LINE = "line"  #: a row of its own
    PIECE = "piece"  #: goes on where the last piece of the same agent ended
    END = "end"  #: no more pieces


@dataclass(frozen=True, kw_only=True)
class Row:
    """Text without control characters, and how it is shown. Its lines after the first are continuation lines."""

    text: str
    style: str = ""
    part: Part = Part.LINE
    message: str = ""  #: claude's id of the message that this is text of, when it is


def block(text: str, limit: int = MAX_BODY_LINES) -> str:
    """A long text, cleaned, indented and cut: it cannot be mistaken for rows."""
    lines = clean(text[:MAX_TEXT]).strip("\n").split("\n")
    hidden = len(lines) - limit
    shown = lines[:limit] + ([f"… {hidden} more lines"] if hidden > 0 else [])
    return "\n".join("  " + line for line in shown)
