"""The terminal of an agent's page in a real browser, on a hive in this process; what the agent does is the test's."""

import asyncio
import json
import sqlite3
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import needs
from dashboard_page import PATIENCE_MS, chromium
from hyperhive.broker.database import migrate, migrations
from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.daemon.main import dashboard_of
from hyperhive.hub.hive import Hive
from hyperhive.protocol.events import AnyLiveEvent, Note, Stream, TurnEnd, TurnStart, record
from hyperhive.web.settings import WebSettings

pytestmark = pytest.mark.timeout(180)
T = TypeVar("T")
NAMES = ("scout", "talker", "quiet", "nasty", "old", "writer")
AN_AGENT = (
    "INSERT INTO agents (name, role, uid, wanted, deployed_sha, created_at) VALUES (?, 'agent', ?, 'down', '', 100)"
)


class House:
    """A hive with agents that are stopped: nobody but the test speaks for them."""

    def __init__(self, root: Path, browser: Browser) -> None:
        self.browser = browser
        self._paths = Paths(state_dir=root / "state", runtime_dir=root / "run")
        self._paths.state_dir.mkdir()
        with sqlite3.connect(self._paths.state_dir / "hive.sqlite") as database:
            migrate(database, migrations())
            database.executemany(AN_AGENT, [(name, 70_000 + number) for number, name in enumerate(NAMES)])
        database.close()
        self._seqs = dict.fromkeys(NAMES, 0)
        self._loop: asyncio.AbstractEventLoop
        self._hive: Hive
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self._ready.result(60)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        try:
            web = WebSettings(port=0)
            async with hive_at(self._paths, rehearsal=None) as self._hive, dashboard_of(self._hive, web):
                self._ready.set_result(None)
                await self._over.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(60)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def link(self) -> str:
        return self.do(self._hive.doors.invite())

    def cut_streams(self) -> None:
        async def cut() -> None:
            url = (await self._hive.doors.invite()).partition("/login")[0]
            self._hive.doors.close("the test wants it")
            self._hive.doors.open_at(url)

        self.do(cut())

    def does(self, name: str, *events: AnyLiveEvent) -> None:
        first = self._seqs[name] + 1
        self._seqs[name] += len(events)
        records = [record(first + number, 1e9, event) for number, event in enumerate(events)]

        async def store() -> None:
            await self._hive.fleet.chronicle.events.append(name, NAMES.index(name) + 1, records)

        self.do(store())

    def notes(self, name: str, first: int, last: int) -> None:
        self.does(name, *(Note(text=f"note {number}.") for number in range(first, last + 1)))


class Terminal:
    """One agent's page in a window of its own."""

    def __init__(self, house: House, name: str, **options: Any) -> None:
        expect.set_options(timeout=PATIENCE_MS)
        self.house, self.name = house, name
        self.complaints: list[str] = []
        self.context = house.browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))
        self.page.goto(house.link())
        self.page.wait_for_url("**/")
        self.page.goto(self.page.url + f"agents/{name}")
        expect(self.page.locator("#connection")).to_have_text("live")

    def close(self) -> None:
        self.context.close()

    def does(self, *events: AnyLiveEvent) -> None:
        self.house.does(self.name, *events)

    def notes(self, first: int, last: int) -> None:
        self.house.notes(self.name, first, last)

    def rows(self) -> Locator:
        return self.page.locator("#terminal-rows .t-event")

    def row(self, text: str) -> Locator:
        return self.rows().filter(has_text=text)

    def numbers(self) -> list[int]:
        """Of the notes that are there."""
        texts = self.page.evaluate(
            "[...document.querySelectorAll('#terminal-rows .t-event')].map((e) => e.textContent)"
        )
        return [int(text.split("note ")[1].split(".")[0]) for text in texts]

    def writing(self) -> Locator:
        return self.page.locator("#terminal-writing")

    def newer(self) -> Locator:
        return self.page.locator("#terminal-new")

    def scroll_to(self, top: int) -> None:
        self.page.evaluate("(top) => { document.getElementById('terminal-scroll').scrollTop = top; }", top)

    def height(self) -> int:
        return int(self.page.evaluate("document.getElementById('terminal-scroll').clientHeight"))

    def below(self) -> int:
        """Pixels under what is in view."""
        script = "(() => { const e = document.getElementById('terminal-scroll');"
        return int(self.page.evaluate(script + "return e.scrollHeight - e.scrollTop - e.clientHeight; })()"))


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    needs.chromium()
    with tempfile.TemporaryDirectory(prefix="hh-") as root, chromium() as browser:
        house = House(Path(root), browser)
        try:
            yield house
        finally:
            house.close()


def opened(house: House, name: str, **options: Any) -> Terminal:
    return Terminal(house, name, **options)


def claude(value: dict[str, Any]) -> Stream:
    return Stream(value=msgspec.Raw(json.dumps(value, separators=(",", ":")).encode()))


