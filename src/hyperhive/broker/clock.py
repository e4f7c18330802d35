"""What time it is, and being called later: injected, so that tests move it by hand."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    def now(self) -> float:
        """Unix seconds, for what people and databases see."""
        ...

    def monotonic(self) -> float:
        """Seconds that run only while the machine is awake and never jump: for deadlines within this process."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once, `delay` monotonic seconds from now, on the running loop."""
        ...


class SystemClock:
    """The real one."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)
