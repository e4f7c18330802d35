"""One row of the operator's terminal, and how the rows that every medium shows are drawn there."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hyperhive.cli.safe import clean
from hyperhive.terminal.row import MAX_TEXT, Kind, Piece
from hyperhive.terminal.row import Row as Shown

MAX_BODY_LINES: Final = 40
_SHORT: Final = 12
"""Lines of what stands under a tool call."""
STYLES: Final = {
    Kind.TURN: "bold magenta", Kind.DONE: "green", Kind.FAILED: "red", Kind.CANCELLED: "yellow",
    Kind.TEXT: "", Kind.THOUGHT: "dim italic",
    Kind.TOOL: "yellow", Kind.CHANGE: "yellow", Kind.LETTER: "yellow", Kind.RESULT: "dim", Kind.ERROR: "red",
    Kind.TASK: "", Kind.STATE: "cyan", Kind.NOTE: "dim", Kind.WARNING: "yellow", Kind.TROUBLE: "red",
    Kind.NEWS: "dim", Kind.DEATH: "red", Kind.UNKNOWN: "dim",
}  # fmt: skip
_FOLDED: Final = frozenset({Kind.RESULT, Kind.ERROR, Kind.TOOL})
"""Their bodies are for whoever can unfold them."""


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


def drawn(shown: Shown | Piece) -> list[Row]:
    """The row as a terminal has it: its line, and its body as far as it fits."""
    if isinstance(shown, Piece):
        return [_piece(shown)]
    style, lines = STYLES[shown.kind], []
    if shown.head:
        mark = "▸ " if shown.body and shown.kind in (Kind.RESULT, Kind.ERROR) else ""
        lines.append(Row(text=mark + clean(shown.head), style=style))
    if shown.body and shown.kind not in _FOLDED:
        lines.append(_body(shown))
    return lines


def _piece(piece: Piece) -> Row:
    if piece.is_end:
        return Row(text="", part=Part.END, message=piece.message)
    style = STYLES[Kind.THOUGHT if piece.is_thought else Kind.TEXT]
    return Row(text=clean(piece.text), style=style, part=Part.PIECE, message=piece.message)


def _body(shown: Shown) -> Row:
    if shown.kind in (Kind.CHANGE, Kind.LETTER):
        return Row(text=block(shown.body, _SHORT), style="dim")
    style = "" if shown.kind is Kind.TURN else STYLES[shown.kind]
    return Row(text=block(shown.body), style=style, message=shown.message)
