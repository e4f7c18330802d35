from datetime import datetime

import pytest

from hyperhive.config import agent_toml, timetable
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.settings import Schedule


def following(cron: str, zone: str, after: str) -> str:
    schedule = Schedule(message="look", cron=cron, timezone=zone)
    due = timetable.next_time(schedule, datetime.fromisoformat(after).timestamp())
    return "" if due is None else timetable.local(schedule, due)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "due"),
    [
        ("30 9 * * MON-FRI", "Europe/Berlin", "2026-03-06T10:00:00+01:00", "2026-03-09T09:30:00+01:00"),
        ("0 12 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T12:00:00+00:00"),
        ("0 0 L * *", "UTC", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00+00:00"),
        # the clocks skip 02:00 to 03:00
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T01:59:00+01:00", "2026-03-29T03:00:00+02:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"),
        ("30 * * * *", "Europe/Berlin", "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"),
        # the clocks pass 02:00 to 03:00 twice
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"),
        ("45 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", "2026-10-26T02:45:00+01:00"),
        ("30 * * * *", "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
    ],
)
def test_cron_is_due_as_the_clocks_of_its_time_zone_say(cron: str, zone: str, after: str, due: str) -> None:
    assert following(cron, zone, after) == due


@pytest.mark.parametrize(
    ("lines", "refusal"),
    [
        ('cron = "61 * * * *"', "line 4: schedule.daily.cron: bad minute"),
        ('cron = "0 9 * *"', "line 4: schedule.daily.cron: write five fields"),
        ('cron = "0 0 9 * * *"', "line 4: schedule.daily.cron: write five fields"),
        ('cron = "0 0 30 2 *"', "line 4: schedule.daily.cron: bad day-of-month"),
        ('cron = "0 0 * 2 */9#5"', "line 4: schedule.daily.cron: bad day-of-week"),
        ('cron = "0 9 * * *"\ntimezone = "Mars/Olympus"', "line 5: schedule.daily.timezone: there is no such"),
        ('cron = "0 9 * * *"\ntimezone = "../../etc/passwd"', "line 5: schedule.daily.timezone: there is no such"),
        ('cron = "0 9 * * *"\nevery = 60', "line 2: schedule.daily: give `every` or `cron`, one of them"),
        ('timezone = "UTC"', "line 2: schedule.daily: give `every` or `cron`, one of them"),
        ("every = 59", "line 4: schedule.daily.every: expected a whole number from 60"),
    ],
)
def test_what_can_never_be_due_is_refused_with_its_line(lines: str, refusal: str) -> None:
    with pytest.raises(FaultError, match="cannot use agent") as caught:
        agent_toml.parse(f'model = "haiku"\n[schedule.daily]\nmessage = "look"\n{lines}\n')
    assert refusal in caught.value.message
