"""What the overview says, on a real hive without containers."""

import asyncio
import re
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path

from msgspec import UNSET
from structlog.testing import capture_logs

from hyperhive.broker.jobs import JobDraft, JobKind
from hyperhive.broker.letters import Draft
from hyperhive.config.paths import Paths
from hyperhive.containers.egress import Refusal
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.hive import Hive
from hyperhive.protocol.agent import MessageKind
from hyperhive.protocol.host import AgentStatusRow
from hyperhive.protocol.ids import OPERATOR, AgentName
from hyperhive.web.live import Live
from hyperhive.web.refusals import RefusedHost, refused
from hyperhive.web.rendering import TEMPLATES, render
from hyperhive.web.sections import SECTIONS, agents
from hyperhive.web.waiting import waiting

PATIENCE_S = 30.0
SCOUT = AgentName("scout")


def on_a_hive(test: Callable[[Hive], Coroutine[None, None, None]]) -> None:
    """With one agent, which is not started."""

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=None) as hive:
                await hive.fleet.make(SCOUT, {"agent.toml": '[network]\nallow = ["allowed.example"]\n'})
                await test(hive)

    asyncio.run(run())


async def asks_for(hive: Hive, host: str, port: int = 443, count: int = 1) -> None:
    chronicle = hive.fleet.chronicle
    with chronicle.events.subscribe() as events:
        chronicle.egress_refused(
            Refusal(agent=SCOUT, host=host, port=port, reason="not on the agent's list", count=count)
        )
        await events.batch()


def test_hosts_that_an_agent_was_refused_are_shown_once_with_what_would_allow_them() -> None:
    async def test(hive: Hive) -> None:
        for host, port in [("a.example", 443), ("b.example", 8443), ("a.example", 443), ("10.0.0.1", 443)]:
            await asks_for(hive, host, port, count=2)
        await asks_for(hive, "allowed.example")
        rows = await refused(hive)
        assert [(row.host, row.entry, row.count) for row in rows] == [
            ("10.0.0.1", "", 2), ("a.example", "a.example", 4), ("b.example", "b.example:8443", 2)
        ]  # fmt: skip

    on_a_hive(test)


def test_a_refusal_shows_on_the_page_as_it_happens() -> None:
    async def test(hive: Hive) -> None:
        async with Live(hive) as live:
            board = live.overview
            await board.frames()
            chunks = board.stream(board.position)
            await asks_for(hive, "late.example")
            while b"late.example" not in await anext(chunks):
                pass
            await chunks.aclose()

    on_a_hive(test)


def test_what_a_refused_name_says_is_text() -> None:
    row = RefusedHost(agent="scout", host="<b>x", port=443, reason="<i>no", count=1, last=0.0)
    html = render("sections/refusals.html", refusals=[row])
    assert "<b>x" not in html
    assert "<i>no" not in html
    assert "to allow it" not in html


def test_what_waits_is_news_and_what_goes_on_by_itself_is_not_counted() -> None:
    async def test(hive: Hive) -> None:
        draft = Draft(sender="scout", kind=MessageKind.AGENT, mid="m", to=OPERATOR, body="<b>words</b> " * 100)
        letter = (await hive.mailbox.send(draft)).ids[0]
        rows = [
            AgentStatusRow(name=name, running=True, failed=name == "f", needs_update=False, needs_login=name == "l",
                           limited_until="2026-01-01T10:00:00Z" if name == "u" else UNSET,
                           limit="its usage limit holds it" if name == "u" else UNSET)
            for name in "flnu"
        ]  # fmt: skip
        view = await waiting(hive, rows)
        assert {one.tag: one.href for one in view["news"]} == {
            f"news-letter-{letter}": f"/#letter-{letter}", "news-failed-f": "/agents/f",
            "news-login-l": "/agents/l#agent_login", "news-limited-u": "/agents/u",
        }  # fmt: skip
        html = render("sections/waiting.html", **view)
        assert 'data-count="3"' in html
        assert "until 2026-01-01 10:00:00 UTC" in html
        assert "<b>words" not in html
        assert len(html) < 3000

    on_a_hive(test)


def test_every_section_of_the_overview_says_something_when_nothing_is_there() -> None:
    async def test(hive: Hive) -> None:
        async with Live(hive) as live:
            frames = await live.overview.frames()
        shown = {section.name: frames[section.name] for section in SECTIONS}
        empty = {name for name, html in shown.items() if 'class="empty"' in html}
        assert empty == set(shown) - {"waiting", "recipients", "agents", "inputs"}
        assert "hidden" in shown["inputs"]

    on_a_hive(test)


def test_a_stopped_agent_can_be_started_also_when_it_is_paused() -> None:
    async def test(hive: Hive) -> None:
        await hive.fleet.set_paused(SCOUT, True)
        html = render("sections/agents.html", **await agents(hive))
        assert 'class="state">paused' in html
        assert 'action="/agents/scout/start"' in html

    on_a_hive(test)


def test_on_a_narrow_screen_every_section_of_the_overview_has_its_place() -> None:
    columns = (TEMPLATES / "overview.html").read_text().partition('class="columns"')[2]
    sections = {"writing", *re.findall(r'sections\["(\w+)"\]', columns)} - {"recipients"}
    places = dict(re.findall(r"#(\w+) { order: (\d+); }", (TEMPLATES.parent / "static" / "hive.css").read_text()))
    assert set(places) == sections
    assert len(set(places.values())) == len(places)


def test_a_spawn_that_failed_is_told_among_the_agents_until_there_is_one_of_that_name() -> None:
    async def test(hive: Hive) -> None:
        draft = JobDraft(agent="misfit", kind=JobKind.SPAWN, params={}, source="operator", requester=OPERATOR)
        in_the_way = hive.fleet.house.paths.agent(AgentName("misfit"))
        in_the_way.write_text("a file")
        with capture_logs():
            failed = await hive.queue.ended((await hive.queue.submit(draft)).id)
        html = render("sections/agents.html", **await agents(hive))
        assert f'id="failed-{failed.id}"' in html
        assert failed.error[:20] in html
        in_the_way.unlink()
        await hive.fleet.make(AgentName("misfit"), {})
        assert "could not be spawned" not in render("sections/agents.html", **await agents(hive))

    on_a_hive(test)
