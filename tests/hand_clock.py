"""A clock that stands still until a test moves it."""

import heapq
import itertools
from collections.abc import Callable


class HandTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class HandClock:
    """Times only pass in `advance`, which calls what falls due on the way. Both of its times run alike."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._start = start
        self._passed = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, HandTimer]] = []

    def now(self) -> float:
        return self._start + self._passed

    def monotonic(self) -> float:
        return self._passed

    @property
    def waits(self) -> int:
        """How many timers run."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def call_later(self, delay: float, callback: Callable[[], None]) -> HandTimer:
        timer = HandTimer(callback)
        heapq.heappush(self._timers, (self._passed + max(0.0, delay), next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        until = self._passed + seconds
        while self._timers and self._timers[0][0] <= until:
            self._passed, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self._passed = until
