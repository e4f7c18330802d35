"""What agents spent is counted once, on the day it is heard of, and held against what they may spend."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperhive.broker.budgets import Amount, BudgetBook, Sums
from hyperhive.broker.database import Database
from hyperhive.broker.notices import Notice, owed
from hyperhive.hub.budgets import bounds
from hyperhive.hub.meter import advance, speaks_of_usage
from hyperhive.hub.prices import KNOWN, Prices
from hyperhive.protocol.events import EventRecord, Stream, TurnEnd, TurnStart, record
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.settings import Budget

PATIENCE_S = 30.0
NOW = 1_800_000_000.0
REFUSES_NOTICES = "CREATE TRIGGER refusal BEFORE INSERT ON notices BEGIN SELECT RAISE(ABORT, 'refused'); END"
PRICES = Prices()


def line(seq: int, event: dict[str, Any], parent: str | None = None) -> EventRecord:
    value = {"type": "stream_event", "parent_tool_use_id": parent, "event": event}
    return record(seq, 0.0, Stream(value=msgspec.Raw(msgspec.json.encode(value))))


def started(seq: int, tokens: int, model: str = "claude-haiku-4-5", parent: str | None = None) -> EventRecord:
    message = {"model": model, "usage": {"input_tokens": tokens, "output_tokens": 1}}
    return line(seq, {"type": "message_start", "message": message}, parent)


def wrote(seq: int, tokens: int, parent: str | None = None) -> EventRecord:
    return line(seq, {"type": "message_delta", "usage": {"output_tokens": tokens}}, parent)


def spent(*records: EventRecord, meter: bytes = b"") -> Amount:
    return advance(meter, records, PRICES)[1]


def test_a_request_costs_what_its_tokens_do_however_often_they_are_told() -> None:
    once = spent(started(1, 1000), wrote(2, 200))
    again = spent(started(1, 1000), wrote(2, 50), wrote(3, 200), wrote(4, 100), wrote(5, 200))
    assert once.usd == pytest.approx((1000 * 1 + 200 * 5) / 1e6)
    assert again.usd == pytest.approx(once.usd)
    assert again.tokens == once.tokens == 1200


def test_what_a_subagent_asks_meanwhile_is_counted_beside_it() -> None:
    both = spent(started(1, 1000), started(2, 500, parent="toolu_1"), wrote(3, 20, "toolu_1"), wrote(4, 200))
    assert both.tokens == 1720


def test_the_higher_of_what_was_counted_and_what_claude_says_counts() -> None:
    def turn(cost: float) -> Amount:
        return spent(record(1, 0, TurnStart(turn="t", sender="a", body="")), started(2, 1_000_000),
                     record(3, 0, TurnEnd(turn="t", ok=True, cost_usd=cost)))  # fmt: skip

    assert turn(0.0).usd == pytest.approx(1.0, rel=1e-3)
    assert turn(5.0).usd == pytest.approx(5.0)
    assert turn(1e12).usd == pytest.approx(1000.0)


def test_a_stream_that_is_hidden_is_counted_by_the_turns_own_numbers() -> None:
    end = TurnEnd(turn="t", ok=True, cost_usd=0.0, output_tokens=1_000_000)
    assert spent(record(1, 0, end)).usd == pytest.approx(max(price.output for price in KNOWN.values()))


def test_lies_about_numbers_give_nothing_back_and_break_nothing() -> None:
    lies = [
        line(1, {"type": "message_start", "message": {"model": None, "usage": {"input_tokens": -(10**30)}}}),
        line(2, {"type": "message_delta", "usage": {"output_tokens": -5}}),
        line(3, {"type": "message_start", "message": None, "usage": None}),
        *[started(number, 1, parent=str(number)) for number in range(4, 200)],
        record(300, 0, TurnEnd(turn="t", ok=True, cost_usd=-7.0, input_tokens=-(10**15))),
    ]
    meter, more, _ = advance(b"", lies, PRICES)
    assert more.usd >= 0
    assert more.tokens >= 0
    assert len(meter) < 10_000


def test_a_model_without_a_price_costs_as_much_as_the_dearest() -> None:
    assert PRICES.of("someone-elses") == max(KNOWN.values(), key=lambda price: price.output)


def test_the_operators_prices_take_the_place_of_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("[haiku-9]\ninput = 7\noutput = 8\ncache_write = 9\ncache_read = 1\n")
    prices = Prices.from_file(file)
    assert prices.of("claude-haiku-9-20301010").input == 7
    assert prices.of("claude-haiku-8") == KNOWN["haiku"]
    file.write_text("[haiku]\ninput = -1\n")
    with pytest.raises(FaultError, match="prices"):
        Prices.from_file(file)


EVENTS = st.lists(st.tuples(st.sampled_from(["start", "delta", "end"]), st.integers(0, 5000)), max_size=30)


def events(script: list[tuple[str, int]]) -> list[EventRecord]:
    made: dict[str, Callable[[int, int], EventRecord]] = {
        "start": started,
        "delta": wrote,
        "end": lambda seq, n: record(seq, 0, TurnEnd(turn=str(seq), ok=True, cost_usd=n / 1e4)),
    }
    return [made[kind](seq, number) for seq, (kind, number) in enumerate(script, 1)]


def naive(script: list[tuple[str, int]]) -> float:
    """In dollars: per request its highest numbers, per turn the higher of their sum and what claude says."""
    total, turn, sent, got = 0.0, 0.0, 0, 0
    begun = False
    for kind, number in script:
        if kind == "start":
            turn, sent, got, begun = turn + (sent + 5 * got) / 1e6, number, 1, True
        elif kind == "delta":
            got, begun = max(got, number), True
        else:
            total += max(turn + (sent + 5 * got) / 1e6, number / 1e4)
            turn, sent, got, begun = 0.0, 0, 0, False
    return total + turn + ((sent + 5 * got) / 1e6 if begun else 0.0)


@settings(deadline=None)
@given(EVENTS, st.lists(st.integers(0, 30), max_size=5))
def test_in_whatever_batches_and_however_often_the_events_come_the_sum_is_the_naive_one(
    script: list[tuple[str, int]], cuts: list[int]
) -> None:
    all_, meter, total = events([("start", 0), *script]), b"", Amount()
    for cut in [*sorted(cuts), len(all_)]:
        meter, more, _ = advance(meter, [each for each in all_[:cut] if speaks_of_usage(each)], PRICES)
        total += more
    assert total.usd == pytest.approx(naive([("start", 0), *script]), abs=1e-9)


# kept


def with_book(scene: Callable[[BudgetBook], Awaitable[None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            database = await Database.open(Path(root) / "hive.sqlite")
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await scene(BudgetBook(database))
            finally:
                await database.close()

    asyncio.run(run())


def test_events_that_come_again_are_counted_once_and_days_and_months_are_apart() -> None:
    def meter(*records: EventRecord) -> Callable[[bytes], tuple[bytes, Amount]]:
        return lambda before: advance(before, records, PRICES)[:2]

    async def scene(book: BudgetBook) -> None:
        for _ in range(3):
            await book.count("scout", 1, "2026-11-30", meter(started(1, 1000)))
        await book.count("scout", 1, "2026-12-01", meter(started(1, 1000), started(2, 70)))
        await book.count("other", 1, "2026-12-01", meter(started(1, 5)))
        november, december = await book.sums("2026-11-30"), await book.sums("2026-12-01")
        assert november["scout"].day.spent.tokens == november["scout"].month.spent.tokens == 1001
        assert december["scout"].month.spent.tokens == 71
        assert december[""].month.spent.tokens == 71 + 6
        await book.count("scout", 2, "2026-12-02", meter(started(1, 9)))  # another agent of the same name
        assert (await book.sums("2026-12-02"))["scout"].month.spent.tokens == 81
        assert (await book.sums("2026-12-02"))["scout"].day.spent.tokens == 10

    with_book(scene)


def test_a_warning_is_given_once_in_a_period_and_again_after_more_was_added() -> None:
    async def scene(book: BudgetBook) -> None:
        assert await book.warn("scout", "2026-11-22", [], NOW)
        assert not await book.warn("scout", "2026-11-22", [], NOW)
        assert await book.warn("scout", "2026-11", [], NOW)
        await book.add("scout", "2026-11-22", Amount(5.0, 0))
        assert await book.warn("scout", "2026-11-22", [], NOW)

    with_book(scene)


def test_a_warning_whose_message_could_not_be_kept_was_not_given() -> None:
    notice = Notice(recipient="operator", body="nearly spent")

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            database = await Database.open(Path(root) / "hive.sqlite")
            try:
                book = BudgetBook(database)
                await database.write(lambda connection: connection.execute(REFUSES_NOTICES).rowcount)
                with pytest.raises(sqlite3.IntegrityError):
                    await book.warn("scout", "2026-11-22", [notice], NOW)
                await database.write(lambda connection: connection.execute("DROP TRIGGER refusal").rowcount)
                assert await book.warn("scout", "2026-11-22", [notice], NOW)
                assert not await book.warn("scout", "2026-11-22", [notice], NOW)
                assert await database.read(lambda connection: owed(connection, "operator")) == 1
            finally:
                await database.close()

    asyncio.run(run())


def test_what_was_added_raises_the_bounds_of_its_day_and_its_month() -> None:
    async def scene(book: BudgetBook) -> None:
        await book.add("scout", "2026-11-22", Amount(5.0, 100))
        limits = Budget(day_usd=1, month_usd=10, day_tokens=0)
        there = [bound.limit for bound in bounds(limits, (await book.sums("2026-11-22"))["scout"])]
        next_day = [bound.limit for bound in bounds(limits, (await book.sums("2026-11-23"))["scout"])]
        assert there == [6, 100, 15]
        assert next_day == [1, 0, 15]

    with_book(scene)


def test_a_budget_of_nothing_is_spent_from_the_beginning_and_no_budget_never_is() -> None:
    assert [bound.is_spent for bound in bounds(Budget(day_usd=0), Sums())] == [True]
    assert not list(bounds(Budget(), Sums()))


def test_days_of_long_ago_are_forgotten() -> None:
    async def scene(book: BudgetBook) -> None:
        await book.add("scout", "2025-11-22", Amount(5.0, 0))
        await book.add("scout", "2026-11-22", Amount(6.0, 0))
        await book.vacuum("2026-11-01")
        assert "scout" not in await book.sums("2025-11-22")
        assert (await book.sums("2026-11-22"))["scout"].day.added.usd == 6

    with_book(scene)
