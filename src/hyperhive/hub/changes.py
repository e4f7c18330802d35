"""Which agents have changed, for those who show them."""

import asyncio
from collections.abc import AsyncIterator


class Changes:
    """Tells every subscriber the names of changed agents. A slow subscriber gets each name once, not every change."""

    def __init__(self) -> None:
        self._subscribers: set[_Subscriber] = set()

    def publish(self, name: str) -> None:
        for subscriber in self._subscribers:
            subscriber.names[name] = None
            subscriber.woken.set()

    async def subscribe(self) -> AsyncIterator[list[str]]:
        """Batches of names in the order of their first change since the last batch; ends when closed."""
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)
        try:
            while True:
                await subscriber.woken.wait()
                subscriber.woken.clear()
                names, subscriber.names = list(subscriber.names), {}
                yield names
        finally:
            self._subscribers.discard(subscriber)


class _Subscriber:
    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.woken = asyncio.Event()
