"""The systems of NixOS containers: built from a flake by nixos-container, and kept in a profile of nix's."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from hyperhive.config import trees
from hyperhive.containers.nixos_host import NixosHost
from hyperhive.containers.nixos_records import Built, Records
from hyperhive.process import CommandFailed
from hyperhive.protocol.faults import FaultError, FaultKind

BUILD_TIMEOUT_S: Final = 3600.0
_MAX_SETTINGS: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class System:
    """What a container's system is built from."""

    reference: str  #: of the flake, `#` and the attribute
    made_of: str  #: another text when building it again would give another system
    sha: str = ""  #: the commit of the config that it is of
    flags: Sequence[str] = ()  #: of nix


class Systems(Protocol):
    def alone(self) -> AbstractAsyncContextManager[None]:
        """While nobody else runs nix. Entered again by whoever holds it, it lets them in."""
        ...

    async def system(self, attribute: str) -> System:
        """Raises FaultError (`backend`) when there is none of that name."""
        ...


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A system that a container starts with."""

    made_of: str
    settings: bytes | None  #: its agent.json


class Profiles:
    """The profile of each container: the system that it starts with, and those before. None is changed while its
    container runs."""

    def __init__(self, host: NixosHost, systems: Systems, records: Records) -> None:
        self._host = host
        self._systems = systems
        self._records = records

    async def build(self, name: str, attribute: str) -> None:
        """Its system is in the profile, built from what is wanted now."""
        async with self._systems.alone():
            system = await self._systems.system(attribute)
            if not await self.has(name, system.made_of):
                await self._make(name, system)

    async def has(self, name: str, made_of: str) -> bool:
        """Whether the container is there, with a system that is made of that.

        Another one than the record knows came into the profile by a build whose end the hive did not live to see.
        """
        record, place = await self._records.of(name), await asyncio.to_thread(self._place, name)
        return bool(place) and (record.made_of, record.system) == (made_of, place)

    async def stands(self, name: str) -> str:
        """The commit of the config whose system the container has; empty when it has none."""
        record = await self._records.of(name)
        return record.sha if await self.has(name, record.made_of) else ""

    async def go_back(self, name: str, made_of: str) -> None:
        """The system before the latest is its system again, when that was made of this and is still there."""
        record = await self._records.of(name)
        before = record.before
        if record.made_of == made_of or not made_of or before.made_of != made_of:
            return
        if await asyncio.to_thread(self._set, name, before.system):
            await self._records.keep(await self._records.of(name, **msgspec.structs.asdict(before), before=Built()))

    def settings(self, name: str) -> bytes | None:
        """The agent.json of the system that was built for it, as nix made it: data of the agent's. Reads files."""
        try:
            path = (self._host.system(name).resolve(strict=True) / "etc/hyperhive/agent.json").resolve(strict=True)
            if not path.is_relative_to(self._host.store.resolve()) or not path.is_file():
                return None  # its config may have put a link to anything there
            with path.open("rb") as file:
                return file.read(_MAX_SETTINGS)
        except OSError:
            return None

    async def _make(self, name: str, system: System) -> None:
        is_there = await asyncio.to_thread(self._host.conf(name).exists)
        record = await self._records.of(name)
        await self._records.keep(record)  # first: what there is no record of is somebody else's
        await self._nix(name, "update" if is_there else "create", system)
        place = await asyncio.to_thread(self._place, name)
        before = Built(made_of=record.made_of, sha=record.sha, system=record.system)
        built = await self._records.of(name, made_of=system.made_of, sha=system.sha, system=place, before=before)
        await self._records.keep(built)

    def _place(self, name: str) -> str:
        """Empty where the container or its system is not there."""
        system = self._host.system(name)
        return str(system.resolve()) if self._host.conf(name).exists() and system.exists() else ""

    def _set(self, name: str, place: str) -> bool:
        """As `nix-env --rollback` does it: to the generation that leads there, if there is one."""
        profile = self._host.system(name)
        found = [link for link in profile.parent.glob(f"{profile.name}-*-link") if str(link.resolve()) == place]
        if not found or not found[0].exists():
            return False
        fresh = profile.with_name(f"{profile.name}.hive")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(found[0].name)
        fresh.replace(profile)
        return True

    async def _nix(self, name: str, verb: str, system: System) -> None:
        empty = await asyncio.to_thread(tempfile.mkdtemp, prefix="hive-nix-")  # the tool leaves a link where it is run
        try:
            await self._host.run(
                "nixos-container", verb, name, "--flake", system.reference, *system.flags,
                timeout=BUILD_TIMEOUT_S, cwd=Path(empty), home=Path(empty),
            )  # fmt: skip
        except CommandFailed as error:
            if verb == "create":  # one whose build failed leaves a file that stands in the next one's way
                await asyncio.to_thread(self._host.conf(name).unlink, missing_ok=True)
            raise FaultError(
                FaultKind.BACKEND,
                f"cannot build the system of {name!r}: {error.last_words or error.reason}",
            ) from error
        finally:
            await asyncio.to_thread(trees.remove, Path(empty))
