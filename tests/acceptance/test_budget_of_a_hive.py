"""A budget that is crossed in the middle of a turn: the turn ends, the message waits, and more money lets it go on."""

import contextlib
import sqlite3

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent, TurnEnd, live_event
from hyperhive.rehearsal.script import Call, Gate, Say, Usage, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from manager_house import cli
from web_visitor import Visitor

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(240)]

DEAR = Usage(input=10, output=100_000)
"""At least five cents, whatever the model, and far from a conversation that is too long."""


def waits(hive: HiveProcess, message: int) -> bool:
    return hive.receipt(message).state == "sent"


def ended(event: HiveEvent) -> bool:
    return event.kind == "turn_end"


def over(row: host.AgentStatusRow) -> bool:
    return row.state == "budget" and row.turn_state == "idle"


def letters(hive: HiveProcess) -> list[str]:
    return [row.body for row in hive.ask(host.Inbox()).inbox or []]


def test_a_turn_that_crosses_the_budget_ends_and_its_message_waits_for_money() -> None:
    needs.bwrap()
    needs.claude()
    with running_hive() as (hive, model):
        hive.prepare("scout", "[budget]\nday_usd = 0.04\n")
        hive.ask(host.Spawn(name="scout"))
        model.script("scout", on("work", DEAR, Call("Bash", {"command": "true"}), Gate("held"), Say("Done.")))
        message = hive.send("scout", "work")
        hive.until("scout", over)
        (end,) = [live_event(each.payload) for each in hive.events("scout", until=ended) if ended(each)]
        assert isinstance(end, TurnEnd)
        assert end.outcome == "budget"
        receipt = hive.receipt(message)
        assert (receipt.state, receipt.attempt) == ("sent", 1)
        asked = len(model.requests("scout"))

        resumed = hive.ask(host.SetPaused(name="scout", paused=False))
        assert "--top-up" in str(resumed.warning)
        hive.kill()
        hive.start()
        (row,) = hive.ask(host.Budgets(name="scout")).budgets or []
        assert row.over
        assert row.day.spent_usd >= 0.04
        assert hive.status("scout").state == "budget"
        assert waits(hive, message)
        assert len(model.requests("scout")) == asked

        model.script("scout", on("work", Usage(input=10, output=10), Say("Done.")))
        hive.ask(host.TopUp(name="scout", usd=1000))
        hive.until("scout", lambda row: row.state != "budget")
        hive.events("scout", until=lambda event: ended(event) and b'"ok":true' in bytes(event.payload))
        assert sum("has spent" in body for body in letters(hive)) == 1


def test_the_whole_hives_budget_stops_every_agent() -> None:
    needs.bwrap()
    needs.claude()
    with running_hive(dashboard=True) as (hive, model):
        for name in ("scout", "other"):
            hive.ask(host.Spawn(name=name))
        model.script("scout", on("work", DEAR, Call("Bash", {"command": "true"}), Gate("held"), Say("Done.")))
        model.script("other", on("work", Usage(input=1, output=1), Say("Done.")))
        hive.ask(host.SetHiveBudget(day_usd=0.04))
        first = hive.send("scout", "work")
        hive.until("scout", over)
        hive.until("other", over)
        second = hive.send("other", "work")
        assert waits(hive, first)
        assert waits(hive, second)
        assert not model.requests("other")
        visitor = Visitor.of(hive).log_in(hive)
        assert b"budget spent" in visitor.get("/").body
        assert b"/agents/other/budget/top-up" in visitor.get("/agents/other").body
        assert b"of $0.04" in visitor.get("/stats").body
        assert visitor.post("/agents/other/budget/top-up").status == 204
        (row,) = hive.ask(host.Budgets(name="other")).budgets or []
        assert row.over
        assert "of $0.04" in cli(hive, "budget")
        assert "none" in cli(hive, "budget", "--hive", "--day", "much", fails=True)
        assert "[budget]" in cli(hive, "budget", "other", "--day", "5", fails=True)
        cli(hive, "budget", "--hive", "--day", "0.04", "--month", "300", "--top-up", "0.01")
        (whole, *_) = hive.ask(host.Budgets()).budgets or []
        assert whole.day.usd == pytest.approx(0.05)
        assert whole.month.usd == pytest.approx(300.01)
        assert whole.over
        cli(hive, "budget", "--hive", "--day", "none")
        hive.until("other", lambda row: row.state != "budget")
        hive.events("other", until=lambda event: ended(event) and b'"ok":true' in bytes(event.payload))


def test_a_turn_that_goes_on_while_the_hive_is_away_ends_when_it_finds_the_budget_spent() -> None:
    needs.bwrap()
    needs.claude()
    with running_hive() as (hive, model):
        hive.ask(host.Spawn(name="scout"))
        hive.ask(host.SetHiveBudget(day_usd=100))
        model.script("scout", on("work", Gate("held"), Say("Done.")))
        message = hive.send("scout", "work")
        model.gate("held").wait_reached()
        hive.kill()
        with contextlib.closing(sqlite3.connect(hive.paths.database)) as database, database:
            database.execute("UPDATE budget_hive SET limits = ?", (b'{"day_usd":0}',))
        hive.start()
        (end,) = [live_event(each.payload) for each in hive.events("scout", until=ended) if ended(each)]
        assert isinstance(end, TurnEnd)
        assert end.outcome == "budget"
        hive.until("scout", over)
        assert waits(hive, message)
