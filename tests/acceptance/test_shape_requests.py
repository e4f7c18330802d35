"""Requests that are many, old or orphaned, and lists of them, in a real hive."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator

import pytest

import needs
from hyperhive.broker.questions import MAX_UNANSWERED
from hyperhive.protocol import host
from hyperhive.protocol.framing import MAX_LINE
from hyperhive.testing.hive_process import HiveProcess, running_hive
from outsider import Outsider

pytestmark = [pytest.mark.container, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    needs.bwrap()
    with running_hive() as (hive, _):
        hive.ask(host.Spawn(name="scout"))
        yield hive


def listed(hive: HiveProcess) -> dict[int, str]:
    return {row.id: row.status for row in hive.ask(host.Pending()).approvals or []}


def test_what_waits_for_a_decision_is_listed_however_much_was_decided_after_it(hive: HiveProcess) -> None:
    (waiting,) = hive.ask(host.RequestSpawn(name="patient")).ids or []

    async def decide_many() -> None:
        for number in range(100):
            (late,) = (await hive.client.call(host.RequestSpawn(name=f"late{number}"))).ids or []
            await hive.client.call(host.Deny(id=late))

    asyncio.run(decide_many())
    assert listed(hive)[waiting] == "pending"


def test_an_orphan_fails_once_however_many_look_at_once_and_all_of_them_get_the_list(hive: HiveProcess) -> None:
    text = hive.paths.agent_config("scout").joinpath("agent.toml").read_text()
    (orphan,) = hive.ask(host.EditConfig(name="scout", text=f'{text}\nsystem_prompt = "x"\n')).ids or []
    shutil.move(hive.paths.agent("scout"), hive.paths.state_dir / "elsewhere")

    async def look_all_at_once() -> list[host.Response]:
        return await asyncio.gather(*(hive.client.call(host.Pending()) for _ in range(20)))

    assert len(asyncio.run(look_all_at_once())) == 20
    assert listed(hive)[orphan] == "failed"


def test_what_an_agent_keeps_open_fits_into_a_line_whatever_it_wrote(hive: HiveProcess) -> None:
    hive.ask(host.Spawn(name="writer"))
    hive.ask(host.SetPaused(name="writer", paused=True))
    with Outsider(hive.paths.agent_socket("writer")) as writer:
        for number in range(MAX_UNANSWERED):
            assert "id" in writer.call("ask", mid=f"m{number}", question="\U0001f600" * 4096)
        writer.write(b'{"jsonrpc": "2.0", "id": 1, "method": "get_loose_ends", "params": {}}\n')
        line = writer.line()
    assert line.count(b'"question"') == MAX_UNANSWERED
    assert len(line) <= MAX_LINE


def test_an_agent_that_changes_its_mind_about_its_login_does_not_flood_the_manager(hive: HiveProcess) -> None:
    hive.ask(host.Spawn(name="moody"))
    hive.ask(host.SetPaused(name="moody", paused=True))
    with Outsider(hive.paths.agent_socket("moody")) as moody:
        for number in range(400):
            moody.call("report", needs_login=number % 2 == 0)
    with sqlite3.connect(hive.paths.database) as database:
        ((owed,),) = database.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'notices'")
    assert owed < 200, "every change of mind was owed to the manager"
