"""The stream of the overview on a real hive without containers: numbered, coalesced, and without an end of its own."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from dataclasses import replace
from pathlib import Path

from starlette.requests import Request
from structlog.testing import capture_logs

from hyperhive.broker.letters import Draft
from hyperhive.broker.web_sessions import MOST
from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.hive import Hive
from hyperhive.protocol.agent import MessageKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import OPERATOR
from hyperhive.web import sections
from hyperhive.web.agent_page import sections_of
from hyperhive.web.app import create_app
from hyperhive.web.board import Numbers
from hyperhive.web.live import Board, Live, merged, streaming
from hyperhive.web.sections import SECTIONS, AgentSection, Section, Subject, View
from hyperhive.web.settings import WebSettings

PATIENCE_S = 30.0


def on_a_hive(test: Callable[[Hive], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=None) as hive:
                await test(hive)

    asyncio.run(run())


def section(name: str) -> Section:
    return next(each for each in SECTIONS if each.name == name)


async def writes(hive: Hive, body: str, mid: str = "") -> None:
    """A message to the operator: there is nobody else."""
    draft = Draft(sender="system", kind=MessageKind.SYSTEM, mid=mid or body, to=OPERATOR, body=body)
    await hive.mailbox.send(draft)


class Events:
    """A browser's half of a stream."""

    def __init__(self, board: Board, position: str) -> None:
        self._chunks = board.stream(position)
        self.position = position
        self.got: list[tuple[str, str, str]] = []  #: position, section, html

    async def __aenter__(self) -> "Events":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._chunks.aclose()

    async def chunk(self) -> list[tuple[str, str, str]]:
        raw = (await anext(self._chunks)).decode()
        events = []
        for event in raw.split("\n\n"):
            lines = event.split("\n")
            if lines[0].startswith("id: "):
                self.position = lines[0][4:]
                data = [line.removeprefix("data: ") for line in lines[1:]]
                events.append((self.position, data[0], "\n".join(data[1:])))
        self.got += events
        return events

    async def until(self, name: str, text: str) -> str:
        while True:
            for _, section_name, html in await self.chunk():
                if section_name == name and text in html:
                    return html


def test_a_page_and_its_stream_meet_without_a_gap_or_a_double() -> None:
    async def test(hive: Hive) -> None:
        async with Live(hive) as live:
            page = await live.overview.frames()
            assert set(page) == {each.name for each in SECTIONS}
            async with Events(live.overview, live.overview.position) as events:
                await writes(hive, "first words")
                assert "first words" not in page["flow"]
                await events.until("flow", "first words")
                names = [name for _, name, _ in events.got]
                assert set(names) <= {"waiting", "agents", "flow", "inbox", "dead"}

    on_a_hive(test)


def test_after_a_cut_only_what_changed_since_comes_again() -> None:
    async def test(hive: Hive) -> None:
        async with Live(hive) as live:
            await live.overview.frames()
            async with Events(live.overview, live.overview.position) as events:
                await writes(hive, "before the cut")
                await events.until("inbox", "before the cut")
            await writes(hive, "meanwhile")
            await live.overview.frames()
            async with Events(live.overview, events.position) as again:
                came = await again.chunk()
            assert {name for _, name, _ in came} <= {"waiting", "flow", "inbox"}
            assert "meanwhile" in next(html for _, name, html in came if name == "inbox")
            async with Events(live.overview, again.position) as caught_up:
                await writes(hive, "later")
                await caught_up.until("inbox", "later")
                assert "later" in next(html for _, name, html in caught_up.got if name in ("flow", "inbox"))

    on_a_hive(test)


def test_whoever_comes_from_another_life_of_the_hive_gets_everything() -> None:
    async def test(hive: Hive) -> None:
        async with Live(hive) as live:
            await live.overview.frames()
            for position in (
                "0badc0de-99999",
                "",
                "nonsense",
                f"{live.overview.position.split('-')[0]}-{'9' * 40}",
                "-1",
            ):
                async with Events(live.overview, position) as events:
                    assert {name for _, name, _ in await events.chunk()} == {each.name for each in SECTIONS}

    on_a_hive(test)


def test_a_storm_is_told_as_how_things_are_and_not_blow_by_blow() -> None:
    async def test(hive: Hive) -> None:
        async with Live(hive) as live:
            await live.overview.frames()
            async with Events(live.overview, live.overview.position) as events:
                for number in range(200):
                    await writes(hive, f"drop {number}.")
                html = await events.until("flow", "drop 199.")
                assert "drop 150." in html
                assert "drop 149." not in html
                assert len([name for _, name, _ in events.got if name == "flow"]) < 100

    on_a_hive(test)


