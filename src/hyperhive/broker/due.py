"""Rows that fall due at a time of the wall clock: one timer for the earliest, however many there are."""

import asyncio
from collections.abc import Callable
from typing import Final

from hyperhive.broker.clock import Clock
from hyperhive.broker.deadlines import Alarm
from hyperhive.protocol.faults import FaultError

FOREVER: Final = float("inf")
BATCH: Final = 100
"""Rows that one transaction settles."""
_TRY_AGAIN_S: Final = 5
_LONGEST_WAIT_S: Final = 600
"""By then it is noticed that the wall clock was set, or that the machine has slept."""


class Due:
    """Calls `settle(now)` when something is due; its result is when the next is (Unix seconds). Needs no task."""

    def __init__(self, clock: Clock, settle: "Callable[[float], asyncio.Future[float]]") -> None:
        self._clock = clock
        self._settle = settle
        self._alarm = Alarm(clock, self._ring)
        self._at = FOREVER
        self._closed = False

    def expect(self, at: float) -> None:
        """Something is due then, or FOREVER for nothing."""
        self._at = min(self._at, at)
        if self._at < FOREVER and not self._closed:
            wait = min(max(0.0, self._at - self._clock.now()), _LONGEST_WAIT_S)
            self._alarm.set(self._clock.monotonic() + wait)

    def close(self) -> None:
        self._closed = True
        self._alarm.cancel()

    def _ring(self) -> None:
        now = self._clock.now()
        if now < self._at:
            self.expect(self._at)
            return
        self._at = FOREVER
        try:
            self._settle(now).add_done_callback(self._settled)
        except FaultError:  # the database is overloaded or closed
            self.expect(now + _TRY_AGAIN_S)

    def _settled(self, settled: "asyncio.Future[float]") -> None:
        if settled.cancelled():
            return
        if error := settled.exception():
            self.expect(self._clock.now() + _TRY_AGAIN_S)
            if not isinstance(error, FaultError):
                raise error  # a mistake of ours: the loop's exception handler is told
        else:
            self.expect(settled.result())
