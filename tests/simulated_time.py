"""A process whose time leaps ahead whenever nothing happens in it: hours of waiting pass in a minute.

`install` before anything else is imported that may keep `time.time` or `time.monotonic`: both then run as ever, plus
the leaps. A leap is made when the event loop has waited for a moment and nothing has come in; it ends at the next
timer, and is bounded, so that what another thread is at (a commit, mostly) is overtaken by seconds at most.
"""

import asyncio
import contextlib
import selectors
import time
from collections.abc import Iterator
from typing import Any, Final

QUIET_S: Final = 0.001
LEAP_S: Final = 1.0

_ahead = 0.0
_held = 0


def install() -> None:
    real_time, real_monotonic = time.time, time.monotonic
    time.time = lambda: real_time() + _ahead
    time.monotonic = lambda: real_monotonic() + _ahead


@contextlib.contextmanager
def held() -> Iterator[None]:
    """No leaps: while what is waited for happens in other processes."""
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1


class LeapingSelector(selectors.EpollSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        global _ahead
        if _held or timeout is None or timeout <= QUIET_S:
            return super().select(timeout)
        found = super().select(QUIET_S)
        if not found:
            _ahead += min(timeout - QUIET_S, LEAP_S)
        return found


def loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(LeapingSelector())
