"""An agent's terminal on a real hive without containers: no gap, no double, and nothing kept for who is slow."""

import asyncio
import json
import re
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

import msgspec

from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.hive import Hive
from hyperhive.protocol.events import AnyLiveEvent, Note, Stream, TurnEnd, record
from hyperhive.web import terminal
from hyperhive.web.terminal import Terminal

PATIENCE_S = 30.0


class Agent:
    """What an agent's harness stores."""

    def __init__(self, hive: Hive, name: str = "scout", incarnation: int = 1) -> None:
        self._log = hive.fleet.chronicle.events
        self._key = (name, incarnation)
        self._seq = 0

    async def does(self, *events: AnyLiveEvent) -> int:
        """The id of the last."""
        first, self._seq = self._seq + 1, self._seq + len(events)
        await self._log.append(*self._key, [record(first + n, 0.0, event) for n, event in enumerate(events)])
        return self._log.last

    async def notes(self, first: int, last: int) -> int:
        return await self.does(*(Note(text=f"note {number}.") for number in range(first, last + 1)))


def claude(value: dict[str, Any]) -> Stream:
    return Stream(value=msgspec.Raw(json.dumps(value, separators=(",", ":")).encode()))


def piece(text: str, message: str = "m1", block: int = 0, kind: str = "text") -> Stream:
    delta = {"type": f"{kind}_delta", kind: text}
    event = {"type": "content_block_delta", "index": block, "delta": delta}
    return claude({"type": "stream_event", "event": event, "api_message_id": message})


def whole(text: str, message: str = "m1") -> Stream:
    return claude({"type": "assistant", "message": {"id": message, "content": [{"type": "text", "text": text}]}})


class Browser:
    """What terminal.js does with a stream."""

    def __init__(self, of: Terminal) -> None:
        self._terminal = of
        self.rows: list[int] = []
        self.html = ""
        self.after = 0
        self.key, self.writing = "", ""
        self.resets = 0
        self.chunks: list[bytes] = []

    async def open(self) -> Self:
        shown = await self._terminal.latest()
        self.after, self.writing, self.key = shown.after, shown.writing, ""
        self.rows, self.html = ids(shown.html), shown.html
        return self

    def connect(self) -> None:
        self.stream = self._terminal.stream(self.after)

    async def close(self) -> None:
        await self.stream.aclose()

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            await self.read()

    async def read(self) -> None:
        chunk = await anext(self.stream)
        self.chunks.append(chunk)
        for event in chunk.decode().split("\n\n")[:-1]:
            name, id, *data = event.split("\n")
            assert name == "event: terminal"
            kind, *payload = [line.removeprefix("data: ") for line in data]
            await self._take(kind, int(id.removeprefix("id: ")), payload)

    async def _take(self, kind: str, id: int, payload: list[str]) -> None:
        if kind == "reset":
            self.resets += 1
            await self.open()
        elif kind == "rows":
            self.html += "\n".join(payload)
            self.rows += ids("\n".join(payload))
        else:
            offset, _, key = payload[0].split(" ")
            self.writing = (self.writing if key == self.key else "")[: int(offset)] + "\n".join(payload[1:])
            self.key = key
        self.after = max(self.after, id)


def ids(html: str) -> list[int]:
    return [int(found) for found in re.findall(r'id="event-(\d+)"', html)]


