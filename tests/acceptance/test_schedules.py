"""Schedules from a wish to a message, through every door of a real hive and over the daemon's deaths.

No test waits for a time to come: the daemon is killed, its database is told that the time has come, and it starts.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from msgspec import UNSET
from playwright.sync_api import expect

import needs
from dashboard_page import Dashboard, chromium
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.script import Call, Say, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.testing.model import ScriptedModel
from manager_house import asks, at_rest, cli, letters, proposed, refused, spawned, told, undecided, written

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

TOOL = "mcp__hyperhive__"
HOURLY = '[schedule.hourly]\nmessage = "look at the build"\nevery = 3600\n'
NIGHTLY = '[schedule.nightly]\nmessage = "tidy up"\ncron = "0 3 * * *"\ntimezone = "Europe/Berlin"\n'


@dataclass(frozen=True)
class House:
    hive: HiveProcess
    model: ScriptedModel


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A hive with its manager and `scout`, who both work."""
    needs.bwrap()
    needs.claude()
    with running_hive(dashboard=True, manager=True) as (hive, model):
        hive.ask(host.Spawn(name="scout"))
        yield House(hive, model)


@pytest.fixture
def hive(house: House) -> HiveProcess:
    return house.hive


def schedules(hive: HiveProcess, name: str | None = None) -> dict[str, host.ScheduleRow]:
    rows = hive.ask(host.Schedules(name=name)).schedules
    assert isinstance(rows, list)
    return {row.name: row for row in rows}


def deployed(hive: HiveProcess, name: str, text: str) -> None:
    """By the operator, in two steps: nothing is scheduled before the second."""
    before = schedules(hive, name)
    (asked,) = hive.ask(host.EditConfig(name=name, text=text)).approvals or []
    assert schedules(hive, name) == before
    cli(hive, "approve", str(asked.id), "--sha", str(asked.fetched_sha))


def restarted(hive: HiveProcess, **overdue: float) -> None:
    """Killed and started; each of these schedules is due since so many seconds."""
    hive.kill()
    with contextlib.closing(sqlite3.connect(hive.paths.database)) as database, database:
        for name, seconds in overdue.items():
            moved = "UPDATE schedules SET next_at = unixepoch() - ? WHERE name = ?"
            assert database.execute(moved, (seconds, name)).rowcount == 1
    hive.start()


def sent(hive: HiveProcess, name: str, schedule: str) -> list[host.InboxRow]:
    return [row for row in letters(hive, name) if row.body.startswith(f"[schedule {schedule}, ")]


def test_a_deployed_schedule_wakes_its_agent_once_for_all_times_that_it_missed(house: House) -> None:
    hive = house.hive
    house.model.script(
        "scout", on("look at the build", Call(f"{TOOL}send", {"to": "operator", "body": "it is green"}))
    )
    deployed(hive, "scout", HOURLY)
    assert (schedules(hive)["hourly"].last_at, schedules(hive)["hourly"].every) == (UNSET, 3600)
    restarted(hive, hourly=2 * 3600 + 60)
    message = written(hive, "scout", "look at the build")
    assert (message.sender, message.kind) == ("system", "system")
    assert message.body.endswith("; 2 more times passed without a message]\nlook at the build")
    assert written(hive, "operator", "it is green").sender == "scout"
    restarted(hive)
    assert len(sent(hive, "scout", "hourly")) == 1
    assert "look at the build" in cli(hive, "schedules", "scout")


def test_a_wish_of_the_managers_is_scheduled_when_the_operator_has_approved_it(house: House) -> None:
    hive = house.hive
    wish = {
        "agent": "scout", "name": "nightly", "message": "tidy up", "cron": "0 3 * * *", "timezone": "Europe/Berlin",
        "description": "branches pile up",
    }  # fmt: skip
    house.model.script("manager", on("have scout tidy up", Call(f"{TOOL}request_schedule", wish), Say("done")))
    hive.send("manager", "have scout tidy up")
    asked = proposed(hive, "scout")
    assert (asked.requester, asked.description) == ("manager", "branches pile up")
    assert "nightly" not in schedules(hive, "scout")
    assert '+cron = "0 3 * * *"' in cli(hive, "diff", str(asked.id))
    cli(hive, "approve", str(asked.id), "--sha", str(asked.fetched_sha))
    assert told(hive, "manager", "approval_resolved", id=asked.id)["status"] == "approved"
    nightly = schedules(hive, "scout")["nightly"]
    assert (nightly.cron, nightly.timezone, nightly.message) == ("0 3 * * *", "Europe/Berlin", "tidy up")
    removal = asks(hive, "manager", "request_schedule_removal", mid="r-1", agent="scout", name="nightly")
    again = asks(hive, "manager", "request_schedule_removal", mid="r-1", agent="scout", name="nightly")
    assert again["approval"] == removal["approval"]
    cli(hive, "approve", str(removal["approval"]), "--sha", removal["sha"])
    assert "nightly" not in schedules(hive, "scout")


