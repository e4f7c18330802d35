"""Answers are cut so that each fits into a line, and nothing is lost or reordered by it."""

from hypothesis import given
from hypothesis import strategies as st

from hyperhive.api.batches import in_batches, newest_within

sizes = st.lists(st.integers(min_value=0, max_value=50), max_size=60)


@given(sizes, st.integers(min_value=1, max_value=100))
def test_batches_hold_all_items_in_order_and_within_the_budget(items: list[int], budget: int) -> None:
    batches = list(in_batches(items, lambda item: item, budget))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == 1 or sum(batch) <= budget for batch in batches)


@given(sizes, st.integers(min_value=1, max_value=100))
def test_the_newest_are_kept_and_as_many_as_fit(items: list[int], budget: int) -> None:
    newest = newest_within(items, lambda item: item, budget)
    assert newest == items[len(items) - len(newest) :]
    assert bool(newest) == bool(items)
    rest = items[: len(items) - len(newest)]
    assert not rest or sum(newest) + rest[-1] > budget