def on_a_hive(test: Callable[[Hive], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=None) as hive:
                await test(hive)

    asyncio.run(run())


def test_a_page_and_its_stream_meet_without_a_gap_or_a_double() -> None:
    async def test(hive: Hive) -> None:
        agent, other = Agent(hive), Agent(hive, "other", 2)
        await agent.notes(1, 10)
        async with Terminal(hive, "scout") as terminal:
            browser = await Browser(terminal).open()
            assert len(browser.rows) == 10
            await agent.notes(11, 20)
            await other.notes(1, 5)
            browser.connect()
            for number in range(21, 40, 2):
                await agent.notes(number, number + 1)
                await other.notes(number, number)
            await browser.until(lambda: "note 40." in browser.html)
            assert re.findall(r"note (\d+)\.", browser.html) == [str(number) for number in range(1, 41)]
            assert browser.rows == sorted(set(browser.rows))
            await browser.close()

    on_a_hive(test)


def test_after_a_cut_what_was_missed_comes_once() -> None:
    async def test(hive: Hive) -> None:
        agent = Agent(hive)
        async with Terminal(hive, "scout") as terminal:
            steady, cut = await Browser(terminal).open(), await Browser(terminal).open()
            steady.connect()
            for first in range(1, 60, 6):
                await agent.notes(first, first + 2)
                cut.connect()
                await agent.notes(first + 3, first + 5)
                await cut.until(lambda last=first + 5: f"note {last}." in cut.html)  # type: ignore[misc]
                await cut.close()
            await steady.until(lambda: "note 60." in steady.html)
            assert steady.rows == cut.rows
            assert len(cut.rows) == 60
            assert steady.resets == cut.resets == 0
            await steady.close()

    on_a_hive(test)


def test_those_who_watch_get_the_same_bytes() -> None:
    async def test(hive: Hive) -> None:
        agent = Agent(hive)
        async with Terminal(hive, "scout") as terminal:
            one, two = await Browser(terminal).open(), await Browser(terminal).open()
            for browser in (one, two):
                browser.connect()
                await browser.read()
            await agent.notes(1, 3)
            for browser in (one, two):
                await browser.until(lambda browser=browser: "note 3." in browser.html)  # type: ignore[misc]
            assert one.chunks[-1] is two.chunks[-1]
            for browser in (one, two):
                await browser.close()

    on_a_hive(test)


def test_who_is_too_far_behind_begins_anew() -> None:
    async def test(hive: Hive) -> None:
        agent = Agent(hive)
        async with Terminal(hive, "scout") as terminal:
            slow, fast = await Browser(terminal).open(), await Browser(terminal).open()
            for browser in (slow, fast):
                browser.connect()
                await browser.read()
            for first in range(1, 2001, 250):
                last = first + 249
                await agent.notes(first, last)
                await fast.until(lambda last=last: f"note {last}." in fast.html)  # type: ignore[misc]
            assert fast.resets == 0
            assert len(fast.rows) == 2000
            await slow.until(lambda: "note 2000." in slow.html)
            assert slow.rows == fast.rows[-len(slow.rows) :]
            for browser in (slow, fast):
                await browser.close()
            late = Browser(terminal)
            late.connect()
            await late.until(lambda: "note 2000." in late.html)
            assert late.resets == 1
            assert late.rows == fast.rows[-200:]
            await late.close()

    on_a_hive(test)


def test_a_flood_is_told_by_its_end() -> None:
    async def test(hive: Hive) -> None:
        agent = Agent(hive)
        async with Terminal(hive, "scout") as terminal:
            browser = await Browser(terminal).open()
            browser.connect()
            await browser.read()
            for first in range(1, 20_001, 2000):
                await agent.notes(first, first + 1999)
            await browser.until(lambda: "note 20000." in browser.html)
            assert browser.resets >= 1
            assert browser.rows == sorted(set(browser.rows))
            assert sum(map(len, browser.chunks)) < 1 << 20
            await browser.close()

    on_a_hive(test)


def test_a_position_of_another_life_begins_anew() -> None:
    async def test(hive: Hive) -> None:
        await Agent(hive).notes(1, 3)
        async with Terminal(hive, "scout") as terminal:
            browser = Browser(terminal)
            browser.after = 10**12
            browser.connect()
            await browser.read()
            assert browser.resets == 1
            assert len(browser.rows) == 3
            await browser.close()

    on_a_hive(test)


def test_text_is_shown_while_it_is_written_and_gives_way_to_the_whole() -> None:
    async def test(hive: Hive) -> None:
        agent = Agent(hive)
        await agent.does(piece("Hel"), piece("lo 👩‍🔬"))
        async with Terminal(hive, "scout") as terminal:
            browser = await Browser(terminal).open()
            assert browser.writing == "Hello 👩‍🔬"
            browser.connect()
            await browser.until(lambda: browser.key == "m1:0")
            assert browser.writing == "Hello 👩‍🔬"
            await agent.does(piece(", wor"))
            await browser.until(lambda: browser.writing.endswith("wor"))
            late = await Browser(terminal).open()
            late.connect()
            await late.read()
            await agent.does(piece("ld\nnext line"))
            for each in (browser, late):
                await each.until(lambda each=each: "next" in each.writing)  # type: ignore[misc]
                assert each.writing == "Hello 👩‍🔬, world\nnext line"
            await agent.does(whole("**Hello** world"), piece("Second", block=1))
            await browser.until(lambda: browser.key == "m1:1")
            assert browser.writing == "Second"
            assert "<strong>Hello</strong> world" in browser.html
            await agent.does(TurnEnd(turn="t", ok=False, note="died"))
            await browser.until(lambda: "died" in browser.html)
            assert (browser.key, browser.writing) == ("", "")
            for each in (browser, late):
                await each.close()

    on_a_hive(test)


def test_history_goes_back_to_the_first_event_and_each_is_there_once() -> None:
    async def test(hive: Hive) -> None:
        agent = Agent(hive)
        for first in range(1, 1001, 100):
            await agent.does(*(piece("x", message=f"m{first}") for _ in range(50)))
            await agent.notes(first, first + 99)
        page = await Terminal(hive, "scout").latest()
        pages = [ids(page.html)]
        while page.before:
            page = await Terminal(hive, "scout").older(page.before)
            pages.append(ids(page.html))
        assert [len(rows) for rows in pages] == [200] * 5
        everything = [id for rows in reversed(pages) for id in rows]
        assert everything == sorted(set(everything))

    on_a_hive(test)


def test_what_is_read_at_once_is_bounded_whatever_agents_wrote() -> None:
    async def test(hive: Hive) -> None:
        agent = Agent(hive)
        for _ in range(40):
            await agent.does(whole('"<&\u202e' * 20_000))
        page = await Terminal(hive, "scout").latest()
        assert 1 <= len(ids(page.html)) < 40
        assert len(page.html) < 2 * terminal.PAGE_CHARS

    on_a_hive(test)


def test_an_agents_clock_says_what_it_likes() -> None:
    async def test(hive: Hive) -> None:
        log = hive.fleet.chronicle.events
        for seq, ts in enumerate((-1e300, -1.0, 1e300), 1):
            await log.append("scout", 1, [record(seq, ts, Note(text="when"))])
        assert len(ids((await Terminal(hive, "scout").latest()).html)) == 3

    on_a_hive(test)


def test_a_closed_terminal_ends_its_streams() -> None:
    async def test(hive: Hive) -> None:
        async with Terminal(hive, "scout") as terminal:
            browser = await Browser(terminal).open()
            browser.connect()
            await browser.read()
            reading = asyncio.ensure_future(anext(browser.stream, b"the end"))
            await asyncio.sleep(0)
        assert await reading == b"the end"

    on_a_hive(test)


def test_while_nobody_watches_nothing_is_followed() -> None:
    async def test(hive: Hive) -> None:
        async with Terminal(hive, "scout") as terminal:
            browser = await Browser(terminal).open()
            browser.connect()
            await browser.read()
            (following,) = (task for task in asyncio.all_tasks() if task.get_name() == "terminal scout")
            await browser.close()
            await asyncio.wait({following})

    on_a_hive(test)