def test_wishes_that_can_not_be_are_refused_and_nothing_waits(hive: HiveProcess) -> None:
    before = undecided(hive)
    spec = {"message": "x", "every": 60}
    wish = {"mid": "w-1", "agent": "scout", "name": "daily", "schedule": spec}
    assert "tool group 'approvals'" in refused(asks(hive, "scout", "request_schedule", **wish))
    for wrong, said in (
        ({"message": "x", "cron": "61 * * * *"}, "schedule.daily.cron: bad minute"),
        ({"message": "x", "cron": "0 9 * * *", "timezone": "Mars"}, "schedule.daily.timezone: there is no such"),
        ({"message": "x"}, "give `every` or `cron`"),
    ):
        answer = asks(hive, "manager", "request_schedule", **{**wish, "schedule": wrong})
        assert said in answer["message"]
    answer = asks(hive, "manager", "request_schedule_removal", mid="w-2", agent="scout", name="daily")
    assert answer["data"]["kind"] == "unknown_schedule"
    with pytest.raises(FaultError, match=r"line 2: schedule.daily: give `every`") as caught:
        hive.ask(host.EditConfig(name="scout", text='model = "haiku"\n[schedule.daily]\nmessage = "x"\n'))
    assert caught.value.kind is FaultKind.BAD_CONFIG
    assert undecided(hive) == before


def test_schedules_go_with_their_agent_and_come_back_with_it(hive: HiveProcess) -> None:
    spawned(hive, "still", NIGHTLY)
    assert [*schedules(hive, "still")] == ["nightly"]
    cli(hive, "schedule", "pause", "still", "nightly")
    restarted(hive, nightly=60)
    assert schedules(hive, "still")["nightly"].paused
    assert "goes on" in cli(hive, "schedule", "resume", "still", "nightly")
    assert sent(hive, "still", "nightly") == []
    hive.ask(host.Destroy(name="still"))
    assert "nightly" not in schedules(hive)
    hive.ask(host.Revive(name="still"))
    assert [*schedules(hive, "still")] == ["nightly"]
    at_rest(hive, "still")
    cli(hive, "schedule", "fire", "still", "nightly")
    assert "still unread" in cli(hive, "schedule", "fire", "still", "nightly", fails=True)
    restarted(hive, nightly=60)
    row = schedules(hive, "still")["nightly"]
    assert (row.waits, len(sent(hive, "still", "nightly"))) == (True, 1)
    assert "no schedule 'weekly'" in cli(hive, "schedule", "pause", "still", "weekly", fails=True)
    deployed(hive, "still", 'model = "haiku"\n')
    assert schedules(hive, "still") == {}


def test_the_pages_show_schedules_and_pause_resume_and_send_them(hive: HiveProcess) -> None:
    needs.chromium()
    spawned(hive, "idler", NIGHTLY.replace("tidy up", "<b>tidy</b> up"))
    with chromium() as browser, contextlib.closing(Dashboard(browser, hive)) as page:
        page.log_in()
        row = page.page.locator("#schedule-idler-nightly")
        expect(row).to_contain_text("0 3 * * * (Europe/Berlin)")
        expect(row).to_contain_text("<b>tidy</b> up")
        row.get_by_role("button", name="Pause").click()
        expect(row.locator(".tag")).to_have_text("paused")
        page.go("/agents/idler")
        row = page.page.locator("#agent_schedules #schedule-idler-nightly")
        row.get_by_role("button", name="Send now").click()
        expect(row.get_by_text("unread")).to_be_visible()
        expect(row.get_by_role("button", name="Send now")).to_have_count(0)
        expect(page.page.get_by_text("the schedule nightly has sent its message")).to_be_visible()
        row.get_by_role("button", name="Resume").click()
        expect(row.get_by_role("button", name="Pause")).to_be_visible()
        assert len(page.aside(sent, hive, "idler", "nightly")) == 1
        assert page.complaints == []
