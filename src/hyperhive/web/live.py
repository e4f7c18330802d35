"""The overview kept up to date: what has changed is drawn once, numbered, and sent to every browser that looks.

What is sent is how a section is now, not what happened to it. So a browser has one number, that of the newest section
it has got whole, and is always caught up with by all sections above it: after a cut, after a restart of the hive
(whose numbers begin with another word), and when it is slow. Nothing is kept for it, and nothing grows.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Final, Self

import structlog
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hyperhive.broker.events import Resync
from hyperhive.broker.jobs import JobKind
from hyperhive.hub.hive import Hive
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.faults import FaultError
from hyperhive.web.sections import SECTIONS, Section, Subject
from hyperhive.web.sessions import session_in

TICK_S: Final = 0.1
"""A section is drawn at most once in it."""
PING_S: Final = 15.0
"""How often a silent stream says that it lives; as often it asks whether its session still does."""
_PING: Final = b"event: ping\ndata:\n\n"
_OPENING: Final = b"retry: 1000\n\n"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_LIVES: Final = frozenset({JobKind.SPAWN, JobKind.INIT_CONFIG, JobKind.DEPLOY, JobKind.DESTROY, JobKind.PURGE})

log = structlog.get_logger(__name__)


class Frame(Struct, frozen=True):
    """A section as it was drawn last."""

    number: int
    html: str
    encoded: bytes  #: the event, for all who get it


class Live:
    """Enter it to follow the hive; leaving it ends all streams."""

    def __init__(self, hive: Hive, sections: tuple[Section, ...] = SECTIONS) -> None:
        self._hive = hive
        self._sections = sections
        self._life = secrets.token_hex(4)
        self._number = 0
        self._frames: dict[str, Frame] = {}
        self._stale = set(sections)
        self._drawing = asyncio.Lock()
        self._changed = asyncio.Event()  #: something is stale
        self._news = asyncio.Event()  #: replaced with every tick that drew something
        self._watchers = 0
        self._watched = asyncio.Event()
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        followers = (self._follow_agents, self._follow_mail, self._follow_jobs, self._follow_events, self._tick)
        self._tasks = [asyncio.create_task(_persist(follow), name=f"live {follow.__name__}") for follow in followers]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """End all streams; browsers come back to the next hive. Harmless again."""
        self._closed = True
        self._news.set()

    @property
    def position(self) -> str:
        """Of what `frames` gave last: where a stream goes on."""
        return f"{self._life}-{self._number}"

    async def frames(self) -> dict[str, str]:
        """All sections as they are now, by name."""
        await self._draw()
        return {name: frame.html for name, frame in self._frames.items()}

    async def stream(self, position: str) -> AsyncGenerator[bytes, None]:
        """What has changed since that position and whatever does, in chunks of whole events; empty when PING_S passed
        without any. Ends when the hive does."""
        life, _, number = position.partition("-")
        seen = int(number) if life == self._life and number.isdecimal() and len(number) < 19 else 0
        with self._watching():
            while not self._closed:
                news = self._news
                fresh = sorted((frame for frame in self._frames.values() if frame.number > seen), key=_number)
                if fresh:
                    seen = fresh[-1].number
                    yield b"".join(frame.encoded for frame in fresh)
                elif not await _within(PING_S, news):
                    yield b""

    # drawing

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        self._watchers += 1
        self._watched.set()
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watched.clear()

    async def _tick(self) -> None:
        """While nobody looks nothing is drawn."""
        while True:
            await self._changed.wait()
            await self._watched.wait()
            await self._draw()
            await asyncio.sleep(TICK_S)

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
            html = await section.draw(self._hive)
        except FaultError as fault:
            log.warning("a section could not be drawn", section=section.name, reason=fault.message)
            return
        except Exception:  # the boundary of a section: the others are shown all the same
            log.exception("a section could not be drawn", section=section.name)
            return
        before = self._frames.get(section.name)
        if before is None or before.html != html:
            self._number += 1
            encoded = _event(f"{self._life}-{self._number}", section.name, html)
            self._frames[section.name] = Frame(self._number, html, encoded)

    # following

    def _has_changed(self, *subjects: Subject) -> None:
        self._stale |= {section for section in self._sections if not section.about.isdisjoint(subjects)}
        self._changed.set()

    async def _follow_agents(self) -> None:
        names = set(self._hive.fleet.names())
        with self._hive.fleet.chronicle.changes.subscribe() as changes:
            async for _ in changes:
                before, names = names, set(self._hive.fleet.names())
                self._has_changed(Subject.AGENTS, *([] if names == before else [Subject.LIVES]))

    async def _follow_mail(self) -> None:
        with self._hive.fleet.chronicle.mail_changes.subscribe() as changes:
            async for _ in changes:
                self._has_changed(Subject.MAIL)

    async def _follow_jobs(self) -> None:
        with self._hive.queue.changes.subscribe() as changes:
            async for numbers in changes:
                rows = [await self._hive.queue.jobs.get(int(number)) for number in numbers]
                lives = any(row is not None and row.state.ended and row.kind in _LIVES for row in rows)
                self._has_changed(Subject.JOBS, *([Subject.LIVES] if lives else []))

    async def _follow_events(self) -> None:
        with self._hive.fleet.chronicle.events.subscribe() as events:
            self._has_changed(*Subject)
            while batch := await events.batch():
                if subjects := {subject for event in batch for subject in _subjects(event)}:
                    self._has_changed(*subjects)


def _subjects(event: HiveEvent | Resync) -> tuple[Subject, ...]:
    if isinstance(event, Resync):
        return tuple(Subject)
    about, _, _ = event.kind.partition("_")
    return {"approval": (Subject.APPROVALS,), "question": (Subject.QUESTIONS,)}.get(about, ())


async def _persist(follow: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Again when it ends: a subscription ends when it is too far behind."""
    while True:
        try:
            await follow()
        except Exception:  # the boundary of a task: pages go on, and the log has the reason
            log.exception("following the hive failed", part=follow.__name__)
        await asyncio.sleep(1)


async def _within(seconds: float, event: asyncio.Event) -> bool:
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


async def live(request: Request) -> Response:
    """The stream of a page. It begins behind what the page was made with, or behind what the browser got last."""
    position = request.headers.get("last-event-id") or request.query_params.get("since", "")
    return StreamingResponse(_body(request, position), media_type="text/event-stream", headers=_HEADERS)


async def _body(request: Request, position: str) -> AsyncIterator[bytes]:
    following: Live = request.app.state.live
    yield _OPENING
    async with contextlib.aclosing(following.stream(position)) as chunks:
        async for chunk in chunks:
            if not chunk and await session_in(request) is None:
                return
            yield chunk or _PING
