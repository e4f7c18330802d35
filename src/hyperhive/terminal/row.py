"""One row of the terminal: bounded text as it came. Who draws it makes it harmless in the drawer's own medium."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_TEXT: Final = 16_384
"""Characters of one text that are kept."""
MAX_LINES: Final = 1000


class Kind(StrEnum):
    """What a row tells."""

    TURN = "turn"  #: one begins; the body is what woke the agent
    DONE = "done"
    FAILED = "failed"  #: the turn
    CANCELLED = "cancelled"  #: the turn, by the operator
    TEXT = "text"  #: claude's, as markdown
    THOUGHT = "thought"
    TOOL = "tool"
    CHANGE = "change"  #: a tool call that writes a file; the body's lines begin with - and +
    LETTER = "letter"  #: a tool call that sends
    RESULT = "result"
    ERROR = "error"  #: a result, of a call that failed
    TASK = "task"  #: in the background
    STATE = "state"
    NOTE = "note"
    WARNING = "warning"
    TROUBLE = "trouble"
    NEWS = "news"  #: the hive's own word about the agent
    DEATH = "death"  #: the same: its container came to an end
    UNKNOWN = "unknown"


ENDS_WRITING: Final = frozenset({Kind.TURN, Kind.DONE, Kind.FAILED, Kind.CANCELLED, Kind.DEATH})
"""Behind these rows nothing is being written any more."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line, and what belongs under it. Either may be empty."""

    kind: Kind
    head: str = ""  #: one line
    body: str = ""
    left_out: int = 0  #: characters of the body that are not kept
    message: str = ""  #: claude's id of the message that this is text of, when it is


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some characters of a text that is being written, or the end of it; a row has it whole later."""

    message: str
    block: int  #: which of the message's texts
    text: str = ""
    is_thought: bool = False
    is_end: bool = False


def with_body(kind: Kind, head: str, body: str, message: str = "") -> Row:
    """A row of as much of the body as is kept."""
    kept = "\n".join(body[:MAX_TEXT].split("\n", MAX_LINES)[:MAX_LINES])
    return Row(kind=kind, head=head, body=kept, left_out=len(body) - len(kept), message=message)


def one_line(text: str, limit: int = 120) -> str:
    """The text on one line of at most so many characters."""
    joined = " ".join(text[: limit * 8].split())
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"


def headline(text: str, limit: int = 120) -> str:
    """The first line that says something."""
    return next((one_line(line, limit) for line in text[:65536].splitlines() if line.strip()), "")
