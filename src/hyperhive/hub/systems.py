"""The systems of agents that are containers of NixOS: one flake for all, whose history is what was deployed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from hyperhive.containers.nixos_systems import System
from hyperhive.process import CommandFailed, Finished
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.repos import meta_flake
from hyperhive.repos.meta import Entry, MetaRepository
from hyperhive.repos.meta_flake import FLAKE, LOCK, PINS, Base, Input, Pin, Pins

LOCK_TIMEOUT_S: Final = 900.0
BUILD_TIMEOUT_S: Final = 3600.0
_MAX_NAMES: Final = 4000
"""Characters of inputs' names in a refusal: agents' flakes can have any number of them."""
_FEATURES: Final = ("--extra-experimental-features", "nix-command flakes")

log = structlog.get_logger(__name__)


class Nix(Protocol):
    """Who runs nix."""

    async def run(
        self, program: str, *arguments: str, timeout: float, check: bool = True, cwd: Path | None = None,
        home: Path | None = None,
    ) -> Finished: ...  # fmt: skip


NIX_FLAGS: Final = (
    *("--option", "pure-eval", "true"),
    *("--option", "allow-import-from-derivation", "false"),
    *("--option", "accept-flake-config", "false"),
)
"""With which hostile configs are evaluated: no file of the host is read, nothing is built while that lasts, and no
settings are taken from them. `restrict-eval` is not among them, because nix then refuses inputs that lie on this host,
as agents' configs do."""


