"""The recipients, as the event loop knows them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from hyperhive.broker.leases import Holder
from hyperhive.broker.letters import Limits
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import EVERYONE, OPERATOR, RESERVED, closest

if TYPE_CHECKING:
    from hyperhive.broker.waiting import Waiter

_FOREVER: Final = float("inf")


class Bucket:
    """A sender's rate: `rate` per second, after a burst."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens: float = burst
        self._since = 0.0

    def take(self, now: float) -> float:
        """Take one; the result is 0, or the seconds until there is one to take."""
        self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
        self._since = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


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
        self.holding = False  #: it may have leases
        self.deadline = _FOREVER  #: of its leases, monotonic
        self.waiters: list[Waiter] = []

    def holder(self, epoch: int) -> Holder:
        return Holder(self.name, self.incarnation, epoch)

    def parked(self) -> "Waiter | None":
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
