"""An agent's terminal in the browser: its history from the store, and what happens drawn once for all who watch."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from typing import Final, Self

import structlog
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hyperhive.broker.events import Resync
from hyperhive.hub.hive import Hive
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.faults import FaultError
from hyperhive.terminal.writing import Writing
from hyperhive.web import frames
from hyperhive.web.board import PING_S, within
from hyperhive.web.frames import Drawn, Frame
from hyperhive.web.rendering import render
from hyperhive.web.route import WebRoute, hive_of, number_in
from hyperhive.web.sections import path_of

TICK_S: Final = 0.1
"""What happens within it is told at once."""
ROWS: Final = 200
"""Events with rows that are read at once."""
PAGE_CHARS: Final = 1 << 19
"""Characters of HTML that are enough at once; the last event may be over it."""
MAX_ROUNDS: Final = 10
"""How often so many events are looked at for those that have rows."""
CATCH_UP: Final = 300
"""Events that somebody may have missed; who missed more begins anew."""
TICK_BYTES: Final = 1 << 19
"""Payloads that are drawn in one tick, or for one who catches up."""
KEEP_FRAMES: Final = 256
KEEP_BYTES: Final = 2 << 20
"""Of frames that are kept for those who are behind."""
RECENT: Final = 400
"""Events among which the pieces of the text stand that is being written."""
_NEWEST: Final = 2**63 - 1

log = structlog.get_logger(__name__)


class Shown(Struct, frozen=True):
    """Rows as HTML, and where they stand."""

    html: str
    before: int  #: older ones are below this event; 0: there are none
    after: int  #: newer ones are behind this event
    writing: str  #: the text that is being written


class Terminal:
    """One agent's, for all who look at it. It follows the agent only while somebody watches; leaving it ends streams.

    Readers are always brought to the newest: one that is behind gets the frames that are kept, or what the store has,
    or is told to begin anew. Nothing is kept for a reader, and nothing grows.
    """

    def __init__(self, hive: Hive, name: str) -> None:
        self._log = hive.fleet.chronicle.events
        self._name = name
        self._frames: deque[Frame] = deque()
        self._size = 0
        self._start = 0  #: the frames have all that was told behind this event
        self._at = 0  #: and up to this one
        self._writing = Writing()
        self._news = asyncio.Event()  #: replaced with every frame
        self._ready = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._watchers = 0
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._following is not None:
            await asyncio.gather(self._following, return_exceptions=True)

    def close(self) -> None:
        """End all streams. Harmless again."""
        self._closed = True
        self._news.set()
        self._ready.set()
        if self._following is not None:
            self._following.cancel()

    # history

    async def latest(self) -> Shown:
        """The newest rows."""
        after = self._log.last
        shown = await self._page(after + 1)
        writing = await self._written(after)
        return Shown(shown.html, shown.before, after, writing.text)

    async def older(self, before: int) -> Shown:
        """The rows below an event."""
        return await self._page(min(before, _NEWEST))

    async def _page(self, before: int) -> Shown:
        after, page = before - 1, list[Drawn]()
        for _ in range(MAX_ROUNDS):
            events = await self._log.before(before, self._name, ROWS)
            if not events:
                before = 0
                break
            more, before = await asyncio.to_thread(_newest, events, ROWS - len(page), PAGE_CHARS - _chars(page))
            page += more
            if len(page) >= ROWS or _chars(page) >= PAGE_CHARS:
                break
        if before and not await self._log.before(before, self._name, 1):
            before = 0
        return Shown("\n".join(drawn.html for drawn in reversed(page)), before, after, "")

    async def _written(self, at: int) -> Writing:
        """What was being written when that event had been told."""
        recent = [event for event in await self._log.latest(self._name, RECENT) if event.id <= at]
        return await asyncio.to_thread(frames.written, recent, Writing())

    # the stream

    async def stream(self, after: int) -> AsyncGenerator[bytes, None]:
        """What was told behind that event and whatever is, as whole server-sent events; empty when PING_S passed
        without any. Ends when the terminal is closed."""
        with self._watching():
            await self._ready.wait()
            chunk, seen = await self._caught_up(after)
            while not self._closed:
                news = self._news
                if chunk:
                    yield chunk
                elif not await within(PING_S, news):
                    yield b""
                chunk, seen = self._since(seen) if seen >= self._start else await self._caught_up(seen)

    def _since(self, seen: int) -> tuple[bytes, int]:
        fresh = [frame for frame in self._frames if frame.last > seen]
        chunk = fresh[0].above(seen) if len(fresh) == 1 else b"".join(frame.above(seen) for frame in fresh)
        return chunk, max(seen, self._at)

    async def _caught_up(self, seen: int) -> tuple[bytes, int]:
        """What the store has behind an event, and the text that is being written."""
        at, writing = self._at, frames.piece(max(seen, self._at), Writing(), self._writing)
        if at <= seen <= self._log.last:
            return writing, seen
        missed = await self._log.lasting(seen, self._name, CATCH_UP + 1)
        if seen > at or len(missed) > CATCH_UP or _bytes(missed) > TICK_BYTES:
            return frames.reset(at) + writing, at
        drawn = await asyncio.to_thread(frames.draw_all, [event for event in missed if event.id <= at])
        return frames.rows_event(at, drawn) + writing, at

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        self._watchers += 1
        if self._following is None and not self._closed:
            self._following = asyncio.create_task(self._keep_following(), name=f"terminal {self._name}")
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers and self._following is not None:
                self._following.cancel()
                self._following = None
                self._ready = asyncio.Event()
                if self._closed:
                    self._ready.set()

    # following

    async def _keep_following(self) -> None:
        """Again when it ends: a subscription ends when it is too far behind."""
        while True:
            try:
                await self._follow()
            except Exception:  # the boundary of a task: those who watch go on, and the log has the reason
                log.exception("following an agent failed", agent=self._name)
                await asyncio.sleep(1)

    async def _follow(self) -> None:
        with self._log.subscribe(self._name) as events:
            await self._jump(self._log.last)
            self._ready.set()
            while batch := await events.batch():
                told = [event for event in batch if isinstance(event, HiveEvent)]
                if isinstance(batch[-1], Resync):
                    return
                if len(told) > CATCH_UP or _bytes(told[1:]) > TICK_BYTES:
                    await self._jump(told[-1].id)
                else:
                    await self._take(told)
                await asyncio.sleep(TICK_S)

    async def _jump(self, at: int) -> None:
        """Tell nothing of what was before: more came than anybody reads."""
        writing = await self._written(at)
        self._frames.clear()
        self._size, self._start, self._at, self._writing = 0, at, at, writing
        self._tell()

    async def _take(self, events: list[HiveEvent]) -> None:
        drawn, writing = await asyncio.to_thread(_taken, events, self._writing)
        last = events[-1].id
        frame = Frame.of(self._at, last, drawn, self._writing, writing)
        self._at, self._writing = last, writing
        if frame is None:
            return
        self._frames.append(frame)
        self._size += len(frame.encoded)
        while len(self._frames) > KEEP_FRAMES or self._size > KEEP_BYTES:
            gone = self._frames.popleft()
            self._size -= len(gone.encoded)
            self._start = gone.last
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        if self._closed:
            self._news.set()
        news.set()


def _taken(events: list[HiveEvent], writing: Writing) -> tuple[list[Drawn], Writing]:
    return frames.draw_all(events), frames.written(events, writing)


def _newest(events: list[HiveEvent], count: int, chars: int) -> tuple[list[Drawn], int]:
    """The first of the events, drawn, until there are enough; and below which event the others are."""
    page: list[Drawn] = []
    for event in events:
        if (drawn := frames.draw(event)) is not None:
            page.append(drawn)
            chars -= len(drawn.html)
        if len(page) >= count or chars <= 0:
            return page, event.id
    return page, events[-1].id


def _chars(page: list[Drawn]) -> int:
    return sum(len(drawn.html) for drawn in page)


def _bytes(events: list[HiveEvent]) -> int:
    return sum(len(memoryview(event.payload)) for event in events)


# pages


async def rows(request: Request) -> Response:
    """The newest rows of an agent's terminal, or those below an event."""
    try:
        name = hive_of(request).fleet.get(path_of(request)["name"]).name
    except FaultError as fault:
        return HTMLResponse(render("alert.html", text=fault.message), 404)
    before = number_in(request.query_params.get("before", ""))
    return await (_tail(request, name) if before is None else _older(request, name, before))


async def _older(request: Request, name: str, before: int) -> Response:
    shown = await Terminal(hive_of(request), name).older(before)
    return HTMLResponse(render("terminal/older.html", terminal=shown))


async def _tail(request: Request, name: str) -> Response:
    shown = await Terminal(hive_of(request), name).latest()
    return HTMLResponse(render("terminal/log.html", terminal=shown, name=name))


TERMINAL_PAGES: Final[tuple[WebRoute, ...]] = (WebRoute(path="/agents/{name}/terminal", handler=rows),)
