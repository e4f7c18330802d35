"""Messages that the hive owes: written with the change they tell of, then handed to the mailbox exactly once.

The row's number is the message's `mid`: whatever is handed over twice is stored once. Only then the row is deleted.
"""

import asyncio
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn

import msgspec
import structlog

from hyperhive.broker.clock import Clock, SystemClock, Timer
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.letters import Draft
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.sql import Queries, storable
from hyperhive.protocol.agent import MessageKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import SYSTEM

log = structlog.get_logger(__name__)

_SQL: Final = Queries("notices")
_PAGE: Final = 100
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0
_PASSING: Final = frozenset({FaultKind.INBOX_FULL, FaultKind.TOO_FAST, FaultKind.STORAGE, FaultKind.UNAVAILABLE})
MAX_OWED: Final = 1_000
"""Notices to one recipient that what agents do may add to."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A message from the hive. With an `incarnation` it is for that life of the recipient alone."""

    recipient: str
    body: str
    sender: str = SYSTEM
    incarnation: int | None = None


def put(connection: Connection, notice: Notice, now: float) -> int:
    """Owe it, within a transaction of others; its number. Wake the `Notices` after the commit."""
    values = {**asdict(notice), "body": storable(notice.body), "now": now}
    number: int = _SQL.rows(connection, "put", values)[0]["id"]
    return number


def owed(connection: Connection, recipient: str) -> int:
    """How many wait for the recipient's inbox."""
    count: int = _SQL.rows(connection, "count_owed", {"recipient": recipient})[0]["owed"]
    return count


class Notices:
    """Delivers while `run` runs: what is there at the start, and then whenever it is woken."""

    def __init__(self, database: Database, mailbox: Mailbox, clock: Clock | None = None) -> None:
        self._database = database
        self._mailbox = mailbox
        self._clock = clock or SystemClock()
        self._news = asyncio.Event()
        self._wait_s = _FIRST_WAIT_S

    def wake(self) -> None:
        """There may be something to deliver."""
        self._news.set()

    async def add(self, notice: Notice) -> None:
        """Owe a message that tells of no change in the database."""
        now = self._clock.now()
        await self._database.write(lambda connection: put(connection, notice, now), lambda _: self.wake())

    async def run(self) -> NoReturn:
        """Deliver, each recipient's in order, until cancelled. What cannot be taken now is tried again, ever later."""
        timer: Timer | None = None
        try:
            while True:
                self._news.clear()
                left = await self._round()
                timer = self._clock.call_later(self._next_wait(), self.wake) if left else None
                await self._news.wait()
                if timer is not None:
                    timer.cancel()
        finally:
            if timer is not None:
                timer.cancel()

    def _next_wait(self) -> float:
        wait, self._wait_s = self._wait_s, min(2 * self._wait_s, _LONGEST_WAIT_S)
        return wait

    async def _round(self) -> bool:
        """Deliver all that can be; whether something is left."""
        stuck: set[str] = set()
        after = 0
        try:
            while page := await self._page(after, stuck):
                for row in page:
                    await self._hand_over(row, stuck)
                after = page[-1]["id"]
        except FaultError as fault:
            log.warning("notices are kept", reason=fault.message)
            return True
        return bool(stuck)

    async def _page(self, after: int, stuck: set[str]) -> list[dict[str, Any]]:
        values = {"after": after, "stuck": msgspec.json.encode(sorted(stuck)).decode(), "limit": _PAGE}
        return await self._database.read(lambda connection: _SQL.rows(connection, "owed", values))

    async def _hand_over(self, row: dict[str, Any], stuck: set[str]) -> None:
        """Into the inbox and out of the table; one who cannot take it now joins the stuck."""
        number, recipient = row["id"], row["recipient"]
        if recipient in stuck:
            return
        try:
            await self._send(
                number, Notice(**{key: row[key] for key in ("recipient", "incarnation", "sender", "body")})
            )
            self._wait_s = _FIRST_WAIT_S
        except FaultError as fault:
            if fault.kind in _PASSING:
                stuck.add(recipient)
                return
            log.debug("a notice is dropped", recipient=recipient, reason=fault.message)
        await self._database.write(lambda connection: connection.execute(_SQL["settle"], {"id": number}).rowcount)

    async def _send(self, number: int, notice: Notice) -> None:
        present = self._mailbox.incarnation(notice.recipient)
        if notice.incarnation is not None and notice.incarnation != present:
            raise FaultError(
                FaultKind.UNKNOWN_RECIPIENT, f"{notice.recipient!r} is not the one that it was meant for any more"
            )
        await self._mailbox.send(
            Draft(
                sender=notice.sender, kind=MessageKind.SYSTEM, to=notice.recipient, body=notice.body,
                mid=f"notice-{number}",
            )
        )  # fmt: skip
