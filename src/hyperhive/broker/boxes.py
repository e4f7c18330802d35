"""The recipients and who waits for their mail, as the event loop knows them."""

import asyncio
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from hyperhive.broker.bucket import Bucket
from hyperhive.broker.clock import Clock, Timer
from hyperhive.broker.leases import Holder
from hyperhive.broker.letters import Limits
from hyperhive.protocol.agent import Envelope, Received
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import EVERYONE, OPERATOR, RESERVED, closest

_FOREVER: Final = float("inf")
_NOTHING: Final = Received()


class Waiter:
    """One `recv`. `leasing` while the writer looks for mail for it, parked otherwise; gone once its future is done."""

    __slots__ = (
        "box", "claims", "deadline", "future", "given", "holder", "leasing", "max", "news", "terms", "tick", "timer",
        "unread",
    )  # fmt: skip

    def __init__(
        self, future: "asyncio.Future[Received]", box: "Box", holder: Holder, limit: int, until: float
    ) -> None:
        self.future = future
        self.box = box
        self.holder = holder
        self.max = limit
        self.deadline = until
        self.leasing = False
        self.news = 0  #: the box's when the writer was asked
        self.terms = 0  #: the box's when the writer was asked
        self.unread = 0
        self.claims = 0  #: messages on their way to it that are not stored yet
        self.tick = 0  #: in which they are written
        self.given: list[Envelope] = []  #: those of them that were stored as leased to it
        self.timer: Timer | None = None

    def park(self, clock: Clock, give_up: Callable[["Waiter"], None]) -> None:
        if self.timer is None:
            self.timer = clock.call_later(self.deadline - clock.monotonic(), functools.partial(give_up, self))
            self.future.add_done_callback(self._left)

    def finish(self, received: Received = _NOTHING) -> None:
        """Answer, unless it was answered or given up."""
        if self.timer is not None:
            self.timer.cancel()
        if self in self.box.waiters:
            self.box.waiters.remove(self)
        if not self.future.done():
            self.future.set_result(received)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
        self.finish()

    def _left(self, _future: "asyncio.Future[Received]") -> None:
        self.finish()


class Box:
    """One recipient."""

    def __init__(self, name: str, incarnation: int, bucket: Bucket) -> None:
        self.name = name
        self.incarnation = incarnation
        self.bucket = bucket
        self.number = 0  #: the last epoch that was begun
        self.epoch: int | None = None  #: the one that counts; None until one was begun, and when beginning one failed
        self.boot_id = ""
        self.terms = 0  #: how often an epoch was begun or continued in this process
        self.news = 0  #: how often mail has come that a waiter might take
        self.held = False
        self.canary = ""  #: the mark of one that nobody was given yet
        self.holding = False  #: it may have leases
        self.deadline = _FOREVER  #: of its leases, monotonic
        self.waiters: list[Waiter] = []

    def holder(self, epoch: int) -> Holder:
        return Holder(self.name, self.incarnation, epoch)

    def take_canary(self) -> str:
        """Its mark, for the one who is answered now; empty when there is none or nothing may be given out."""
        canary = "" if self.held else self.canary
        if canary:
            self.canary = ""
        return canary

    def parked(self) -> Waiter | None:
        """The one who has waited longest."""
        for waiter in self.waiters:
            if not waiter.leasing:
                return waiter
        return None

    def check_epoch(self, epoch: int) -> None:
        if self.epoch != epoch:
            raise FaultError(
                FaultKind.STALE_EPOCH,
                f"epoch {epoch} of {self.name!r} is over: another harness took over; say hello again to begin anew",
            )


class Boxes:
    """All of them, by name. The operator's is always there once the mailbox is open."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_name: dict[str, Box] = {}
        self.get = self._by_name.get
        self.pop = self._by_name.pop

    def __iter__(self) -> Iterator[Box]:
        return iter(self._by_name.values())

    @property
    def agents(self) -> list[str]:
        return sorted(name for name in self._by_name if name != OPERATOR)

    def add(self, name: str, incarnation: int, number: int) -> Box:
        """A new one, whose last epoch was `number`."""
        box = Box(name, incarnation, Bucket(self._limits.sends_per_second, self._limits.burst))
        box.number = number
        self._by_name[name] = box
        return box

    def require(self, name: str) -> Box:
        box = self._by_name.get(name)
        if box is None:
            raise FaultError(
                FaultKind.UNKNOWN_AGENT, f"unknown agent {name[:64]!r}: {closest(name[:64], self.agents)}"
            )
        return box

    def sender(self, name: str) -> Box | None:
        """None for the hive itself, under any of the names that no agent can have."""
        box = self._by_name.get(name)
        return self.require(name) if box is None and name not in RESERVED else box

    def addresses(self, to: str, sender: str, among: Iterable[str] | None) -> Sequence[tuple[str, int]]:
        """Name and incarnation of each whom a message so addressed reaches."""
        if to != EVERYONE:
            box = self._by_name.get(to)
            return () if box is None else ((to, box.incarnation),)
        return [
            (name, self._by_name[name].incarnation)
            for name in self.agents
            if name != sender and (among is None or name in among)
        ]
