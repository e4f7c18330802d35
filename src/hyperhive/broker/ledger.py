"""Writes that change messages: the commit first, then everyone is told."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from hyperhive.broker.clock import Clock
from hyperhive.broker.database import Change, Connection, Database
from hyperhive.broker.leases import Leases, Return
from hyperhive.broker.letters import Limits, MailChange
from hyperhive.broker.posting import Postbox, Posted, Posting
from hyperhive.protocol.faults import FaultError

A = TypeVar("A")
T = TypeVar("T")
Changed = tuple[T, list[MailChange]]
"""What a write answers, and what it changed."""

_TRY_AGAIN_S: Final = 5


class Ledger:
    """Queues writes and publishes their changes, in the order of the commits."""

    def __init__(self, database: Database, clock: Clock, limits: Limits) -> None:
        self.tell: Callable[[MailChange], None] = lambda _change: None
        self.leases = Leases(Postbox(limits), limits)
        self._database = database
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        leases = self.leases
        self._post = Change(apply=leases.postbox.post, first=True)
        self.lease = Change(apply=leases.lease)
        self.ack = Change(apply=leases.ack)
        self.read = Change(apply=leases.read)
        self.give_back = Change(apply=leases.give_back)

    @property
    def tick(self) -> int:
        """The same for writes that will most likely share a commit."""
        return self._database.tick

    def post(self, posting: Posting, settle: Callable[[Posted | Exception], None]) -> None:
        """Store a message. It is inserted ahead of whatever else waits for the same commit."""
        size = len(posting.draft.body) * len(posting.to)
        self._database.submit(self._post, posting, settle, size)

    def submit(self, change: Change[A, Changed[T]], item: A, settle: Callable[[Changed[T] | Exception], None]) -> None:
        """Without publishing: `settle` does that, by `publish`."""
        self._database.submit(change, item, settle)

    def do(self, change: Change[A, Changed[T]], item: A) -> "asyncio.Future[T]":
        """The future is the answer, after the commit."""
        future: asyncio.Future[T] = self._loop.create_future()

        def settle(result: Changed[T] | Exception) -> None:
            if not isinstance(result, Exception):
                if not future.done():
                    future.set_result(result[0])
                self.publish(result[1])
            elif not future.done():
                future.set_exception(result)

        self._database.submit(change, item, settle)
        return future

    async def transact(self, function: Callable[[Connection], Changed[T] | FaultError]) -> T:
        """`do` for what is too rare to have a kind of its own."""
        change = cast("Change[Callable[[Connection], Any], Changed[T]]", _TRANSACTION)
        return await self.do(change, function)

    def insist(self, wanted: Return, again: Callable[[], None] | None = None) -> None:
        """Give back; after whatever kept it from being stored, try once more later, or call `again` then.

        Never raises. By the time of a second try there may be newer leases: say in `wanted` which epochs are meant.
        """

        def settle(result: Changed[object] | Exception) -> None:
            if not isinstance(result, Exception):
                self.publish(result[1])
                return
            self._clock.call_later(_TRY_AGAIN_S, again or (lambda: self.insist(wanted)))
            if not isinstance(result, FaultError):
                raise result  # a mistake of ours: the database tells the loop's exception handler

        try:
            self._database.submit(self.give_back, wanted, settle)
        except FaultError as fault:
            if not self._database.closed:
                settle(fault)

    def publish(self, changes: list[MailChange]) -> None:
        for change in changes:
            self.tell(change)


_TRANSACTION: Final[Change[Callable[[Connection], Any], Any]] = Change(
    apply=lambda connection, functions: [function(connection) for function in functions]
)
