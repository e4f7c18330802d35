"""The pages kept up to date: what happens in the hive makes sections of their boards stale."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hyperhive.broker.events import Resync
from hyperhive.broker.jobs import JobKind, JobRow
from hyperhive.hub.hive import Hive
from hyperhive.protocol.events import HiveEvent
from hyperhive.web.board import PING_S, Board, Numbers
from hyperhive.web.sections import SECTIONS, Section, Subject
from hyperhive.web.sessions import session_in
from hyperhive.web.terminal import Terminal

__all__ = ["PING_S", "Board", "Live", "live", "merged", "position_in", "streaming"]

LINGER_S: Final = 30.0
"""How long an agent's board is kept without anybody: a page is made a moment before its stream comes."""
_PING: Final = b"event: ping\ndata:\n\n"
_OPENING: Final = b"retry: 1000\n\n"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_LIVES: Final = frozenset({JobKind.SPAWN, JobKind.INIT_CONFIG, JobKind.DEPLOY, JobKind.DESTROY, JobKind.PURGE})
_ABOUT: Final = {
    "approval": (Subject.APPROVALS, Subject.DEPLOYMENTS),
    "question": (Subject.QUESTIONS,),
    "rebuilt": (Subject.DEPLOYMENTS,),
    "egress": (Subject.NETWORK,),
}
"""By the first word of an event's kind."""
_TURNS: Final = frozenset({"turn_start", "turn_end"})

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class Watched:
    """What an agent's page shows, the same for all who look at it; kept while it is used and a little longer."""

    board: Board
    terminal: Terminal
    drawing: asyncio.Task[None]
    users: int = 0
    going: asyncio.TimerHandle | None = None

    def close(self) -> None:
        self.board.close()
        self.terminal.close()


