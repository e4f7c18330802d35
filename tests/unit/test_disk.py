"""Whose doing it is that the disk is short."""

import pytest

from hyperhive.config.room import Floor, Room
from hyperhive.hub.disk import FASTEST, LATEST_S, SOONEST_S, Part, Use, culprit, look_again_s

GIB = 1 << 30


def room(free: int, total: int = 1000 * GIB, *, files_free: int = 0, files: int = 0) -> Room:
    return Room(free=free, total=total, files_free=files_free, files=files)


@pytest.mark.parametrize(
    ("total", "wanted", "floor"),
    [
        (1000 * GIB, None, 20 * GIB),
        (20 * GIB, None, GIB),
        (2 * GIB, None, 2 * GIB // 10),
        (1000 * GIB, 5 * GIB, 5 * GIB),
        (1000 * GIB, 0, 0),
    ],
)
def test_the_floor_suits_the_size_of_the_disk(total: int, wanted: int | None, floor: int) -> None:
    assert Floor.of(room(0, total), wanted).free == floor


def test_a_disk_is_short_of_files_too_and_one_without_a_count_of_them_is_not() -> None:
    full = room(500 * GIB, files_free=10, files=1_000_000)
    assert Floor.of(full).is_short(full)
    assert not Floor.of(full, 0).is_short(full)
    assert not Floor.of(room(500 * GIB)).is_short(room(500 * GIB))


def test_there_is_room_again_only_well_above_the_floor() -> None:
    floor = Floor.of(room(0))
    assert not floor.is_short(room(20 * GIB))
    assert not floor.is_clear_of(room(24 * GIB))
    assert floor.is_clear_of(room(25 * GIB))


@pytest.mark.parametrize(
    ("free", "seconds"), [(10 * GIB, SOONEST_S), (30 * GIB, 10 * GIB / FASTEST), (900 * GIB, LATEST_S)]
)
def test_it_is_looked_at_again_before_it_can_have_become_short(free: int, seconds: float) -> None:
    assert look_again_s(room(free), Floor.of(room(free))) == seconds


NONE = Use()
BIG = Use(size=100 * GIB, files=10)
UNSEEN = Use(size=GIB, files=100_000, whole=False, written=GIB)


def shared(size: int, *, whole: bool = True, written: int = 0) -> Use:
    return Use(common=Part(size=size, whole=whole), written=written)


@pytest.mark.parametrize(
    ("before", "now", "lost", "who"),
    [
        ({"a": NONE, "b": BIG}, {"a": Use(size=9 * GIB), "b": BIG}, 10 * GIB, "a"),
        ({"a": NONE, "b": NONE}, {"a": Use(size=1), "b": NONE}, 10 * GIB, None),  # others of the host took it
        ({"a": NONE, "b": NONE}, {"a": Use(size=GIB), "b": NONE}, 0, None),  # nobody takes more
        ({"b": BIG}, {"a": Use(size=9 * GIB), "b": BIG}, 10 * GIB, "a"),  # it is new
        ({"a": NONE, "b": NONE}, {"a": Use(written=9 * GIB), "b": NONE}, 10 * GIB, "a"),  # what it has is deleted
        ({"a": NONE, "b": BIG}, {"a": Use(whole=False), "b": BIG}, 10 * GIB, "a"),  # and this one hides it
        ({"a": Use(size=9 * GIB, whole=False)}, {"a": NONE}, 10 * GIB, None),
        ({"a": NONE, "b": NONE}, {"a": Use(size=6 * GIB), "b": Use(size=4 * GIB, written=99 * GIB)}, 10 * GIB, "a"),
        ({"a": NONE, "b": NONE}, {"a": NONE, "b": Use(size=9 * GIB, whole=False)}, 10 * GIB, "b"),  # at least so much
        ({"a": UNSEEN, "b": NONE}, {"a": UNSEEN, "b": NONE}, 10 * GIB, None),  # it is large, and has written nothing
        ({"a": NONE, "b": NONE}, {"a": shared(9 * GIB), "b": NONE}, 10 * GIB, "a"),
        (  # what others hid from sight in what all share is no growth when it is seen again
            {"a": shared(0, whole=False), "b": shared(0, whole=False)},
            {"a": shared(90 * GIB), "b": shared(0, written=9 * GIB)},
            10 * GIB,
            "b",
        ),
    ],
)
def test_who_took_the_room_that_is_lost_is_stopped(
    before: dict[str, Use], now: dict[str, Use], lost: int, who: str | None
) -> None:
    assert culprit(before, now, lost=lost, files=False) == who


def test_who_made_the_files_is_stopped_where_files_are_lacking() -> None:
    before = {"a": Use(files=5, size=1), "b": Use(files=7, size=1)}
    now = {"a": Use(files=900_000, size=1), "b": Use(files=7, size=GIB, written=GIB)}
    assert culprit(before, now, lost=900_000, files=True) == "a"
    hidden = Use(files=100_000, whole=False, written=1)
    assert culprit({"a": hidden, "b": now["b"]}, {"a": hidden, "b": now["b"]}, lost=900_000, files=True) == "a"
