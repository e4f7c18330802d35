"""What all turns come to, summed up whenever somebody asks: as little is kept of it as can be told."""

import asyncio
from pathlib import Path

from hyperhive.broker.database import Database
from hyperhive.broker.totals import OTHER, Totals
from hyperhive.broker.turns import TurnRow, Turns


def test_sums_stay_few_whatever_a_harness_calls_the_end_of_its_turns(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "hive.sqlite")
        turns, totals = Turns(database), Totals(database)
        for number in range(100):
            await totals.now()
            outcome = "ok" if number % 2 else f"made-up-{number}"
            await turns.add(
                TurnRow(agent="a", incarnation=1, turn=f"{number}", outcome=outcome, started_at=1, ended_at=2)
            )
        assert {row.outcome: row.turns for row in (await totals.now()).turns} == {"ok": 50, OTHER: 50}
        await database.close()

    asyncio.run(scene())