class Live:
    """Enter it to follow the hive; leaving it ends all streams.

    It has the board of the overview, and one for each agent that is looked at: of the sections `of_agent` of its name.
    """

    def __init__(
        self,
        hive: Hive,
        sections: tuple[Section, ...] = SECTIONS,
        of_agent: Callable[[str], tuple[Section, ...]] = lambda _: (),
        linger_s: float = LINGER_S,
    ) -> None:
        self._hive = hive
        self._numbers = Numbers()
        self._of_agent = of_agent
        self._linger_s = linger_s
        self._watched: dict[str, Watched] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self.overview = Board(hive, sections, self._numbers)

    async def __aenter__(self) -> Self:
        followers = (
            self._follow_agents, self._follow_mail, self._follow_jobs, self._follow_events, self.overview.keep_drawn
        )  # fmt: skip
        self._tasks = [asyncio.create_task(_persist(follow), name=f"live {follow.__name__}") for follow in followers]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        tasks = [*self._tasks, *(watched.drawing for watched in self._watched.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watched in self._watched.values():
            await watched.terminal.__aexit__()
            if watched.going:
                watched.going.cancel()

    def close(self) -> None:
        """End all streams; browsers come back to the next hive. Harmless again."""
        self._closed = True
        self.overview.close()
        for watched in self._watched.values():
            watched.close()

    @property
    def agents(self) -> set[str]:
        """Whose boards there are now."""
        return set(self._watched)

    @contextlib.contextmanager
    def agent(self, name: str) -> Iterator[Watched]:
        """What the agent's page shows; all who look at it at one time have the same."""
        watched = self._watched.get(name) or self._begin(name)
        watched.users += 1
        if watched.going:
            watched.going.cancel()
        try:
            yield watched
        finally:
            watched.users -= 1
            if not watched.users and not self._closed:
                watched.going = asyncio.get_running_loop().call_later(self._linger_s, self._drop, name)

    def _begin(self, name: str) -> Watched:
        board = Board(self._hive, self._of_agent(name), self._numbers)
        drawing = asyncio.create_task(_persist(board.keep_drawn), name=f"live {name}")
        watched = Watched(board=board, terminal=Terminal(self._hive, name), drawing=drawing)
        self._watched[name] = watched
        if self._closed:
            watched.close()
        return watched

    def _drop(self, name: str) -> None:
        watched = self._watched.pop(name)
        watched.close()
        watched.drawing.cancel()

    # following

    def _has_changed(self, *subjects: Subject, about: Collection[str] | None = None) -> None:
        for board in self._boards():
            board.has_changed(subjects, about)

    def _boards(self) -> list[Board]:
        return [self.overview, *(watched.board for watched in self._watched.values())]

    async def _follow_agents(self) -> None:
        names = set(self._hive.fleet.names())
        with self._hive.fleet.chronicle.changes.subscribe() as changes:
            self._has_changed(Subject.AGENTS, Subject.LIVES)
            async for changed in changes:
                before, names = names, set(self._hive.fleet.names())
                self._has_changed(Subject.AGENTS, about=changed)
                if names != before:
                    self._has_changed(Subject.LIVES, Subject.AGENTS)

    async def _follow_mail(self) -> None:
        with self._hive.fleet.chronicle.mail_changes.subscribe() as changes:
            self._has_changed(Subject.MAIL)
            async for recipients in changes:
                self._has_changed(Subject.MAIL, about=recipients)

    async def _follow_jobs(self) -> None:
        with self._hive.queue.changes.subscribe() as changes:
            self._has_changed(Subject.JOBS, Subject.DEPLOYMENTS, Subject.LIVES)
            async for numbers in changes:
                for number in numbers:
                    if row := await self._hive.queue.jobs.get(int(number)):
                        self._job_has_changed(row)

    def _job_has_changed(self, row: JobRow) -> None:
        self._has_changed(Subject.JOBS, about=[row.agent] if row.agent else None)
        if row.state.ended:
            self._has_changed(Subject.DEPLOYMENTS, *([Subject.LIVES] if row.kind in _LIVES else []))

    async def _follow_events(self) -> None:
        with self._hive.fleet.chronicle.events.subscribe() as events:
            self._has_changed(*Subject)
            while batch := await events.batch():
                for event in batch:
                    self._event_came(event)

    def _event_came(self, event: HiveEvent | Resync) -> None:
        if isinstance(event, Resync):
            self._has_changed(*Subject)
        elif event.kind in _TURNS:
            self._has_changed(Subject.TURNS, about=[event.agent])
        elif subjects := _ABOUT.get(event.kind.partition("_")[0]):
            self._has_changed(*subjects)


async def _persist(follow: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Again when it ends: a subscription ends when it is too far behind."""
    while True:
        try:
            await follow()
        except Exception:  # the boundary of a task: pages go on, and the log has the reason
            log.exception("following the hive failed", part=follow.__name__)
        await asyncio.sleep(1)


# streams


async def live(request: Request) -> Response:
    """The stream of the overview. It begins behind what the page was made with, or behind what the browser got
    last."""
    following: Live = request.app.state.live
    return streaming(request, following.overview.stream(position_in(request)))


def position_in(request: Request) -> str:
    return request.headers.get("last-event-id") or request.query_params.get("since", "")


def streaming(request: Request, chunks: AsyncGenerator[bytes, None], asks_s: float = PING_S) -> StreamingResponse:
    """Chunks of whole events as a stream that lasts as long as the session: an empty one is a ping. With each ping it
    asks for the session, and every `asks_s` seconds when it is never silent."""
    return StreamingResponse(_body(request, chunks, asks_s), media_type="text/event-stream", headers=_HEADERS)


async def _body(request: Request, chunks: AsyncGenerator[bytes, None], asks_s: float) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    async with contextlib.aclosing(chunks):
        yield _OPENING
        asked = clock()
        async for chunk in chunks:
            if not chunk or clock() - asked >= asks_s:
                if await session_in(request) is None:
                    return
                asked = clock()
            yield chunk or _PING


async def merged(*streams: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The chunks of all streams as they come, of each at most one ahead; ends with the first that does."""
    coming = {asyncio.ensure_future(anext(stream, None)): stream for stream in streams}
    try:
        while True:
            done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for step in done:
                stream = coming.pop(step)
                if (chunk := step.result()) is None:
                    return
                yield chunk
                coming[asyncio.ensure_future(anext(stream, None))] = stream
    finally:
        for step in coming:
            step.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        for stream in streams:
            await stream.aclose()