def test_a_browser_that_does_not_read_costs_nothing_and_gets_the_newest() -> None:
    async def test(hive: Hive) -> None:
        async with Live(hive) as live:
            await live.overview.frames()
            async with (
                Events(live.overview, live.overview.position) as slow,
                Events(live.overview, live.overview.position) as fast,
            ):
                await writes(hive, "first")
                await slow.chunk()
                for number in range(100):
                    await writes(hive, f"drop {number}.")
                await fast.until("flow", "drop 99.")
                await slow.until("flow", "drop 99.")
                assert len([name for _, name, _ in slow.got if name == "flow"]) <= 3

    on_a_hive(test)


def test_while_nobody_looks_nothing_is_drawn() -> None:
    drawn: list[str] = []

    async def counted(hive: Hive) -> View:
        drawn.append("flow")
        return await sections.flow(hive)

    async def test(hive: Hive) -> None:
        async with Live(hive, (replace(section("flow"), look=counted), section("inbox"))) as live:
            await live.overview.frames()
            before = len(drawn)
            async with _told(hive):
                for number in range(20):
                    await writes(hive, f"unseen {number}")
            assert len(drawn) == before
            assert "unseen 19" in (await live.overview.frames())["flow"]

    on_a_hive(test)


@contextlib.asynccontextmanager
async def _told(hive: Hive) -> AsyncIterator[None]:
    """Left when what happened inside has been told to everybody who follows the mail."""
    with hive.fleet.chronicle.mail_changes.subscribe() as changes:
        yield
        await changes.batch()
        await asyncio.sleep(0)


def test_a_section_that_fails_leaves_the_others() -> None:
    async def broken(_: Hive) -> View:
        raise RuntimeError("a mistake")

    async def test(hive: Hive) -> None:
        with capture_logs() as said:
            await seen_beside_it(hive)
        assert {(line["event"], line["section"]) for line in said} == {("a section could not be drawn", "jobs")}

    async def seen_beside_it(hive: Hive) -> None:
        async with Live(hive, (replace(section("jobs"), look=broken), section("flow"))) as live:
            async with Events(live.overview, "") as events:
                await writes(hive, "still here")
                await events.until("flow", "still here")
            assert (await live.overview.frames())["jobs"] == '<section id="jobs" hidden></section>'

    on_a_hive(test)


def test_a_section_that_the_database_refused_once_is_drawn_with_the_next_tick() -> None:
    refusals = [FaultError(FaultKind.STORAGE, "cannot read; try again")]

    async def look(hive: Hive) -> View:
        if refusals:
            raise refusals.pop()
        return await sections.jobs(hive)

    async def test(hive: Hive) -> None:
        board = Board(hive, (replace(section("jobs"), look=look), section("flow")), Numbers())
        assert "No jobs." not in (await board.frames())["jobs"]
        assert "No jobs." in (await board.frames())["jobs"]

    on_a_hive(test)


def test_a_stream_that_is_never_silent_ends_with_its_session_too() -> None:
    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"data: much\n\n"

    async def comes_in(hive: Hive) -> str:
        link = (await hive.doors.invite()).rpartition("#")[2]
        return await hive.doors.enter(link, address="", browser="")

    async def test(hive: Hive) -> None:
        hive.doors.open_at("http://127.0.0.1:7000")
        app = create_app(hive, hive.doors, WebSettings())
        headers = [(b"host", b"127.0.0.1:7000"), (b"cookie", f"hive-7000={await comes_in(hive)}".encode())]
        scope = {"type": "http", "path": "/live", "app": app, "server": ("127.0.0.1", 7000), "headers": headers}
        chunks = aiter(streaming(Request(scope), endless(), asks_s=0).body_iterator)
        for _ in range(3):
            assert await anext(chunks)
        for _ in range(MOST):
            await comes_in(hive)  # the oldest session makes room
        assert not [chunk async for chunk in chunks]

    on_a_hive(test)


def test_streams_end_with_the_hive() -> None:
    async def test(hive: Hive) -> None:
        async with contextlib.AsyncExitStack() as stack:
            live = await stack.enter_async_context(Live(hive))
            await live.overview.frames()
            events = await stack.enter_async_context(Events(live.overview, live.overview.position))
            waiting = asyncio.create_task(events.chunk())
            await asyncio.sleep(0)
            live.close()
            with contextlib.suppress(StopAsyncIteration):
                await waiting

    on_a_hive(test)


