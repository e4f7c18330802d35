"""What agents have the hive tell them later. Each comes exactly once, over any end of the hive."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hyperhive.broker import notices as outbox
from hyperhive.broker.bucket import Buckets
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.due import BATCH, FOREVER, Due
from hyperhive.broker.inbox import rfc3339
from hyperhive.broker.notices import MAX_OWED, Notice, Notices
from hyperhive.broker.questions import BURST, PER_S, Party, keep_pace
from hyperhive.broker.sql import Queries, storable
from hyperhive.protocol.agent import MAX_REMINDER, MAX_REMINDERS
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Reminder

_SQL: Final = Queries("reminders")
SENDER: Final = "reminder"
MAX_AHEAD_S: Final = 366 * 86400


@dataclass(frozen=True, kw_only=True)
class ReminderRow:
    """Times are Unix seconds. `outcome` is empty while it is pending; then sent, cancelled or forgotten."""

    id: int
    mid: str | None
    agent: str
    incarnation: int
    message: str
    due_at: float
    created_at: float
    settled_at: float | None
    outcome: str

    def on_wire(self) -> Reminder:
        return Reminder(
            id=self.id, agent=self.agent, message=self.message, due_at=rfc3339(self.due_at),
            created_at=rfc3339(self.created_at),
        )  # fmt: skip


class Reminders:
    """The `reminders` table and its timer.

    `open` once before use, `close` ends the timer. `on_change` is called with every reminder that was set or settled,
    after the commit; it may be set at any time and must not block.
    """

    def __init__(self, database: Database, notices: Notices, clock: Clock | None = None) -> None:
        self.on_change: Callable[[ReminderRow], None] = lambda _row: None
        self._database = database
        self._notices = notices
        self._clock = clock or SystemClock()
        self._due = Due(self._clock, self._come_due)
        self._pace = Buckets(PER_S, BURST)

    async def open(self) -> None:
        """Expect what is pending; what fell due while the hive was away comes now."""
        self._due.expect(await self._database.read(_next_due))

    def close(self) -> None:
        self._due.close()

    async def remind(self, agent: Party, message: str, due_at: float, mid: str | None = None) -> ReminderRow:
        """Send the message to this life of the agent at that time (Unix seconds), or at once if it has passed.

        The same `mid` again gives the first. Raises FaultError: `body_too_long`, `invalid_params`, `too_fast`;
        `wrong_state` when too many are pending; `inbox_full` when the hive owes the agent too much already.
        """
        now = self._clock.now()
        text = storable(message)
        _check(text, due_at, now)
        keep_pace(self._pace, agent, self._clock)
        values = {
            "mid": mid, "agent": agent.name, "incarnation": agent.incarnation, "message": text, "due_at": due_at,
            "now": now,
        }  # fmt: skip
        row, _ = await self._database.write(lambda connection: _remind(connection, values), self._set)
        return row

    async def pending(self, agent: str | None = None) -> list[ReminderRow]:
        """Of one agent or all, soonest first."""
        return await self._database.read(lambda connection: _rows(connection, "pending", {"agent": agent}))

    async def counts(self) -> dict[str, int]:
        """How many are pending of each agent that has any."""
        found = await self._database.read(lambda connection: _SQL.rows(connection, "counts", {}))
        return {row["agent"]: row["pending"] for row in found}

    async def cancel(self, id: int, *, agent: str | None) -> ReminderRow:
        """Take a pending one back: as the agent that set it, or None for anyone's.

        Raises FaultError: `unknown_reminder`, `wrong_state`.
        """
        values = {"id": id, "agent": agent, "now": self._clock.now()}

        def cancel(connection: Connection) -> list[ReminderRow] | FaultError:
            return _rows(connection, "cancel", values) or _refusal(connection, values)

        return (await self._database.write(cancel, self._tell))[0]

    async def forget(self, name: str, incarnation: int) -> list[ReminderRow]:
        """That life of the agent is over, and so is what it had set."""
        self._pace.forget(Party(name=name, incarnation=incarnation))
        values = {"agent": name, "incarnation": incarnation, "now": self._clock.now()}
        return await self._database.write(lambda connection: _rows(connection, "forget", values), self._tell)

    async def vacuum(self, before: float) -> int:
        """Delete what was settled before that time (Unix seconds); how many went."""
        return await self._database.write(
            lambda connection: connection.execute(_SQL["vacuum"], {"before": before}).rowcount
        )

    def _come_due(self, now: float) -> "asyncio.Future[float]":
        sent: list[ReminderRow] = []

        def settle(connection: Connection) -> float:
            sent[:] = _send_due(connection, now)
            return _next_due(connection)

        return self._database.write(settle, lambda _: self._sent(sent))

    def _set(self, remembered: tuple[ReminderRow, bool]) -> None:
        row, new = remembered
        if new:
            self._due.expect(row.due_at)
            self._tell([row])

    def _sent(self, rows: list[ReminderRow]) -> None:
        self._notices.wake()
        self._tell(rows)

    def _tell(self, rows: list[ReminderRow]) -> None:
        for row in rows:
            self.on_change(row)


def _check(text: str, due_at: float, now: float) -> None:
    size = len(text.encode())
    if size > MAX_REMINDER:
        raise FaultError(
            FaultKind.BODY_TOO_LONG,
            f"cannot set the reminder: its text has {size} bytes, a reminder takes {MAX_REMINDER}; "
            "write it to a file under /state and name that file",
        )
    if not due_at <= now + MAX_AHEAD_S:
        raise FaultError(
            FaultKind.INVALID_PARAMS, f"cannot set the reminder: it can be {MAX_AHEAD_S // 86400} days ahead at most"
        )


# in a transaction


def _rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[ReminderRow]:
    return [ReminderRow(**row) for row in _SQL.rows(connection, query, values)]


def _remind(connection: Connection, values: Mapping[str, Any]) -> tuple[ReminderRow, bool] | FaultError:
    if first := _rows(connection, "first", values):
        return first[0], False
    pending = _SQL.rows(connection, "count_pending", values)[0]["pending"]
    if pending >= MAX_REMINDERS:
        return FaultError(
            FaultKind.WRONG_STATE, f"cannot set the reminder: {pending} are pending, that is the most; cancel some"
        )
    if outbox.owed(connection, values["agent"]) >= MAX_OWED:
        return FaultError(
            FaultKind.INBOX_FULL, "cannot set the reminder: too much waits for your inbox; handle some mail first"
        )
    return _rows(connection, "remind", values)[0], True


def _send_due(connection: Connection, now: float) -> list[ReminderRow]:
    """Settle some of what is due, soonest first, and owe their messages."""
    settled = sorted(_rows(connection, "come_due", {"now": now, "limit": BATCH}), key=lambda row: (row.due_at, row.id))
    for row in settled:
        notice = Notice(recipient=row.agent, incarnation=row.incarnation, sender=SENDER, body=row.message)
        outbox.put(connection, notice, now)
    return settled


def _refusal(connection: Connection, values: Mapping[str, Any]) -> FaultError:
    number = values["id"]
    there = _rows(connection, "get", {"id": number})
    if not there or values["agent"] not in (None, there[0].agent):
        return FaultError(FaultKind.UNKNOWN_REMINDER, f"cannot cancel reminder {number}: you have none with this id")
    return FaultError(FaultKind.WRONG_STATE, f"cannot cancel reminder {number}: it was {there[0].outcome} already")


def _next_due(connection: Connection) -> float:
    due: float | None = _SQL.rows(connection, "next_due", {})[0]["due"]
    return FOREVER if due is None else due
