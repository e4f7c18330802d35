"""The sections of one page as they are now: what has changed is drawn once, numbered, and sent to every browser that
looks.

What is sent is how a section is now, not what happened to it. So a browser has one number, that of the newest section
it has got whole, and is always caught up with by all sections above it: after a cut, after a restart of the hive
(whose numbers begin with another word), and when it is slow. Nothing is kept for it, and nothing grows.
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from typing import Final

import structlog
from msgspec import Struct

from hyperhive.hub.hive import Hive
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.web.rendering import render
from hyperhive.web.route import number_in
from hyperhive.web.sections import Section, Subject

TICK_S: Final = 0.1
"""A section is drawn at most once in it."""
PING_S: Final = 15.0
"""How often a silent stream says that it lives; as often it asks whether its session still does."""

log = structlog.get_logger(__name__)


class Numbers:
    """Of one life of the hive: they rise over all its boards, so a board that is made anew goes on above the old."""

    def __init__(self) -> None:
        self.life = secrets.token_hex(4)
        self._next = itertools.count(1)

    def next(self) -> int:
        return next(self._next)


class Frame(Struct, frozen=True):
    """A section as it was drawn last."""

    number: int
    html: str
    encoded: bytes  #: the event, for all who get it


class Board:
    """Sections that are drawn by `keep_drawn` while somebody has a stream of them, and when they are asked for."""

    def __init__(self, hive: Hive, sections: tuple[Section, ...], numbers: Numbers) -> None:
        self._hive = hive
        self._sections = sections
        self._numbers = numbers
        self._number = 0
        self._frames: dict[str, Frame] = {}
        self._stale = set(sections)
        self._drawing = asyncio.Lock()
        self._changed = asyncio.Event()  #: something is stale
        self._news = asyncio.Event()  #: replaced with every tick that drew something
        self._watchers = 0
        self._watched = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """End all streams; browsers come back to the next hive. Harmless again."""
        self._closed = True
        self._news.set()

    def has_changed(self, subjects: Iterable[Subject], about: Collection[str] | None = None) -> None:
        """What shows one of them is drawn anew with the next tick; what is of one agent, only if the change is `about`
        it, or about all."""
        stale = {
            section
            for section in self._sections
            if not section.about.isdisjoint(subjects)
            and (about is None or not section.agent or section.agent in about)
        }
        if stale:
            self._stale |= stale
            self._changed.set()

    @property
    def position(self) -> str:
        """Of what `frames` gave last: where a stream goes on."""
        return f"{self._numbers.life}-{self._number}"

    async def frames(self) -> dict[str, str]:
        """All sections as they are now, by name."""
        await self._draw()
        return {name: frame.html for name, frame in self._frames.items()}

    async def stream(self, position: str) -> AsyncGenerator[bytes, None]:
        """What has changed since that position and whatever does, in chunks of whole events; empty when PING_S passed
        without any. Ends when the hive does."""
        life, _, number = position.partition("-")
        seen = (number_in(number) or 0) if life == self._numbers.life else 0
        with self._watching():
            while not self._closed:
                news = self._news
                fresh = sorted((frame for frame in self._frames.values() if frame.number > seen), key=_number)
                if fresh:
                    seen = fresh[-1].number
                    yield b"".join(frame.encoded for frame in fresh)
                elif not await within(PING_S, news):
                    yield b""

    async def keep_drawn(self) -> None:
        """Until it is cancelled. While nobody looks nothing is drawn."""
        while True:
            await self._changed.wait()
            await self._watched.wait()
            await self._draw()
            await asyncio.sleep(TICK_S)

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        self._watchers += 1
        self._watched.set()
        if self._stale:
            self._changed.set()
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watched.clear()

    async def _draw(self) -> None:
        async with self._drawing:
            self._changed.clear()
            stale, self._stale = self._stale, set()
            for section in self._sections:
                if section in stale:
                    await self._draw_one(section)
            news, self._news = self._news, asyncio.Event()
            if self._closed:
                self._news.set()
            news.set()

    async def _draw_one(self, section: Section) -> None:
        try:
            self._keep(section, await section.draw(self._hive))
        except FaultError as fault:
            if fault.kind is not FaultKind.UNKNOWN_AGENT:  # it is gone; the page says so in another place
                log.warning("a section could not be drawn", section=section.name, reason=fault.message)
                self._stale.add(section)  # what stands in the way may pass: the next tick tries again
            self._leave(section)
        except Exception:  # the boundary of a section: the others are shown all the same
            log.exception("a section could not be drawn", section=section.name)
            self._leave(section)

    def _keep(self, section: Section, html: str) -> None:
        before = self._frames.get(section.name)
        if before is None or before.html != html:
            self._number = self._numbers.next()
            encoded = _event(self.position, section.name, html)
            self._frames[section.name] = Frame(self._number, html, encoded)

    def _leave(self, section: Section) -> None:
        """As it was; where it never was, a page has its place."""
        if section.name not in self._frames:
            self._keep(section, render("sections/nothing.html", id=section.name))


async def within(seconds: float, event: asyncio.Event) -> bool:
    """Whether it happened in that time."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _number(frame: Frame) -> int:
    return frame.number


def _event(position: str, name: str, html: str) -> bytes:
    """One server-sent event: the section's name on the first line of its data, then its HTML."""
    lines = [f"data: {line}" for line in (name, *html.split("\n"))]
    return "\n".join([f"id: {position}", *lines, "", ""]).encode()