def test_every_subject_is_shown_somewhere() -> None:
    shown = [*SECTIONS, *sections_of("scout")]
    assert {subject for each in shown for subject in each.about} == set(Subject)


# the boards of agents


class Looks:
    """Sections of agents' pages that show how often each agent's was drawn."""

    def __init__(self) -> None:
        self.drawn: Counter[str] = Counter()
        self._told = AgentSection(name="recipients", about=frozenset({Subject.AGENTS}), look=self._look)

    async def _look(self, _: Hive, name: str) -> View:
        self.drawn[name] += 1
        return {"names": [f"{name}-{self.drawn[name]}"], "everyone": "*"}

    def of(self, name: str) -> tuple[Section, ...]:
        return (self._told.of(name), section("inbox"))


def test_an_agents_board_is_drawn_for_changes_of_that_agent_and_of_what_concerns_all() -> None:
    async def test(hive: Hive) -> None:
        looks = Looks()
        async with Live(hive, of_agent=looks.of) as live:
            with live.agent("scout") as watched:
                async with Events(watched.board, "") as events:
                    await events.until("recipients", "scout-1")
                    hive.fleet.chronicle.changes.publish("scout")
                    await events.until("recipients", "scout-2")
                    for _ in range(20):
                        hive.fleet.chronicle.changes.publish("other")
                        await asyncio.sleep(0)
                    await writes(hive, "to the operator")
                    await events.until("inbox", "to the operator")
                    assert looks.drawn == {"scout": 2}
                    hive.fleet.chronicle.changes.publish("scout")
                    await events.until("recipients", "scout-3")

    on_a_hive(test)


def test_all_who_look_at_an_agent_share_what_is_drawn_and_it_goes_with_the_last_of_them() -> None:
    async def test(hive: Hive) -> None:
        async with Live(hive, of_agent=Looks().of, linger_s=0) as live:
            with live.agent("scout") as first:
                with live.agent("scout") as second, live.agent("other") as other:
                    assert first is second
                    assert other is not first
                async with _after_callbacks():
                    assert live.agents == {"scout", "other"}
                assert live.agents == {"scout"}
            async with _after_callbacks():
                pass
            assert live.agents == set()

    on_a_hive(test)


def test_a_page_waits_a_moment_for_its_stream_and_finds_its_board_again() -> None:
    async def test(hive: Hive) -> None:
        looks = Looks()
        async with Live(hive, of_agent=looks.of) as live:
            with live.agent("scout") as watched:
                await watched.board.frames()
                position = watched.board.position
            async with _after_callbacks():
                pass
            with live.agent("scout") as again:
                assert again is watched
                async with Events(again.board, position) as events:
                    await writes(hive, "news")
                    await events.until("inbox", "news")

    on_a_hive(test)


def test_a_board_that_is_made_anew_tells_everything_to_whoever_knew_the_old_one() -> None:
    async def test(hive: Hive) -> None:
        async with Live(hive, of_agent=Looks().of, linger_s=0) as live:
            with live.agent("scout") as watched:
                await watched.board.frames()
                position = watched.board.position
            async with _after_callbacks():
                pass
            with live.agent("scout") as anew:
                async with Events(anew.board, position) as events:
                    assert {name for _, name, _ in await events.chunk()} == {"recipients", "inbox"}

    on_a_hive(test)


def test_streams_of_an_agents_page_come_as_one_and_end_together() -> None:
    ended: list[str] = []

    async def saying(name: str, *words: bytes) -> AsyncGenerator[bytes, None]:
        try:
            for word in words:
                yield word
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def ending() -> AsyncGenerator[bytes, None]:
        yield b"last"

    async def test() -> None:
        one = merged(saying("a", b"a1", b"a2"), saying("b", b"b1"))
        assert {await anext(one), await anext(one), await anext(one)} == {b"a1", b"a2", b"b1"}
        await one.aclose()
        assert sorted(ended) == ["a", "b"]
        assert b"last" in [chunk async for chunk in merged(ending(), saying("c"))]
        assert ended[2:] == ["c"]

    asyncio.run(test())


@contextlib.asynccontextmanager
async def _after_callbacks() -> AsyncIterator[None]:
    """Left when all that was due at once has been done."""
    yield
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0, done.set)
    await done.wait()