def said(*content: dict[str, Any], type: str = "assistant", id: str = "m1") -> Stream:
    return claude({"type": type, "message": {"id": id, "content": list(content)}})


def text(text: str, id: str = "m1") -> Stream:
    return said({"type": "text", "text": text}, id=id)


def tool(name: str, **given: object) -> Stream:
    return said({"type": "tool_use", "name": name, "input": given})


def result(text: str) -> Stream:
    return said({"type": "tool_result", "content": text}, type="user")


def piece(text: str, message: str = "m1", kind: str = "text") -> Stream:
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": f"{kind}_delta", kind: text}}
    return claude({"type": "stream_event", "event": event, "api_message_id": message})


def test_a_turn_is_seen_as_it_happens_and_what_is_written_gives_way_to_the_whole(house: House) -> None:
    page = opened(house, "scout")
    expect(page.page.locator("#terminal-empty")).to_contain_text("Write to scout")
    page.does(TurnStart(turn="t", sender="operator", body="look\naround", unread=2))
    expect(page.row("◆ TURN ← operator · 2 unread")).to_contain_text("look")
    expect(page.page.locator("#terminal-empty")).to_be_hidden()
    page.does(piece("thinking about", kind="thinking"))
    expect(page.writing()).to_have_text("thinking about")
    page.does(piece("**Hel", "m2"), piece("lo** <b>wo", "m2"))
    expect(page.writing()).to_have_text("**Hello** <b>wo")
    page.does(piece("rld</b>", "m2"))
    expect(page.writing()).to_have_text("**Hello** <b>world</b>")
    page.does(text("**Hello** <b>world</b>", "m2"))
    expect(page.row("Hello").locator("strong")).to_have_text("Hello")
    expect(page.writing()).to_be_hidden()
    page.does(
        tool("Edit", file_path="/state/a", old_string="old", new_string="new"),
        result("one\ntwo\nthree"),
        TurnEnd(turn="t", ok=True, duration_ms=1500),
    )
    edit = page.row("→ Edit /state/a · -1 +1")
    expect(edit.locator(".added")).to_be_hidden()
    edit.locator("summary").click()
    expect(edit.locator(".added")).to_have_text("+ new")
    expect(edit.locator(".removed")).to_have_text("- old")
    expect(page.row("← 3l · one").locator("pre")).to_be_hidden()
    expect(page.row("✓ turn ok · 1.5 s")).to_be_visible()
    page.page.reload()
    expect(page.row("✓ turn ok")).to_be_visible()
    assert page.rows().count() == 5
    assert page.complaints == []
    page.close()


ATTACKS = (
    "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "\"'><svg onload=alert(3)>",
    "[click](javascript:alert(4)) <javascript:alert(5)> [data](data:text/html,<script>alert(6)</script>)",
    "</pre></details></div></template><iframe srcdoc='<script>alert(7)</script>'></iframe>",
    "<div hx-get=/logout hx-trigger=load></div><form id=composer action=/logout><button id=terminal-new>",
    "{{7*7}} {% include 'x' %} \x1b[31mred\x1b[0m \u202etxt.exe \u2066 \x00 \u2028",
)


def test_nothing_that_an_agent_writes_becomes_markup(house: House) -> None:
    page = opened(house, "nasty")
    for number, attack in enumerate(ATTACKS):
        events: list[AnyLiveEvent] = [
            TurnStart(turn="t", sender=attack, body=attack),
            *(tool(name, command=f"{attack}\nx", file_path=attack, content=attack, old_string=attack, to=attack,
                   body=f"{attack}\nx", other=attack)
              for name in ("Bash", "Read", "Write", "Edit", "mcp__hyperhive__send", attack)),
            result(attack * 5), text(attack, attack), said({"type": "thinking", "thinking": attack}),
            claude({"type": "system", "subtype": "task_started", "task_id": attack, "description": attack}),
            claude({"type": attack}), Note(text=attack, level="error"), TurnEnd(turn="t", ok=False, note=attack),
            piece(attack, f"{attack}{number}"),
        ]  # fmt: skip
        page.does(*events)
        expect(page.writing()).to_contain_text(attack[:20])
        page.does(Note(text=f"over {number}"))
        expect(page.row(f"over {number}")).to_be_visible()
    made = page.page.evaluate(
        """() => { const list = document.getElementById("terminal"); return {
          tags: [...new Set([...list.querySelectorAll(".t-event *")].map((e) => e.tagName))],
          ids: [...list.querySelectorAll(".t-event *")].filter((e) => e.id).length,
          on: [...list.querySelectorAll("*")].flatMap((e) => [...e.attributes].map((a) => a.name))
            .filter((name) => name.startsWith("on") || name.startsWith("hx-") || name === "style").length,
          links: [...list.querySelectorAll("a")].map((a) => [a.protocol, a.target, a.rel]),
          unseen: /[\\u202e\\u2066\\u0000\\u001b\\u2028]/.test(list.textContent) }; }"""
    )
    assert set(made["tags"]) <= {"DIV", "P", "PRE", "SPAN", "DETAILS", "SUMMARY", "A", "EM", "STRONG", "CODE"}
    assert (made["ids"], made["on"], made["unseen"]) == (0, 0, False)
    assert all(protocol in ("http:", "https:") for protocol, _, _ in made["links"])
    page.page.reload()
    expect(page.row("over 5")).to_be_visible()
    assert page.complaints == []
    page.close()


