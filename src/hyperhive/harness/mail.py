"""The agent's mail as the runner holds it: leased, read, and given back or acknowledged."""

import asyncio
import time
from collections.abc import Collection
from typing import Final

from hyperhive.harness.link import Link
from hyperhive.protocol import agent
from hyperhive.protocol.agent import MAX_WAIT_S, Ack, Envelope, Read, Received, Recv, Release, Welcome

MARGIN_S: Final = 30.0
"""On top of the wait that the hive was asked for, until the connection is taken for dead."""
SHORTEST_WAIT_S: Final = 0.001
"""What is asked for at least: a wait of 0 would only count the mail."""
PEEK_S: Final = 5.0
"""How long a reader that does not want to wait does so for the hive's answer."""
MAX_REASON: Final = 2000
MAX_IDS: Final = 1024
"""Messages of one call to the hive."""
MAX_BYTES: Final = 256 * 1024
"""Of bodies that come into a turn at once; one message always does."""


class Mail:
    """At most one lease call is under way. One that nobody waits for any more is taken over by the next reader, so
    that no message is handed out to nobody.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._leasing: asyncio.Task[Received] | None = None
        self._held: set[int] = set()
        self._doubtful: asyncio.Queue[list[int]] = asyncio.Queue()
        link.on_welcome.append(self._take_stock)

    async def run(self) -> None:
        """Give back what the hive says we hold and nobody here knows of, and what was abandoned."""
        while True:
            ids = await self._doubtful.get()
            lost = [i for i in ids if i not in self._held]
            if lost:
                await self.release(lost, failed=False, reason="it was leased, and lost before it reached a turn")

    async def receive(self, wait_s: float) -> Received:
        """Lease what has come in, waiting for the first message at most so long. They are held until settled."""
        if self._leasing is None:
            self._leasing = asyncio.create_task(self._lease(min(max(wait_s, SHORTEST_WAIT_S), MAX_WAIT_S)))
        leasing = self._leasing
        await asyncio.wait([leasing], timeout=wait_s + PEEK_S)
        if not leasing.done():
            return Received()
        if self._leasing is leasing:
            self._leasing = None
        return leasing.result()

    def close(self) -> None:
        """Lease nothing more. What a call under way may yet be given goes back when the hive ends our epoch."""
        if self._leasing is not None:
            self._leasing.cancel()

    async def read(self, ids: Collection[int], turn: str) -> None:
        """The messages have entered claude's context."""
        for some in _portions(ids):
            await self._link.insist(agent.READ, lambda epoch, some=some: Read(epoch=epoch, ids=some, turn=turn))  # type: ignore[misc]

    async def ack(self, ids: Collection[int]) -> list[int]:
        """The messages are handled. Gives those that were not ours any more: somebody may handle them again."""
        stale: list[int] = []
        for some in _portions(ids):
            settled = await self._link.insist(agent.ACK, lambda epoch, some=some: Ack(epoch=epoch, ids=some))  # type: ignore[misc]
            self._held.difference_update(some)
            stale += settled.stale
        return stale

    async def release(self, ids: Collection[int], *, failed: bool, reason: str) -> None:
        """The messages go back to the queue. `failed` counts the attempt."""
        why = reason[:MAX_REASON]
        for some in _portions(ids):
            await self._link.insist(
                agent.RELEASE,
                lambda epoch, some=some: Release(epoch=epoch, ids=some, failed=failed, reason=why),  # type: ignore[misc]
            )
            self._held.difference_update(some)

    async def release_all(self, reason: str) -> None:
        """All that is still held goes back unharmed."""
        await self.release(sorted(self._held), failed=False, reason=reason)

    def abandon(self, ids: Collection[int]) -> None:
        """Whoever had them is gone in the middle of it: they go back to the queue when the hive can be reached."""
        self._held.difference_update(ids)
        self._doubtful.put_nowait([*ids])

    async def _lease(self, wait_s: float) -> Received:
        received = await self._received(wait_s)
        fitting = _fitting(received.messages)
        self._held.update(m.id for m in fitting)
        rest = [m.id for m in received.messages[len(fitting) :]]
        await self.release(rest, failed=False, reason="the messages before it fill the turn")
        return Received(messages=fitting, unread=received.unread + len(rest))

    async def _received(self, wait_s: float) -> Received:
        """A canary goes back at once; whoever waits for mail goes on waiting."""
        until = time.monotonic() + wait_s
        while True:
            received = await self._link.insist(
                agent.RECV,
                lambda epoch, wait_s=wait_s: Recv(epoch=epoch, wait_seconds=wait_s),  # type: ignore[misc]
                answer_s=wait_s + MARGIN_S,
            )
            if not received.canary:
                return received
            mark = received.canary
            await self._link.insist(agent.ACK, lambda epoch, mark=mark: Ack(epoch=epoch, ids=[], canary=mark))  # type: ignore[misc]
            wait_s = until - time.monotonic()
            if received.messages or wait_s <= 0:
                return received

    def _take_stock(self, welcome: Welcome) -> None:
        if welcome.held:
            self._doubtful.put_nowait([*welcome.held])


def _portions(ids: Collection[int]) -> list[list[int]]:
    whole = [*ids]
    return [whole[start : start + MAX_IDS] for start in range(0, len(whole), MAX_IDS)]


def _fitting(messages: list[Envelope]) -> list[Envelope]:
    size = 0
    for count, message in enumerate(messages):
        size += len(message.body.encode())
        if count and size > MAX_BYTES:
            return messages[:count]
    return messages
