"""When a schedule is due: every so many seconds, or as cron and a time zone say.

A cron time that the clocks skip in spring comes at the first minute after the gap; one that they pass twice in autumn
comes at the first of the two. Where the minute or the hour begins with a star, time simply goes on: what is skipped
does not come, and what is repeated comes twice.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from hyperhive.config.schema import Fault
from hyperhive.config.toml_lines import KeyPath
from hyperhive.protocol.settings import Schedule

FIELDS: Final = 5
MOST_COUNTED: Final = 100
_NOT_TIMES: Final = (CronSimError, AssertionError, ValueError, OverflowError)
_REPEATED: Final = 2000
"""Times of cron's that one change of the clocks can repeat: a minute's steps of a day, and some."""
_HINT: Final = 'five fields: minute, hour, day of the month, month, day of the week, such as "30 9 * * MON-FRI"'


def faults(schedule: Schedule, path: KeyPath) -> Iterator[Fault]:
    """What keeps it from ever being due, each with the key that is wrong."""
    name = ".".join(path)
    if (schedule.every is None) == (schedule.cron is None):
        yield Fault(path=path, text=f"{name}: give `every` or `cron`, one of them")
        return
    zone = _zone(schedule.timezone)
    if zone is None:
        text = f'{name}.timezone: there is no such time zone; write one such as "UTC" or "Europe/Berlin"'
        yield Fault(path=(*path, "timezone"), text=text)
    if schedule.cron is not None and (reason := _why_not(schedule.cron)):
        yield Fault(path=(*path, "cron"), text=f"{name}.cron: {reason}")


def next_time(schedule: Schedule, after: float, due: float | None = None) -> float | None:
    """The first time after `after`; None when there is none. Unix seconds.

    `every` counts from `due`, a time that it was to come, else from `after`.
    """
    if schedule.every is not None:
        start = after if due is None else due
        return start + schedule.every * max(1, math.floor((after - start) / schedule.every) + 1)
    return next(_times_of(schedule, after), None)


def count(schedule: Schedule, due: float, until: float) -> int:
    """How often it was to come from `due`, which counts, to `until`: at most `MOST_COUNTED`."""
    if schedule.every is not None:
        return min(MOST_COUNTED, 1 + max(0, math.floor((until - due) / schedule.every)))
    later = itertools.takewhile(lambda at: at <= until, _times_of(schedule, due))
    return 1 + sum(1 for _ in itertools.islice(later, MOST_COUNTED - 1))


def local(schedule: Schedule, at: float) -> str:
    """That time as people near its time zone write it, with its offset."""
    zone = UTC if schedule.cron is None else _zone(schedule.timezone) or UTC
    return datetime.fromtimestamp(int(at), zone).isoformat()


def _times_of(schedule: Schedule, after: float) -> Iterator[float]:
    return _times(schedule.cron or "", _zone(schedule.timezone) or UTC, after)


def _times(cron: str, zone: tzinfo, after: float) -> Iterator[float]:
    """All times of cron's from then on. Its own first ones can be before: it does not know which of two equal times of
    the clocks it begins at."""
    try:
        earlier = 0
        for time in CronSim(cron, datetime.fromtimestamp(math.floor(after), zone)):
            if (at := time.timestamp()) > after:
                yield at
                after, earlier = at, 0
            elif (earlier := earlier + 1) > _REPEATED:
                return
    except _NOT_TIMES:
        return


def _why_not(cron: str) -> str:
    """Empty when it is due at some time. In UTC: no time of it is there in one zone alone."""
    if len(cron.split()) != FIELDS:
        return f"write {_HINT}"
    try:
        CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))
    except _NOT_TIMES as error:
        return f"{str(error).lower() or 'it cannot be read'}; write {_HINT}"
    if next(_times(cron, UTC, datetime(2000, 1, 1, tzinfo=UTC).timestamp()), None) is None:
        return "no day is like that: it would never be due"
    return ""


@functools.lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # no key; a directory; not there
        return None
