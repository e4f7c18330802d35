"""Messages to agents at set times, as their deployed configs say.

Each time gives one message, written in the transaction that moves the schedule on to its next time: it comes once,
over any end of the hive. Times that pass while the hive is away, and times at which the schedule's latest message is
still unread, give none of their own: the next message says how many they were.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET

from hyperhive.broker import notices as outbox
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.due import FOREVER, Due
from hyperhive.broker.inbox import rfc3339
from hyperhive.broker.notices import Notice, Notices
from hyperhive.broker.sql import Queries, storable
from hyperhive.config import timetable
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import SYSTEM
from hyperhive.protocol.settings import Schedule

_SQL: Final = Queries("schedules")
_BATCH: Final = 20
"""Schedules that one transaction moves on: after a long time away each has times to count."""
_SET_BACK_S: Final = 60
"""A last time so far ahead of now: the wall clock was wrong then."""

Plan = Mapping[str, Schedule]
"""The schedules of one agent, by their names."""


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
    """Times are Unix seconds."""

    agent: str
    name: str
    incarnation: int
    message: str
    every: int | None
    cron: str | None
    timezone: str
    paused: bool
    next_at: float | None  #: None: never again. Of a paused one: when it would be
    last_at: float | None  #: when its latest message was sent
    notice: int
    passed: int  #: times since then that gave no message
    created_at: float
    waits: bool  #: its latest message is still unread

    @property
    def spec(self) -> Schedule:
        return Schedule(message=self.message, every=self.every, cron=self.cron, timezone=self.timezone)

    @property
    def rule(self) -> str:
        """When it comes, in short."""
        return f"every {self.every} s" if self.every is not None else f"{self.cron} ({self.timezone})"

    def on_wire(self) -> host.ScheduleRow:
        return host.ScheduleRow(
            agent=self.agent, name=self.name, message=self.message, every=_given(self.every), cron=_given(self.cron),
            timezone=self.timezone, paused=self.paused, waits=self.waits, passed=self.passed,
            next_at=UNSET if self.next_at is None or self.paused else rfc3339(self.next_at),
            last_at=UNSET if self.last_at is None else rfc3339(self.last_at),
        )  # fmt: skip


class Schedules:
    """The `schedules` table and its timer.

    `open` once before use, `close` ends the timer. `on_change` is called with every one that was paused, resumed, sent
    or held back, `on_sent` with those that sent a message and for how many times, both after the commit; of what came
    due they get the row as it was before. They may be set at any time and must not block.
    """

    def __init__(self, database: Database, notices: Notices, clock: Clock | None = None) -> None:
        self.on_change: Callable[[ScheduleRow], None] = lambda _row: None
        self.on_sent: Callable[[ScheduleRow, int], None] = lambda _row, _times: None
        self._database = database
        self._notices = notices
        self._clock = clock or SystemClock()
        self._due = Due(self._clock, self._come_due)

    async def open(self, plans: Mapping[str, Plan]) -> None:
        """These are the plans of the living agents; what fell due while the hive was away comes now."""
        now = self._clock.now()
        await self._database.write(lambda connection: _restore(connection, plans, now))
        await self.expect()

    def close(self) -> None:
        self._due.close()

    async def expect(self) -> None:
        """An agent's plan has changed."""
        self._due.expect(await self._database.read(_next_due))

    async def all(self, agent: str | None = None) -> list[ScheduleRow]:
        """Of one agent or all, by agent and name."""
        return await self._database.read(lambda connection: _rows(connection, agent))

    async def set_paused(self, agent: str, name: str, paused: bool) -> ScheduleRow:
        """While it is paused it sends nothing, and times that pass then do not count. Raises FaultError
        (`unknown_schedule`)."""
        now = self._clock.now()

        def change(connection: Connection) -> ScheduleRow | FaultError:
            row = _get(connection, agent, name)
            if isinstance(row, FaultError) or row.paused == paused:
                return row
            next_at = row.next_at if paused or not _has_passed(row, now) else _following(row, now)
            values = {"agent": agent, "name": name, "paused": paused, "next_at": next_at}
            connection.execute(_SQL["set_paused"], values)
            return _get(connection, agent, name)

        row = await self._database.write(change, lambda row: self.on_change(row))
        await self.expect()
        return row

    async def fire(self, agent: str, name: str) -> ScheduleRow:
        """Send its message now, also when it is paused; its next time stays. Raises FaultError (`unknown_schedule`;
        `wrong_state` while its latest message is unread)."""
        now = self._clock.now()

        def send(connection: Connection) -> ScheduleRow | FaultError:
            row = _get(connection, agent, name)
            if isinstance(row, FaultError):
                return row
            if row.waits:
                return FaultError(
                    FaultKind.WRONG_STATE,
                    f"cannot fire schedule {name!r} of {agent!r}: its latest message is still unread",
                )
            _send(connection, row, "sent now by the operator", row.passed, next_at=row.next_at, now=now)
            return _get(connection, agent, name)

        return await self._database.write(send, lambda row: self._told([(row, 1)]))

    async def forget(self, agent: str, incarnation: int) -> None:
        """That life of the agent is over."""
        values = {"agent": agent, "incarnation": incarnation}
        await self._database.write(lambda connection: connection.execute(_SQL["forget"], values).rowcount)

    def _come_due(self, now: float) -> "asyncio.Future[float]":
        moved: list[tuple[ScheduleRow, int]] = []

        def settle(connection: Connection) -> float:
            moved[:] = _move_on(connection, now)
            return _next_due(connection)

        return self._database.write(settle, lambda _: self._told(moved))

    def _told(self, moved: list[tuple[ScheduleRow, int]]) -> None:
        self._notices.wake()
        for row, times in moved:
            self.on_change(row)
            if times:
                self.on_sent(row, times)


