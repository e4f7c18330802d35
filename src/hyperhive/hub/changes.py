"""Which things have changed, by name, for those who show them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator


class Changes:
    """Tells every subscriber the names of what changed. A slow one gets each name once, not every change."""

    def __init__(self) -> None:
        self._subscribers: set[Subscription] = set()

    def publish(self, name: str) -> None:
        for subscription in self._subscribers:
            subscription.tell(name)

    @contextlib.contextmanager
    def subscribe(self) -> Iterator["Subscription"]:
        """All that changes from now on, until left."""
        subscription = Subscription()
        self._subscribers.add(subscription)
        try:
            yield subscription
        finally:
            self._subscribers.discard(subscription)


class Subscription:
    """Iterate over batches of names, in the order of their first change since the last batch; without an end."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._woken = asyncio.Event()

    def tell(self, name: str) -> None:
        self._names[name] = None
        self._woken.set()

    async def batch(self) -> list[str]:
        """What has changed since the last batch; waits for it."""
        await self._woken.wait()
        self._woken.clear()
        names, self._names = list(self._names), {}
        return names

    async def __aiter__(self) -> AsyncIterator[list[str]]:
        while True:
            yield await self.batch()
