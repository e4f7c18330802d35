"""What the statements make of the turns is what a reader of all rows would."""

import asyncio
import math
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hand_clock import HandClock
from hyperhive.broker.database import Database
from hyperhive.broker.turns import MOST_USD, Part, TurnRow, Turns, TurnSummary

NOW = HandClock().now()
HOUR = 3600.0
whole = st.integers(min_value=-5, max_value=2**70)
turns = st.lists(
    st.builds(
        TurnRow,
        agent=st.sampled_from(("scout", "still", "miner")),
        incarnation=st.just(1),
        turn=st.uuids().map(str),
        outcome=st.sampled_from(("ok", "failed", "rate_limited")),
        started_at=st.integers(min_value=-9000, max_value=100).map(lambda ago: NOW + ago),
        ended_at=st.integers(min_value=-8000, max_value=100).map(lambda ago: NOW + ago),
        model=st.sampled_from(("haiku", "opus")),
        cause=st.sampled_from(("operator", "scout", "x" * 100)),
        input_tokens=whole, output_tokens=whole, cache_read_tokens=whole, cache_creation_tokens=whole,
        cost_usd=st.floats(min_value=-1, max_value=1e300),
        tool_calls=st.integers(min_value=0, max_value=99),
    ),
    max_size=12, unique_by=lambda row: row.turn,
)  # fmt: skip


def usd(rows: list[TurnRow]) -> float:
    return math.fsum(min(max(row.cost_usd, 0), MOST_USD) for row in rows)


def nearest(rows: list[TurnRow], share: float) -> float:
    took = sorted(max(row.ended_at - row.started_at, 0) for row in rows)
    return took[max(0, math.ceil(share * len(took)) - 1)] if took else 0.0


def check(summary: TurnSummary, rows: list[TurnRow]) -> None:
    assert summary.turns == len(rows)
    assert math.isclose(summary.cost_usd, usd(rows), abs_tol=1e-9)
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "tool_calls"):
        counted = sum(min(max(getattr(row, name), 0), 2**53) for row in rows)
        assert math.isclose(getattr(summary, name), counted, rel_tol=1e-12)
    assert (summary.p50_s, summary.p95_s) == (nearest(rows, 0.5), nearest(rows, 0.95))
    assert {each.name: each.turns for each in summary.outcomes} == Counter(row.outcome for row in rows)
    assert {each.name: each.turns for each in summary.causes} == Counter(row.cause[:64] for row in rows)
    assert {each.name: each.turns for each in summary.models} == Counter(row.model for row in rows)
    assert {each.name: each.turns for each in summary.agents} == Counter(row.agent for row in rows)
    for each in summary.agents:
        assert math.isclose(each.cost_usd, usd([row for row in rows if row.agent == each.name]), abs_tol=1e-9)


def check_part(part: Part, until: float, rows: list[TurnRow]) -> None:
    inside = [row for row in rows if part.since <= row.ended_at < until]
    assert (part.turns, part.not_ok) == (len(inside), sum(row.outcome != "ok" for row in inside))
    assert math.isclose(part.cost_usd, usd(inside), abs_tol=1e-9)
    sorts = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
    tokens = sum(min(max(getattr(row, sort), 0), 2**53) for row in inside for sort in sorts)
    assert math.isclose(part.tokens, tokens, rel_tol=1e-12)
    assert part.tool_calls == sum(row.tool_calls for row in inside)
    took = math.fsum(max(row.ended_at - row.started_at, 0) for row in inside)
    assert math.isclose(part.mean_s, took / (len(inside) or 1), abs_tol=1e-6)


@settings(max_examples=60, deadline=None)
@given(rows=turns, agent=st.sampled_from((None, "scout")))
def test_a_summary_is_what_all_rows_of_its_time_come_to(rows: list[TurnRow], agent: str | None) -> None:
    async def scene() -> None:
        with tempfile.TemporaryDirectory() as folder:
            database = await Database.open(Path(folder) / "hive.sqlite")
            table = Turns(database, HandClock())
            since = NOW - 2 * HOUR
            for row in rows:
                await table.spent_since(since)  # what it remembers of it holds until the next turn
                await table.add(row)
            inside = [row for row in rows if since <= row.ended_at < NOW and agent in (None, row.agent)]
            summary = await table.summary(agent, since, parts=8)
            check(summary, inside)
            ends = [*(part.since for part in summary.parts[1:]), NOW]
            for part, until in zip(summary.parts, ends, strict=True):
                check_part(part, until, inside)
            spent = await table.spent_since(since)
            later = [row for row in rows if row.ended_at >= since]
            assert set(spent) == {row.agent for row in later}
            for name, cost in spent.items():
                assert math.isclose(cost, usd([row for row in later if row.agent == name]), abs_tol=1e-9)
            await database.close()

    asyncio.run(scene())
