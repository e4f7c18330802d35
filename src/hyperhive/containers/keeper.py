"""Who keeps containers: starts, watches, stops and finds them again, whatever way they are made.

The hub knows nothing else of a backend. `runtime` is the one that starts containers itself, through the launcher; a
backend whose containers are units of somebody else's keeps them by asking for it.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hyperhive.containers.backend import Finding
from hyperhive.containers.spec import ContainerSpec
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How a container ended. `status` and `signal` are both None when nobody saw it."""

    status: int | None = None
    signal: int | None = None
    oom: bool = False  #: the kernel killed a process in it for want of memory


class LogUnit(StrEnum):
    """Whose words a log has."""

    HARNESS = "harness"  #: the harness's and what it starts, where that is a service among others
    CONTAINER = "container"  #: everybody's; where there is a service manager, its journal


class Life(Protocol):
    """A container that was started or adopted, until its end."""

    @property
    def name(self) -> str: ...

    @property
    def is_over(self) -> bool: ...

    async def wait(self) -> Exit:
        """How it ended; by then none of its processes is left. Any number may wait, at any time.

        Raises CancelledError when its keeper is closed while the container runs on.
        """
        ...


class Keeper(ABC):
    """All containers of one hive that are of one kind. Call `adopt` first and `close` last."""

    @property
    @abstractmethod
    def kind(self) -> BackendKind: ...

    @abstractmethod
    async def adopt(self) -> Sequence[Life]:
        """Takes over what an earlier hive started, once, before any start.

        Containers that ended while no hive was there are among them; their `wait` returns at once.
        """

    @abstractmethod
    def check_name(self, name: str) -> None:
        """Raises FaultError (`bad_name`) for a container that such a keeper cannot make, because of its name."""

    @abstractmethod
    async def start(self, spec: ContainerSpec) -> Life:
        """Returns when the first process of the container runs.

        Whatever an earlier life of that name left is ended and cleared away first. Raises FaultError: `wrong_state`
        when it runs already, `backend` when it cannot be made (with its last words and what to do).
        """

    @abstractmethod
    async def stop(self, name: str, *, grace_s: float = 10.0) -> Exit | None:
        """Asks it to end, after `grace_s` makes it; None when no such container runs."""

    @abstractmethod
    async def kill(self, name: str) -> Exit | None:
        """Ends all its processes at once; None when no such container runs."""

    @abstractmethod
    def running(self, name: str) -> Life | None: ...

    @abstractmethod
    def enter_argv(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> tuple[str, ...]:
        """What the operator's shell executes on the host to run `argv` inside, under the container's own limits.

        Raises FaultError (`wrong_state`) when it does not run.
        """

    @abstractmethod
    async def units(self, name: str) -> tuple[LogUnit, ...]:
        """Whose logs there are of that container; the one that is shown unless asked otherwise comes first."""

    @abstractmethod
    async def logs(self, name: str, *, lines: int = 200, unit: LogUnit | None = None, boot: bool = False) -> list[str]:
        """The newest lines, at most 5000, also of a container that has ended; with `boot` of its latest life alone.
        Without a unit it is the first of `units`.

        Hostile text. Raises FaultError (`wrong_state`) for a unit that it has no log of.
        """

    @abstractmethod
    def follow_logs(
        self, name: str, *, lines: int = 200, unit: LogUnit | None = None, boot: bool = False
    ) -> AsyncGenerator[str]:
        """The same, and then each line as it is written, until the caller stops asking."""

    @abstractmethod
    async def written(self, name: str) -> int:
        """Bytes that its processes have written to disks so far, as far as the kernel counts that; it may fall."""

    @abstractmethod
    async def erase(self, name: str) -> None:
        """Forgets a container that does not run, its logs included."""

    @abstractmethod
    def findings(self) -> tuple[Finding, ...]:
        """What `hive doctor` shows about such containers on this host."""

    @abstractmethod
    async def close(self) -> None:
        """Stops watching; containers run on."""


def no_such_log(name: str, unit: str, there: Sequence[LogUnit]) -> FaultError:
    listed = ", ".join(there)
    return FaultError(FaultKind.WRONG_STATE, f"there is no log of {unit!r} of {name!r}; there is: {listed}")


@dataclass(frozen=True, kw_only=True)
class Keepers:
    """A hive's keepers, one for each kind of container that it can make."""

    each: Mapping[BackendKind, Keeper]
    usual: BackendKind  #: of an agent that is made without a word about it

    def of(self, kind: BackendKind) -> Keeper:
        """Raises FaultError (`wrong_state`) when this hive has none."""
        try:
            return self.each[kind]
        except KeyError:
            there = ", ".join(sorted(self.each))
            raise FaultError(FaultKind.WRONG_STATE, f"this hive has no backend {kind!r}; there is: {there}") from None

    async def close(self) -> None:
        for keeper in self.each.values():
            await keeper.close()
