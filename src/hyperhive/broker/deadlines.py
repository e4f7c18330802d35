"""When a silent harness loses its leases, and when a backed-off message may be tried again: one timer for both."""

import asyncio
from collections.abc import Callable
from typing import Final

from hyperhive.broker.boxes import Box, Boxes
from hyperhive.broker.clock import Clock, Timer
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.leases import Return
from hyperhive.broker.ledger import Ledger
from hyperhive.broker.letters import Limits
from hyperhive.broker.sql import Queries
from hyperhive.protocol.faults import FaultError

_SQL: Final = Queries("mailbox")
_FOREVER: Final = float("inf")
_TRY_AGAIN_S: Final = 5


class Alarm:
    """Rings once at the earliest of the monotonic times it was set to."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._at = _FOREVER
        self._timer: Timer | None = None

    def set(self, at: float) -> None:
        if at >= self._at:
            return
        self.cancel()
        self._at = at
        self._timer = self._clock.call_later(max(0.0, at - self._clock.monotonic()), self._fire)

    def cancel(self) -> None:
        self._at = _FOREVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._at, self._timer = _FOREVER, None
        self._ring()


class Deadlines:
    """A lease's deadline belongs to the harness, not to the message: one heartbeat renews all it holds.

    It lives in this process alone. A hive that restarts begins it anew for everyone, so its own absence, or the
    machine's sleep, takes no turn from a harness that is at work.
    """

    def __init__(self, database: Database, ledger: Ledger, boxes: Boxes, clock: Clock, limits: Limits) -> None:
        self.on_due: Callable[[Box], None] = lambda _box: None
        self._database = database
        self._ledger = ledger
        self._boxes = boxes
        self._clock = clock
        self._lease_s = limits.lease_s
        self._due = _FOREVER  # Unix seconds
        self._alarm = Alarm(clock, self._ring)
        self._coming_due: asyncio.Future[None] | None = None

    def renew(self, box: Box) -> None:
        """The harness has shown that it lives."""
        box.deadline = self._clock.monotonic() + self._lease_s
        if box.holding:
            self._alarm.set(box.deadline)

    def expect(self, due: float) -> None:
        """A message may be tried again then (Unix seconds)."""
        self._due = min(self._due, due)
        self._alarm.set(self._clock.monotonic() + max(0.0, self._due - self._clock.now()))

    async def restore(self) -> None:
        """Expect what was backed off before this process began."""
        self.expect(await self._database.read(_next_due))

    def close(self) -> None:
        self._alarm.cancel()
        self._due = _FOREVER

    def _ring(self) -> None:
        now = self._clock.monotonic()
        for box in self._boxes:
            if box.holding and box.deadline <= now:
                self._expire(box)
            elif box.holding:
                self._alarm.set(box.deadline)
        if self._due <= self._clock.now():
            self._due = _FOREVER
            self._coming_due = asyncio.ensure_future(self._come_due())
        elif self._due < _FOREVER:
            self.expect(self._due)

    def _expire(self, box: Box) -> None:
        box.holding = False
        wanted = Return(
            name=box.name, incarnation=box.incarnation, up_to=box.number, now=self._clock.now(),
            note=f"its harness was silent for {self._lease_s:g} s", counted=True, unread_too=True,
        )  # fmt: skip
        self._ledger.insist(wanted, again=lambda: self._look_again(box))

    def _look_again(self, box: Box) -> None:
        """What was to expire could not be stored, and the harness may have shown meanwhile that it lives."""
        box.holding = True
        self._alarm.set(box.deadline)

    async def _come_due(self) -> None:
        now = self._clock.now()
        try:
            names, due = await self._database.write(lambda connection: _come_due(connection, now))
        except FaultError:
            if not self._database.closed:
                self.expect(now + _TRY_AGAIN_S)
            return
        for name in names:
            if box := self._boxes.get(name):
                self.on_due(box)
        self.expect(due)


def _come_due(connection: Connection, now: float) -> tuple[list[str], float]:
    rows = connection.execute(_SQL["come_due"], {"now": now}).fetchall()
    return sorted({row[0] for row in rows}), _next_due(connection)


def _next_due(connection: Connection) -> float:
    due: float | None = connection.execute(_SQL["next_due"]).fetchone()[0]
    return _FOREVER if due is None else due
