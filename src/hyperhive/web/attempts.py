"""How often somebody may try a link that does not open."""

import math
from typing import Final

from hyperhive.broker.clock import Clock, SystemClock

EVERY_S: Final = 6
"""One failure is forgotten after so long."""
BURST: Final = 10
"""Failures in a row, before it takes waiting."""
MOST: Final = 1024
"""Addresses that are remembered; then the one that came first is forgotten."""


class Attempts:
    """Failed ones, by the address they came from."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._forgotten_at: dict[str, float] = {}  #: when all failures of the address are

    def __len__(self) -> int:
        """Addresses that are remembered."""
        return len(self._forgotten_at)

    def wait_s(self, address: str) -> int:
        """Whole seconds until the address may try again; 0: now."""
        ahead = self._forgotten_at.get(address, 0.0) - self._clock.monotonic()
        return max(0, math.ceil(ahead - (BURST - 1) * EVERY_S))

    def failed(self, address: str) -> None:
        if address not in self._forgotten_at and len(self._forgotten_at) >= MOST:
            del self._forgotten_at[next(iter(self._forgotten_at))]
        self._forgotten_at[address] = max(self._forgotten_at.get(address, 0.0), self._clock.monotonic()) + EVERY_S
