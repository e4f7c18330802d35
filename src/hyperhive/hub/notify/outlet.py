"""One target: what it is still to be told, and how it went."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec import UNSET

from hyperhive.broker.bucket import Bucket
from hyperhive.broker.clock import Clock
from hyperhive.broker.inbox import rfc3339
from hyperhive.config.notify import Target
from hyperhive.hub.notify.words import News, notification
from hyperhive.protocol import host
from hyperhive.protocol.notify import NotifyKind

COLLECT_S: Final = 3.0
"""What comes within it is one message."""
MESSAGES_PER_S: Final = 1 / 60
BURST: Final = 5
"""Messages to one target: so many at once, then one a minute. What comes meanwhile is one message later."""
AGAIN_S: Final = (5.0, 30.0, 120.0, 600.0)
"""Waits before what failed is tried again; after the last one it is given up."""
MAX_WAITING: Final = 50
"""Things kept for one target; of those beyond it is told only how many there were."""

Send = Callable[[Target, str, str], Awaitable[str]]
"""Hands a title and a body to a target; what went wrong, or nothing. Returns in a bounded time and never raises."""

log = structlog.get_logger(__name__)


class Outlet:
    """`run` tells the target what it was given, until cancelled. What it has not told then is lost."""

    def __init__(self, target: Target, send: Send, url: Callable[[], str], clock: Clock) -> None:
        self.target = target
        self._send = send
        self._url = url
        self._clock = clock
        self._bucket = Bucket(MESSAGES_PER_S, BURST)
        self._waiting: deque[News] = deque()
        self._more = 0
        self._under_way = 0
        self._news = asyncio.Event()
        self._sent = self._given_up = 0
        self._sent_at = self._failed_at = 0.0
        self._error = ""

    def wants(self, kind: NotifyKind) -> bool:
        return kind in self.target.is_for

    def tell(self, news: News) -> None:
        """If it is of a kind that the target is for."""
        if not self.wants(news.kind):
            return
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(news)
        else:
            self._more += 1
        self._news.set()

    async def run(self) -> None:
        while True:
            await self._news.wait()
            await self._pause(COLLECT_S)
            while wait := self._bucket.take(self._clock.monotonic()):
                await self._pause(wait)
            news, more = list(self._waiting), self._more
            self._waiting.clear()
            self._more = 0
            self._news.clear()
            self._under_way = len(news) + more
            await self._deliver(*notification(news, more, self._url()))
            self._under_way = 0

    async def test(self) -> str:
        """Send a message that says it is a test; what went wrong, or nothing."""
        return await self._try("hyperhive: a test", "This target works: the hive can tell you here.")

    def on_wire(self) -> host.NotifyTarget:
        return host.NotifyTarget(
            name=self.target.name, url=self.target.shown, kinds=list(self.target.is_for),
            waiting=len(self._waiting) + self._more + self._under_way, sent=self._sent, given_up=self._given_up,
            sent_at=rfc3339(self._sent_at) if self._sent_at else UNSET,
            error=self._error or UNSET, error_at=rfc3339(self._failed_at) if self._error else UNSET,
        )  # fmt: skip

    async def _deliver(self, title: str, body: str) -> None:
        error = await self._try(title, body)
        for wait in AGAIN_S:
            if not error:
                return
            await self._pause(wait)
            error = await self._try(title, body)
        if error:
            self._given_up += self._under_way
            log.warning("a notification was given up", target=self.target.name, reason=error)

    async def _try(self, title: str, body: str) -> str:
        error = await self._send(self.target, title, body)
        if error:
            self._failed_at = self._clock.now()
        else:
            self._sent += 1
            self._sent_at = self._clock.now()
        self._error = error
        return error

    async def _pause(self, seconds: float) -> None:
        over = asyncio.Event()
        timer = self._clock.call_later(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()
