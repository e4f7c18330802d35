"""When schedules come, against what anybody would count on their fingers: minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperhive.config import timetable
from hyperhive.protocol.settings import Schedule

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata")
SPRING = {"Europe/Berlin": (2026, 3, 29), "America/New_York": (2026, 3, 8), "Australia/Sydney": (2026, 10, 4)}
AUTUMN = {"Europe/Berlin": (2026, 10, 25), "America/New_York": (2026, 11, 1), "Australia/Sydney": (2026, 4, 5)}
FIXED = st.tuples(st.integers(0, 59), st.integers(0, 23))


def at(cron: str, zone: str) -> Schedule:
    return Schedule(message="look", cron=cron, timezone=zone)


def times(schedule: Schedule, after: float, until: float) -> list[float]:
    found: list[float] = []
    while (after := timetable.next_time(schedule, after) or until + 1) <= until:
        found.append(after)
    return found


def naive_fixed(minute: int, hour: int, zone: str, after: float, until: float) -> list[float]:
    """Once a day: when the clocks first show that time or, where they skip it, first show a later one."""
    found, here, done = [], ZoneInfo(zone), set()
    now = datetime.fromtimestamp(after, UTC).replace(second=0)
    first = now.astimezone(here)
    if (first.hour, first.minute) >= (hour, minute):
        done.add(first.date())
    while (now := now + timedelta(minutes=1)).timestamp() <= until:
        local = now.astimezone(here)
        if local.date() not in done and (local.hour, local.minute) >= (hour, minute):
            done.add(local.date())
            found.append(now.timestamp())
    return found


def naive_minutes(minutes: set[int], zone: str, after: float, until: float) -> list[float]:
    """Whenever the clocks show one of these minutes, time simply going on."""
    found, here = [], ZoneInfo(zone)
    now = datetime.fromtimestamp(after, UTC).replace(second=0)
    while (now := now + timedelta(minutes=1)).timestamp() <= until:
        if now.astimezone(here).minute in minutes:
            found.append(now.timestamp())
    return found


@pytest.mark.parametrize("days", [SPRING, AUTUMN])
@given(zone=st.sampled_from(sorted(SPRING)), time=FIXED, start=st.integers(0, 36 * 3600))
@settings(max_examples=25, deadline=None)
def test_a_time_of_the_day_comes_once_a_day_also_when_the_clocks_change(
    days: dict[str, tuple[int, int, int]], zone: str, time: tuple[int, int], start: int
) -> None:
    begin = (datetime(*days[zone], tzinfo=ZoneInfo(zone)) - timedelta(days=1)).timestamp() + start
    minute, hour = time
    found = times(at(f"{minute} {hour} * * *", zone), begin, begin + 2 * 86400)
    assert found == naive_fixed(minute, hour, zone, begin, begin + 2 * 86400)


@pytest.mark.parametrize("days", [SPRING, AUTUMN])
@given(
    zone=st.sampled_from(sorted(SPRING)),
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=4),
    start=st.integers(0, 36 * 3600),
)
@settings(max_examples=20, deadline=None)
def test_minutes_of_every_hour_go_on_evenly_when_the_clocks_change(
    days: dict[str, tuple[int, int, int]], zone: str, minutes: set[int], start: int
) -> None:
    begin = (datetime(*days[zone], tzinfo=ZoneInfo(zone)) - timedelta(days=1)).timestamp() + start
    found = times(at(f"{','.join(map(str, minutes))} * * * *", zone), begin, begin + 86400)
    assert found == naive_minutes(minutes, zone, begin, begin + 86400)


FIELDS = st.sampled_from(("*", "0", "5", "29", "*/7", "1-3", "L", "MON", "2#3", "5L", "LW", "1,15", "0-59/5"))


@given(
    cron=st.lists(FIELDS, min_size=5, max_size=5).map(" ".join),
    zone=st.sampled_from(ZONES),
    after=st.floats(0, 4e9, allow_nan=False),
)
@settings(max_examples=100, deadline=None)
def test_the_next_time_is_later_on_a_whole_minute_and_the_same_from_anywhere_before(
    cron: str, zone: str, after: float
) -> None:
    schedule = at(cron, zone)
    if [*timetable.faults(schedule, ("schedule", "x"))]:
        return
    due = timetable.next_time(schedule, after)
    if due is not None:
        assert due > after
        assert due % 60 == 0
        assert timetable.next_time(schedule, (after + due) / 2) == due
        assert timetable.next_time(schedule, due - 1) == due


@given(text=st.text(max_size=100), zone=st.text(max_size=64))
@settings(max_examples=200, deadline=None)
def test_whatever_is_written_is_taken_or_refused_in_words(text: str, zone: str) -> None:
    schedule = at(text, zone)
    for fault in timetable.faults(schedule, ("schedule", "x")):
        assert fault.text.startswith("schedule.x.")
    timetable.next_time(schedule, 1e9)


@given(every=st.integers(60, 10**6), due=st.integers(0, 10**9), later=st.integers(0, 10**8))
def test_seconds_stay_on_their_grid_however_late_it_is(every: int, due: int, later: int) -> None:
    schedule = Schedule(message="look", every=every)
    after = due + later
    found = timetable.next_time(schedule, after, due)
    assert found is not None
    assert after < found <= after + every
    assert (found - due) % every == 0
    assert timetable.count(schedule, due, after) == min(timetable.MOST_COUNTED, later // every + 1)
