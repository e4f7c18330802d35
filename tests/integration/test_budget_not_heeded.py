"""A harness that is told that its budget is spent and does not care: its container is started anew."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import needs
from hand_clock import HandClock
from hyperhive.broker.roster import Wanted
from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.budgets import LATE_S, MOST_TOLD
from hyperhive.hub.hive import Hive
from hyperhive.protocol.events import TurnEnd, record
from hyperhive.protocol.ids import AgentName
from hyperhive.protocol.settings import Budget

pytestmark = [pytest.mark.container, pytest.mark.timeout(120)]

PATIENCE_S = 90.0
SCOUT = AgentName("scout")


@contextlib.asynccontextmanager
async def house(clock: HandClock) -> AsyncIterator[tuple[Hive, Paths]]:
    """An agent in its container, and budgets on a clock that a test moves, which wait for no answer for long."""
    with tempfile.TemporaryDirectory(prefix="hh-") as root:
        paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
        async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=None) as hive:
            await hive.fleet.make(SCOUT, {"agent.toml": '[network]\nmode = "none"\n'})
            await hive.budgets.close()
            budgets = dataclasses.replace(
                hive.budgets, clock=clock, answer_s=0.2, _background=type(hive.budgets._background)()
            )
            await budgets.load()
            try:
                await hive.fleet.start(SCOUT)
                await hive.fleet.get(SCOUT).greeting.wait()
                yield dataclasses.replace(hive, budgets=budgets), paths
            finally:
                await budgets.close()
                await hive.fleet.stop(SCOUT)


def first_process(paths: Paths) -> int:
    pid = json.loads((paths.containers / f"h-{SCOUT}" / "record.json").read_bytes())["init"]["pid"]
    assert isinstance(pid, int)
    return pid


async def spend(hive: Hive, agent: Agent, seq: int) -> None:
    await hive.budgets.count(agent, [record(seq, 0.0, TurnEnd(turn=str(seq), ok=True, cost_usd=1.0))])


async def anew(hive: Hive, paths: Paths, before: int) -> None:
    """Until another container of the agent's has greeted the hive."""
    agent = hive.fleet.get(SCOUT)
    with hive.fleet.chronicle.changes.subscribe() as changes:
        while agent.peer is None or first_process(paths) == before:
            await changes.batch()


def test_a_harness_that_gives_no_answer_is_ended_with_its_container() -> None:
    needs.bwrap()

    async def scene() -> None:
        async with house(HandClock()) as (hive, paths):
            first = first_process(paths)
            os.kill(first, signal.SIGSTOP)
            await hive.budgets.set_whole(Budget(day_usd=0))
            await anew(hive, paths, first)

    asyncio.run(scene())


def test_one_that_is_being_stopped_is_ended_too_and_stays_down() -> None:
    needs.bwrap()

    async def scene() -> None:
        async with house(HandClock()) as (hive, paths):
            agent = hive.fleet.get(SCOUT)
            os.kill(first_process(paths), signal.SIGSTOP)
            stopping = asyncio.create_task(hive.fleet.stop(SCOUT, asyncio.Event()))
            with hive.fleet.chronicle.changes.subscribe() as changes:
                while agent.phase is not Phase.STOPPING:
                    await changes.batch()
            await hive.budgets.set_whole(Budget(day_usd=0))
            await stopping
            assert (agent.phase, agent.row.wanted) == (Phase.STOPPED, Wanted.DOWN)

    asyncio.run(scene())


def test_a_harness_that_says_it_ends_and_goes_on_spending_is_ended_with_its_container() -> None:
    needs.bwrap()

    async def scene() -> None:
        clock = HandClock()
        async with house(clock) as (hive, paths):
            first, agent = first_process(paths), hive.fleet.get(SCOUT)
            await hive.budgets.set_whole(Budget(day_usd=0))
            peer = agent.peer
            for seq in range(1, 4 * MOST_TOLD):  # late events and a turn in the background are no reason
                await spend(hive, agent, seq)
            assert (agent.peer, first_process(paths)) == (peer, first)
            clock.advance(LATE_S + 1)
            seq = 4 * MOST_TOLD
            while agent.peer is peer:
                await spend(hive, agent, seq)
                seq += 1
            await anew(hive, paths, first)

    asyncio.run(scene())
