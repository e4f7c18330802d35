"""What a harness says of its turns that cannot be: the hive's records and pages hold all the same."""

import asyncio
import tempfile
import time
from pathlib import Path

import pytest

from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.protocol import agent as wire
from hyperhive.protocol.events import TurnEnd, record
from hyperhive.protocol.ids import AgentName
from hyperhive.web.agent_page import sections_of
from runners_of_hive import runners_of

PATIENCE_S = 30.0
SCOUT = AgentName("scout")


@pytest.mark.parametrize("ts", [2.0**52, 1e300])
def test_a_turn_that_ended_in_the_future_has_ended_when_it_was_told(ts: float) -> None:
    async def scene() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=None) as hive:
                await hive.fleet.make(SCOUT, {"agent.toml": ""})
                runners = runners_of(hive)
                end = record(1, ts, TurnEnd(turn="t", ok=True, duration_ms=5000))
                await runners.record(hive.fleet.get(SCOUT), wire.Events(records=[end]))
                row = await hive.turns.latest(SCOUT)
                assert row is not None
                assert row.ended_at <= time.time()
                assert row.ended_at - row.started_at == pytest.approx(5)
                for section in sections_of(SCOUT):
                    assert section.name in await section.draw(hive)
                assert await hive.turns.vacuum(time.time() + 1) == 1

    asyncio.run(scene())