@dataclass(kw_only=True)
class Systems:
    """Prepared for a start, kept when that has worked, as they were when it has not.

    `wanted` tells what an agent's system is to be made of now; None when there is no such agent.
    """

    repository: MetaRepository
    applied: Path
    base: Base
    nix: Nix
    wanted: Callable[[str], Pin | None]
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _holder: "asyncio.Task[object] | None" = None
    made: dict[str, str] = field(default_factory=dict)
    """What each system is made of as deployed: another text when it would be another."""
    _deployed: Mapping[str, Pin] = field(default_factory=dict)
    _prepared: dict[str, dict[str, bytes]] = field(default_factory=dict)
    _ground: dict[str, bytes | None] = field(default_factory=dict)  #: the deployed lock beneath what was prepared

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """While nobody else runs nix: its caches and our one working tree take one at a time."""
        task = asyncio.current_task()
        if self._holder is task:
            yield
            return
        async with self._turn:
            self._holder = task
            try:
                yield
            finally:
                self._holder = None

    async def system(self, attribute: str, pin: Pin | None = None) -> System:
        """As it is wanted now, or with that pin, in the working tree; of the other agents what was deployed."""
        pin = pin or self.wanted(attribute)
        if pin is None:
            raise FaultError(FaultKind.BACKEND, f"cannot build a system for {attribute!r}: there is no such agent")
        async with self.alone():
            async with self._or_as_deployed(attribute):
                files = await self._files(await self._with(attribute, pin))
                _check_inputs(files[LOCK], [attribute])
            self._prepared[attribute] = files
            self._ground[attribute] = (await asyncio.to_thread(self.repository.committed)).get(LOCK)
            return System(
                reference=f"{self.repository.path}#{attribute}",
                made_of=meta_flake.made_of(files[LOCK], _pins(files), attribute),
                sha=pin.sha,
                flags=NIX_FLAGS,
            )

    def current(self, attribute: str) -> str:
        """What its system is made of when that is wanted which was deployed; else empty. Runs nothing."""
        pin = self.wanted(attribute)
        return self.made.get(attribute, "") if pin is not None and self._deployed.get(attribute) == pin else ""

    async def build(self, attribute: str, pin: Pin | None = None) -> None:
        """So that a start finds everything there: of what is wanted now, or of that pin.

        Raises FaultError (`backend`) with what nix says. However it fails, also when it is cancelled, nothing is left
        of it.
        """
        async with self.alone():
            system = await self.system(attribute, pin)
            reference, _, name = system.reference.partition("#")
            target = f'{reference}#nixosConfigurations."{name}".config.system.build.toplevel'
            async with self._or_as_deployed(attribute):
                await self._run(
                    "build", *_FEATURES, *system.flags, "--no-link", target, timeout=BUILD_TIMEOUT_S, what=name
                )

    @contextlib.asynccontextmanager
    async def _or_as_deployed(self, attribute: str = "") -> AsyncIterator[None]:
        """When it fails, what was prepared is no more, and the working tree is as deployed."""
        try:
            yield
        except BaseException:
            self._prepared.pop(attribute, None)
            await asyncio.to_thread(lambda: self.repository.stage(self.repository.committed()))
            raise

    async def settle(self, attribute: str, what: str) -> bool:
        """What the agent is made of now was deployed; whether that is news. Where it is none nobody's nix is waited
        for."""
        pin = self.wanted(attribute)
        if pin is None or self.current(attribute):
            return False
        async with self.alone():
            pins = await self._with(attribute, pin)
            prepared = self._prepared.get(attribute)
            files = prepared if prepared and _pins(prepared) == pins else await self._files(pins)
            return await self._keep(files, f"deploy {attribute}: {what} {pin.sha[:12]}")

    async def forget(self, attribute: str) -> None:
        """The agent is no more."""
        async with self.alone():
            pins = await self._committed()
            self._prepared.pop(attribute, None)
            if attribute in pins.agents:
                left = {name: pin for name, pin in pins.agents.items() if name != attribute}
                files = await self._files(msgspec.structs.replace(pins, agents=left))
                await self._keep(files, f"remove {attribute}")

    async def sync(self, agents: Mapping[str, Pin]) -> None:
        """What a hive begins with: exactly these agents, as they are deployed."""
        async with self.alone():
            pins = Pins(base=self.base, agents=dict(agents))
            committed = await asyncio.to_thread(self.repository.committed)
            if LOCK in committed and _pins(committed) == pins:
                await asyncio.to_thread(self.repository.stage, committed)
                self._note(committed)
            elif agents or committed:
                await self._keep(await self._files(pins), "agree with what is deployed")

    async def _keep(self, files: Mapping[str, bytes], message: str) -> bool:
        news = await asyncio.to_thread(self.repository.commit, files, message)
        self._note(files)
        return news

    def _note(self, files: Mapping[str, bytes]) -> None:
        pins = _pins(files)
        self.made = {name: meta_flake.made_of(files[LOCK], pins, name) for name in pins.agents}
        self._deployed = pins.agents

    async def inputs(self) -> list[Input]:
        committed = await asyncio.to_thread(self.repository.committed)
        return meta_flake.inputs(committed[LOCK]) if LOCK in committed else []

    async def history(self) -> list[Entry]:
        return await asyncio.to_thread(self.repository.history)

    async def update(self, names: Sequence[str]) -> list[str]:
        """Newer revisions of these inputs, or of all; the agents whose systems that changes. Builds nothing."""
        async with self.alone():
            pins = await self._committed()
            await self.check_names(names)
            before = await asyncio.to_thread(self.repository.committed)
            await asyncio.to_thread(self.repository.stage, before)
            where = ("--flake", str(self.repository.path))
            async with self._or_as_deployed():
                await self._run("flake", "update", *_FEATURES, *names, *where, what="inputs")
                after = await asyncio.to_thread(self.repository.working)
                changed = [
                    name
                    for name in sorted(pins.agents)
                    if meta_flake.made_of(before[LOCK], pins, name) != meta_flake.made_of(after[LOCK], pins, name)
                ]
                _check_inputs(after[LOCK], changed)
            await self._keep(after, f"update {', '.join(names) if names else 'all inputs'}")
            return changed

    async def check_names(self, names: Sequence[str]) -> None:
        """Raises FaultError (`invalid_params`) for one that is no input, `wrong_state` when there is none at all."""
        known = {found.name for found in await self.inputs()}
        if not known:
            raise FaultError(
                FaultKind.WRONG_STATE, "there is no input yet: no agent of this hive is a container of NixOS"
            )
        if unknown := [name for name in names if name not in known]:
            raise FaultError(
                FaultKind.INVALID_PARAMS,
                f"there is no input {unknown[0][:80]!r}; there is: {', '.join(sorted(known))[:_MAX_NAMES]}",
            )

    async def _with(self, attribute: str, pin: Pin) -> Pins:
        pins = await self._committed()
        return msgspec.structs.replace(pins, agents={**pins.agents, attribute: pin})

    async def _committed(self) -> Pins:
        found = await asyncio.to_thread(self.repository.pins)
        return Pins(base=self.base, agents=found.agents if found else {})

    async def _files(self, pins: Pins) -> dict[str, bytes]:
        """Of the flake with these pins, locked; they are in the working tree then."""
        if not self.base.hyperhive:
            raise FaultError(
                FaultKind.BAD_CONFIG, "cannot build systems: the settings do not say with which flake; set nixos.flake"
            )
        committed = await asyncio.to_thread(self.repository.committed)
        for name, known in self._prepared.items():  # as it was locked before, on the same ground
            if _pins(known) == pins and self._ground.get(name) == committed.get(LOCK):
                await asyncio.to_thread(self.repository.stage, known)
                return dict(known)
        files = {PINS: msgspec.json.format(msgspec.json.encode(pins), indent=2)}
        files[FLAKE] = meta_flake.render(pins, str(self.applied)).encode()
        if LOCK in committed:
            files[LOCK] = committed[LOCK]
        await asyncio.to_thread(self.repository.stage, files)
        if {**committed, **files} != committed or LOCK not in committed:
            await self._run("flake", "lock", *_FEATURES, str(self.repository.path), what="inputs")
            files = await asyncio.to_thread(self.repository.working)
            await asyncio.to_thread(self.repository.stage, files)
        if LOCK not in files:
            raise FaultError(
                FaultKind.BACKEND, "cannot lock the flake of the agents' systems: nix wrote no flake.lock"
            )
        return files

    async def _run(self, *arguments: str, what: str, timeout: float = LOCK_TIMEOUT_S) -> None:
        try:
            await self.nix.run("nix", *arguments, timeout=timeout, home=self.repository.path.parent / "nix-home")
        except CommandFailed as error:
            said = error.last_words or error.reason
            raise FaultError(FaultKind.BACKEND, f"cannot build the system of {what!r}: {said}") from error


def _check_inputs(lock: bytes, agents: Sequence[str]) -> None:
    """Raises FaultError (`bad_config`) when one of them would have files of this host in its system."""
    for name in agents:
        if places := meta_flake.on_this_host(lock, name):
            raise FaultError(
                FaultKind.BAD_CONFIG,
                f"cannot build the system of {name!r}: an input of its flake lies on this host, at "
                f"{places[0][:200]!r}; inputs come from other machines, or from beside its own flake.nix",
            )


def _pins(files: Mapping[str, bytes]) -> Pins:
    return msgspec.json.decode(files[PINS], type=Pins)
