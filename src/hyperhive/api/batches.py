"""Answers that fit into a line, however much an agent wrote."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

LINE_BUDGET: Final = 512 * 1024
"""Encoded bytes of the items of one answer; a line may hold twice as much."""


def in_batches(items: Sequence[T], size: Callable[[T], int], budget: int = LINE_BUDGET) -> Iterator[list[T]]:
    """The items in order, cut so that each batch is within the budget, or is a single item."""
    batch: list[T] = []
    used = 0
    for item in items:
        cost = size(item)
        if batch and used + cost > budget:
            yield batch
            batch, used = [], 0
        batch.append(item)
        used += cost
    if batch:
        yield batch


def newest_within(items: Sequence[T], size: Callable[[T], int], budget: int = LINE_BUDGET) -> list[T]:
    """As many of the last items as fit, in order; at least one where there is any."""
    reversed_batches = in_batches(list(reversed(items)), size, budget)
    return next(reversed_batches, [])[::-1]