def test_a_link_of_an_agents_opens_in_a_new_tab_and_leaves_nothing_behind(house: House) -> None:
    page = opened(house, "writer")
    page.does(text("see [the docs](https://example.org/x)"))
    page.does(
        TurnStart(turn="t", sender="a", body="it is at https://example.org/a?b=1&c='2.\nnot javascript:alert(1)")
    )
    named, bare = page.row("the docs").get_by_role("link"), page.row("it is at").get_by_role("link")
    expect(bare).to_have_attribute("href", "https://example.org/a?b=1&c=")
    for link in (named, bare):
        expect(link).to_have_attribute("target", "_blank")
        expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    page.close()


def test_the_end_stays_in_view_unless_one_reads_above_it(house: House) -> None:
    page = opened(house, "talker")
    page.notes(1, 100)
    expect(page.row("note 100.")).to_be_in_viewport()
    assert page.below() < 2
    page.scroll_to(400)
    page.notes(101, 103)
    expect(page.newer()).to_have_text("↓ 3 new")
    page.notes(104, 104)
    expect(page.newer()).to_have_text("↓ 4 new")
    assert page.page.evaluate("document.getElementById('terminal-scroll').scrollTop") == 400
    page.newer().click()
    expect(page.row("note 104.")).to_be_in_viewport()
    expect(page.newer()).to_be_hidden()
    page.page.evaluate("document.getElementById('terminal-scroll').scrollTop -= 40")
    page.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.below() == 40, "a small step up is not taken back"
    page.notes(105, 105)
    expect(page.row("note 105.")).to_be_in_viewport()
    assert page.below() < 2
    height = page.height()
    page.page.set_viewport_size({"width": 1300, "height": 600})
    page.page.wait_for_function(
        "(before) => document.getElementById('terminal-scroll').clientHeight < before", arg=height
    )
    page.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.below() < 2, "as when a keyboard comes up on the screen"
    page.page.evaluate("hiveTerminal.clear()")
    expect(page.rows()).to_have_count(0)
    expect(page.page.locator("#terminal-empty")).to_be_visible()
    page.notes(106, 106)
    expect(page.rows()).to_have_count(1)
    page.page.get_by_role("button", name="Older").click()
    expect(page.row("note 1.").first).to_be_attached()
    assert page.numbers() == list(range(1, 107))
    assert page.complaints == []
    page.close()


def test_history_is_read_back_to_the_first_event_and_what_is_shown_stays_in_its_place(house: House) -> None:
    house.notes("old", 1, 1000)
    page = opened(house, "old")
    assert page.numbers() == list(range(801, 1001))
    for first in (601, 401, 201, 1):
        seen = page.rows().nth(0)
        id = seen.get_attribute("id")
        page.scroll_to(0)
        expect(page.row(f"note {first}.").first).to_be_attached()
        assert page.numbers() == list(range(first, 1001))
        expect(page.page.locator(f"#{id}")).to_be_in_viewport()
    expect(page.page.get_by_role("button", name="Older")).to_be_hidden()
    page.scroll_to(0)
    expect(page.page.get_by_text("This is the first that is kept.")).to_be_visible()
    page.scroll_to(10**6)
    page.notes(1001, 1100)
    expect(page.row("note 1100.")).to_be_in_viewport()
    for first in range(1101, 2901, 200):
        page.notes(first, first + 199)
        expect(page.row(f"note {first + 199}.")).to_be_attached()
    assert page.numbers() == list(range(901, 2901)), "the oldest rows leave"
    page.scroll_to(0)
    expect(page.row("note 701.")).to_be_attached()
    assert page.numbers() == list(range(701, 2701)), "and come back; the newest leave instead"
    page.notes(2901, 2902)
    expect(page.newer()).to_be_visible()
    page.newer().click()
    expect(page.row("note 2902.")).to_be_in_viewport()
    assert page.numbers() == list(range(2703, 2903))
    assert page.complaints == []
    page.close()


def test_a_page_that_was_away_has_every_row_once(house: House) -> None:
    page = opened(house, "quiet")
    page.notes(1, 5)
    expect(page.row("note 5.")).to_be_visible()
    page.context.route("**/live?*", lambda route: route.abort())
    house.cut_streams()
    expect(page.page.locator("#connection")).to_have_text("offline")
    page.notes(6, 20)
    page.context.unroute("**/live?*")
    expect(page.row("note 20.")).to_be_visible()
    assert page.numbers() == list(range(1, 21))
    page.notes(21, 5000)
    expect(page.row("note 5000.")).to_be_in_viewport()
    assert page.numbers() == sorted(set(page.numbers()))
    page.close()
