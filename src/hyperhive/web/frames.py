"""What goes to the terminals in the browsers: the HTML of events, and the server-sent events that carry it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from hyperhive.protocol.events import HiveEvent
from hyperhive.terminal.row import Row
from hyperhive.terminal.rows import rows
from hyperhive.terminal.writing import Writing
from hyperhive.web.rendering import render, seen

_LINK: Final = re.compile(r"https?://[^\s<>\"'`]{1,2000}")


class Drawn(Struct, frozen=True):
    """An event's rows as HTML."""

    id: int
    html: str


class Frame(Struct, frozen=True):
    """What was told in one tick, encoded once for all who are at its beginning."""

    behind: int  #: the newest event before it
    last: int
    rows: list[Drawn]
    writing: bytes
    encoded: bytes

    @classmethod
    def of(cls, behind: int, last: int, rows: list[Drawn], before: Writing, now: Writing) -> "Frame | None":
        """None when there is nothing to tell."""
        if not rows and before == now:
            return None
        writing = b"" if before == now else piece(last, before, now)
        return cls(behind, last, rows, writing, rows_event(last, rows) + writing)

    def above(self, id: int) -> bytes:
        """For who has had its events up to that one."""
        if id <= self.behind:
            return self.encoded
        return rows_event(self.last, [drawn for drawn in self.rows if drawn.id > id]) + self.writing


def draw(event: HiveEvent) -> Drawn | None:
    """In a thread: what agents write can take a while to format."""
    shown = [row for row in rows(event) if isinstance(row, Row)]
    if not shown:
        return None
    return Drawn(event.id, render("terminal/event.html", id=event.id, when=event.ts, rows=shown, links=links))


def draw_all(events: Iterable[HiveEvent]) -> list[Drawn]:
    return [drawn for event in events if (drawn := draw(event)) is not None]


def links(text: str) -> Iterator[tuple[str, bool]]:
    """The text in parts; those that are a link's address are said to be."""
    at = 0
    for found in _LINK.finditer(text):
        address = found[0].rstrip(".,;:!?)]}*_")
        yield text[at : found.start()], False
        yield address, True
        at = found.start() + len(address)
    yield text[at:], False


def written(events: Iterable[HiveEvent], before: Writing) -> Writing:
    """What is being written behind these events."""
    for event in events:
        for shown in rows(event):
            before = before.then(shown)
    return before


def rows_event(id: int, rows: Sequence[Drawn]) -> bytes:
    """Rows that come under those that are there; none, nothing."""
    return _event(id, "rows", "\n".join(drawn.html for drawn in rows)) if rows else b""


def piece(id: int, before: Writing, now: Writing) -> bytes:
    """The text that is being written: at which of its characters this goes on, what it is, which one; then the
    characters. Characters are counted as JavaScript does."""
    begins = before if now.goes_on_from(before) else Writing()
    kind = "thought" if now.is_thought else "text"
    text = now.text[len(begins.text) :]
    return _event(id, "piece", f"{_length(seen(begins.text))} {kind} {seen(now.key)}\n{seen(text)}")


def reset(id: int) -> bytes:
    """The browser is to fetch the newest rows anew."""
    return _event(id, "reset", "")


def _length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _event(id: int, kind: str, payload: str) -> bytes:
    lines = [f"data: {line}" for line in (kind, *payload.split("\n"))]
    return "\n".join(["event: terminal", f"id: {id}", *lines, "", ""]).encode(errors="replace")
