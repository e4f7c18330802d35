"""Budgets in a hive whose clock a test moves: what ends with the day, what with the month, and who is told."""

import asyncio
import contextlib
import dataclasses
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from hand_clock import HandClock
from hyperhive.broker.budgets import Amount
from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.hive import Hive
from hyperhive.hub.runners import Runners
from hyperhive.hub.status import state
from hyperhive.protocol.agent import Whoami
from hyperhive.protocol.events import TurnEnd, record
from hyperhive.protocol.ids import OPERATOR, AgentName
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import Budget
from hyperhive.web.agent_page import sections_of

PATIENCE_S = 30.0
NOON_BEFORE_NEW_YEAR = datetime(2026, 12, 31, 12, tzinfo=UTC).timestamp()
EAST = ZoneInfo("Pacific/Auckland")
"""There it is 1 January already."""


@contextlib.asynccontextmanager
async def house(clock: HandClock, *names: str, text: str, zone: tzinfo = UTC) -> AsyncIterator[Hive]:
    with tempfile.TemporaryDirectory(prefix="hh-") as root:
        paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
        async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=None) as hive:
            for name in names:
                await hive.fleet.make(AgentName(name), {"agent.toml": text})
            await hive.budgets.close()
            moved = dataclasses.replace(
                hive.budgets, clock=clock, zone=zone, _background=type(hive.budgets._background)()
            )
            await moved.load()
            await moved.open()
            try:
                yield dataclasses.replace(hive, budgets=moved)
            finally:
                await moved.close()


async def spend(hive: Hive, name: str, usd: float, seq: int) -> None:
    end = record(seq, 0.0, TurnEnd(turn=str(seq), ok=True, cost_usd=usd))
    await hive.budgets.count(hive.fleet.get(name), [end])


async def whoami(hive: Hive, name: str) -> Whoami:
    runners = Runners(
        fleet=hive.fleet, mailbox=hive.mailbox, events=hive.fleet.chronicle.events, turns=hive.turns,
        budgets=hive.budgets, chronicle=hive.fleet.chronicle, credentials=hive.credentials,
    )  # fmt: skip
    return await runners.whoami(hive.fleet.get(name), Nothing())


async def becomes(hive: Hive, name: str, over: bool) -> None:
    agent = hive.fleet.get(name)
    with hive.fleet.chronicle.changes.subscribe() as changes:
        while bool(agent.over_budget) is not over:
            await changes.batch()


async def told(hive: Hive, number: int) -> list[str]:
    with hive.fleet.chronicle.mail_changes.subscribe() as mail:
        while len(rows := await hive.mailbox.inbox(OPERATOR)) < number:
            await mail.batch()
    return [row.body for row in rows]


def test_a_day_that_is_spent_ends_at_the_midnight_of_the_hives_own_zone_and_a_month_does_not() -> None:
    async def scene() -> None:
        clock = HandClock(datetime(2026, 12, 30, 23, 50, tzinfo=UTC).timestamp())
        async with house(clock, "scout", text="[budget]\nday_usd = 1\nmonth_usd = 3\n") as hive:
            scout = hive.fleet.get("scout")
            await spend(hive, "scout", 1.5, 1)
            assert state(scout) == "budget"
            assert scout.held
            for section in sections_of(AgentName("scout")):
                await section.draw(hive)
            clock.advance(700)
            await becomes(hive, "scout", False)
            await spend(hive, "scout", 1.5, 2)
            await hive.budgets.top_up("scout", Amount(0.6, 0))
            assert not scout.over_budget
            await spend(hive, "scout", 0.7, 3)
            assert "this month" in scout.over_budget
            clock.advance(24 * 3600)
            await becomes(hive, "scout", False)

    asyncio.run(scene())


def test_days_are_those_of_the_zone() -> None:
    async def scene() -> None:
        async with house(HandClock(NOON_BEFORE_NEW_YEAR), "scout", text="", zone=EAST) as hive:
            assert hive.budgets.rows("scout")[0].day.period == "2027-01-01"

    asyncio.run(scene())


def test_a_warning_is_told_once_to_the_operator_and_the_agent() -> None:
    async def scene() -> None:
        async with house(HandClock(NOON_BEFORE_NEW_YEAR), "scout", text="[budget]\nday_usd = 10\n") as hive:
            for seq in range(1, 4):
                await spend(hive, "scout", 3.0, seq)
            assert not hive.fleet.get("scout").over_budget
            (text,) = await told(hive, 1)
            assert "$9.00 of the $10.00" in text
            await spend(hive, "scout", 0.5, 4)
            await hive.mailbox.inbox(OPERATOR)
            assert len(await told(hive, 1)) == 1

    asyncio.run(scene())


def test_what_one_spends_of_the_whole_hives_budget_stops_all_until_more_is_added() -> None:
    async def scene() -> None:
        async with house(HandClock(NOON_BEFORE_NEW_YEAR), "scout", "other", text="") as hive:
            await hive.budgets.set_whole(Budget(day_usd=2))
            await spend(hive, "scout", 2.5, 1)
            assert [state(agent) for agent in hive.fleet.agents()] == ["budget", "budget"]
            assert (await whoami(hive, "other")).held
            await hive.budgets.top_up("other", Amount(9, 0))
            assert hive.fleet.get("other").over_budget
            await hive.budgets.top_up(None, Amount(1, 0))
            assert not any(agent.over_budget for agent in hive.fleet.agents())
            assert not (await whoami(hive, "other")).held

    asyncio.run(scene())