# in a transaction


def put(connection: Connection, agent: str, plan: Plan, now: float) -> None:
    """The plan of the living agent of that name from now on, in a transaction of others; `expect` after the commit.

    A schedule whose times are as before keeps its next one; the operator's pause outlives any change.
    """
    living = _SQL.rows(connection, "living", {"agent": agent})
    if not living:
        return
    incarnation = living[0]["incarnation"]
    there = {row.name: row for row in _rows(connection, agent)}
    for row in there.values():
        if row.name not in plan or row.incarnation != incarnation:
            connection.execute(_SQL["remove"], {"agent": agent, "name": row.name})
    for name, schedule in plan.items():
        known = there.get(name)
        values = {
            "agent": agent, "name": name, "incarnation": incarnation, "message": storable(schedule.message),
            "every": schedule.every, "cron": schedule.cron, "timezone": schedule.timezone, "now": now,
        }  # fmt: skip
        if known is not None and known.incarnation == incarnation and _times(known.spec) == _times(schedule):
            connection.execute(_SQL["say"], values)
        else:
            connection.execute(_SQL["put"], {**values, "next_at": timetable.next_time(schedule, now)})


def _times(schedule: Schedule) -> tuple[int | None, str | None, str]:
    return schedule.every, schedule.cron, schedule.timezone if schedule.cron is not None else ""


def _restore(connection: Connection, plans: Mapping[str, Plan], now: float) -> None:
    connection.execute(_SQL["forget_the_dead"])
    for agent, plan in plans.items():
        put(connection, agent, plan, now)
    for row in _rows(connection):
        if max(row.created_at, row.last_at or 0.0) > now + _SET_BACK_S:
            next_at = timetable.next_time(row.spec, now)
            values = {"agent": row.agent, "name": row.name, "next_at": next_at, "times": 0}
            connection.execute(_SQL["move_on"], values)


def _move_on(connection: Connection, now: float) -> list[tuple[ScheduleRow, int]]:
    """Some of what is due, soonest first; each with the times that its message is for, 0 without one."""
    moved = []
    for row in _found(connection, "due", {"now": now, "limit": _BATCH, "system": SYSTEM}):
        assert row.next_at is not None, "only what has a next time is due"
        times, next_at = timetable.count(row.spec, row.next_at, now), _following(row, now)
        if row.waits:
            values = {"agent": row.agent, "name": row.name, "next_at": next_at, "times": times}
            connection.execute(_SQL["move_on"], values)
            moved.append((row, 0))
        else:
            due = f"due {timetable.local(row.spec, row.next_at)}"
            _send(connection, row, due, row.passed + times - 1, next_at=next_at, now=now)
            moved.append((row, row.passed + times))
    return moved


def _send(
    connection: Connection, row: ScheduleRow, why: str, passed: int, *, next_at: float | None, now: float
) -> None:
    body = f"[schedule {row.name}, {why}{_besides(passed)}]\n{row.message}"
    number = outbox.put(connection, Notice(recipient=row.agent, incarnation=row.incarnation, body=body), now)
    values = {"agent": row.agent, "name": row.name, "next_at": next_at, "notice": number, "now": now}
    connection.execute(_SQL["sent"], values)


def _besides(passed: int) -> str:
    if not passed:
        return ""
    number = str(passed) if passed < timetable.MOST_COUNTED - 1 else f"at least {passed}"
    return f"; {number} more {'time' if number == '1' else 'times'} passed without a message"


def _has_passed(row: ScheduleRow, now: float) -> bool:
    return row.next_at is None or row.next_at <= now


def _following(row: ScheduleRow, now: float) -> float | None:
    return timetable.next_time(row.spec, now, row.next_at)


def _get(connection: Connection, agent: str, name: str) -> ScheduleRow | FaultError:
    if rows := _rows(connection, agent, name):
        return rows[0]
    names = ", ".join(row.name for row in _rows(connection, agent)) or "none"
    return FaultError(
        FaultKind.UNKNOWN_SCHEDULE, f"agent {agent!r} has no schedule {name[:64]!r}; it has in effect: {names}"
    )


def _rows(connection: Connection, agent: str | None = None, name: str | None = None) -> list[ScheduleRow]:
    return _found(connection, "rows", {"agent": agent, "name": name, "system": SYSTEM})


def _found(connection: Connection, query: str, values: Mapping[str, Any]) -> list[ScheduleRow]:
    return [
        ScheduleRow(**{**row, "paused": bool(row["paused"]), "waits": bool(row["waits"])})
        for row in _SQL.rows(connection, query, values)
    ]


def _next_due(connection: Connection) -> float:
    due: float | None = _SQL.rows(connection, "next_due", {})[0]["due"]
    return FOREVER if due is None else due


def _given(value: Any) -> Any:
    return UNSET if value is None else value
