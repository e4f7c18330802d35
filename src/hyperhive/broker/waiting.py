"""`recv`: leasing at once, waiting, being woken. One future for each who waits; nobody polls."""

import asyncio
import functools
from collections.abc import Callable, Sequence

from hyperhive.broker.boxes import Box, Waiter
from hyperhive.broker.clock import Clock
from hyperhive.broker.deadlines import Deadlines
from hyperhive.broker.leases import Leased, LeaseOrder, Return
from hyperhive.broker.ledger import Changed, Ledger
from hyperhive.protocol.agent import Envelope, Received
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import OPERATOR


class Waiting:
    """Brings mail and those who wait for it together."""

    def __init__(self, ledger: Ledger, deadlines: Deadlines, clock: Clock) -> None:
        self.on_queued: Callable[[str], None] = lambda _agent: None
        self._ledger = ledger
        self._deadlines = deadlines
        self._clock = clock

    def recv(self, box: Box, epoch: int, wait_s: float, limit: int, ack: Sequence[int]) -> "asyncio.Future[Received]":
        received: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        waiter = Waiter(received, box, box.holder(epoch), limit, self._clock.monotonic() + wait_s)
        if wait_s > 0:
            box.waiters.append(waiter)
        self._seek(waiter, 0 if wait_s <= 0 or box.held else limit, ack)
        return received

    def wake(self, box: Box) -> None:
        """Mail is on its way to the box: who waits there longest shall have it in the same commit."""
        if not box.held and (waiter := box.parked()):
            self._seek(waiter, waiter.max)

    def claim(self, box: Box) -> Waiter | None:
        """Who shall have the message that is about to be posted; `hand_over` says what became of it.

        Messages that are posted in one tick go to one waiter, all together.
        """
        if box.held:
            return None
        tick = self._ledger.tick
        for waiter in box.waiters:
            if not waiter.leasing:
                waiter.leasing, waiter.claims, waiter.tick, waiter.given = True, 1, tick, []
                waiter.news, waiter.terms = box.news, box.terms
                return waiter
            if 0 < waiter.claims < waiter.max and waiter.tick == tick:
                waiter.claims += 1
                return waiter
        return None

    def hand_over(self, waiter: Waiter, message: Envelope | None) -> None:
        """The message was stored as leased to the waiter that was claimed for it; None when it was not."""
        if message is not None:
            waiter.given.append(message)
        waiter.claims -= 1
        if waiter.claims:
            return
        waiter.leasing = False
        if waiter.given:
            self._hold(waiter)
            self._settle(waiter, Leased(waiter.given, 0))
        else:
            self._seek(waiter, waiter.max)  # other mail may have come meanwhile

    def arrived(self, box: Box) -> None:
        """Mail that may be leased is there."""
        box.news += 1
        self.wake(box)
        if not box.waiters and box.name != OPERATOR:
            self.on_queued(box.name)

    def dismiss(self, box: Box) -> None:
        """Answer all who wait with nothing."""
        for waiter in list(box.waiters):
            waiter.finish(Received(unread=waiter.unread))

    def _seek(self, waiter: Waiter, limit: int, ack: Sequence[int] = ()) -> None:
        waiter.leasing = True
        waiter.news, waiter.terms = waiter.box.news, waiter.box.terms
        order = LeaseOrder(waiter.holder, limit, ack, self._clock.now())
        try:
            self._ledger.submit(self._ledger.lease, order, functools.partial(self._sought, waiter))
        except FaultError as fault:
            waiter.fail(fault)

    def _sought(self, waiter: Waiter, result: Changed[Leased] | Exception) -> None:
        waiter.leasing = False
        if isinstance(result, Exception):
            waiter.fail(result)
            return
        leased, changes = result
        waiter.unread = leased.unread
        if leased.messages:
            self._hold(waiter)
        self._settle(waiter, leased)
        self._ledger.publish(changes)

    def _hold(self, waiter: Waiter) -> None:
        waiter.box.holding = True
        self._deadlines.renew(waiter.box)

    def _settle(self, waiter: Waiter, leased: Leased) -> None:
        if waiter.future.done():
            waiter.finish()
            self._take_back(waiter, leased)
        elif waiter in waiter.box.waiters and (canary := waiter.box.take_canary()):
            waiter.finish(Received(messages=leased.messages, unread=leased.unread, canary=canary))
        elif leased.messages or waiter.deadline <= self._clock.monotonic():
            waiter.finish(Received(messages=leased.messages, unread=leased.unread))
        elif waiter.box.news != waiter.news and not waiter.box.held:
            self._seek(waiter, waiter.max)
        else:
            waiter.park(self._clock, self._give_up)

    def _give_up(self, waiter: Waiter) -> None:
        if not waiter.leasing:  # if it is, the writer's answer ends it
            waiter.finish(Received(unread=waiter.unread))

    def _take_back(self, waiter: Waiter, leased: Leased) -> None:
        """The waiter left while mail was leased to it. An epoch begun since then knows of the lease already."""
        if not leased.messages or waiter.box.terms != waiter.terms:
            return
        holder = waiter.holder
        ids = [message.id for message in leased.messages]
        note = "its harness hung up before the message arrived"
        self._ledger.insist(
            Return(
                name=holder.name, incarnation=holder.incarnation, epoch=holder.epoch, ids=ids,
                now=self._clock.now(), note=note,
            )
        )  # fmt: skip
