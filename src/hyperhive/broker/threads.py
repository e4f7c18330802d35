"""Waiting for the next message of a conversation."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hyperhive.broker import inbox
from hyperhive.broker.clock import Clock
from hyperhive.broker.database import Database
from hyperhive.broker.letters import MailChange, MailChangeKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import InboxRow


@dataclass(frozen=True, kw_only=True, eq=False)
class _Watch:
    to: str
    after: int
    coming: "asyncio.Future[int]"  #: id of the message; 0 when there will be none

    def end(self, number: int = 0) -> None:
        if not self.coming.done():
            self.coming.set_result(number)


class Threads:
    """Who waits, by conversation."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._watches: defaultdict[int, list[_Watch]] = defaultdict(list)

    async def wait(self, after: int, to: str, timeout: float) -> InboxRow | None:
        """The first message to `to` behind the message `after` in its conversation, or None; `unknown_message`."""
        asked = await self._message(after)
        if asked is None:
            raise FaultError(FaultKind.UNKNOWN_MESSAGE, f"cannot wait for a reply to message {after}: there is none")
        thread = int(asked.thread or after)
        with self._watch(thread, to, after) as watch:  # first, so that nothing comes between looking and waiting
            look = lambda connection: inbox.next_in_thread(connection, thread, after, to)  # noqa: E731
            if there := await self._database.read(look):
                return there
            timer = self._clock.call_later(timeout, watch.end)
            try:
                number = await watch.coming
            finally:
                timer.cancel()
        return await self._message(number) if number else None

    def tell(self, change: MailChange) -> None:
        """A message has come; only one that was just sent can be anybody's reply."""
        if change.thread not in self._watches or change.kind is not MailChangeKind.SENT:
            return
        for watch in self._watches[change.thread]:
            if watch.to == change.recipient and watch.after < change.id:
                watch.end(change.id)

    def close(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.end()

    @contextmanager
    def _watch(self, thread: int, to: str, after: int) -> Iterator[_Watch]:
        watch = _Watch(to=to, after=after, coming=asyncio.get_running_loop().create_future())
        self._watches[thread].append(watch)
        try:
            yield watch
        finally:
            self._watches[thread].remove(watch)
            if not self._watches[thread]:
                del self._watches[thread]

    async def _message(self, number: int) -> InboxRow | None:
        return await self._database.read(lambda connection: inbox.message(connection, number))
