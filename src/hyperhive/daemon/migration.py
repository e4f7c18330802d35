"""From an installation of the original to one of ours: all is copied, and only then one takes the other's place.

The old tree is read and never written; when it stands where the new one is to be, it is moved aside as a whole.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from hyperhive.broker.database import Connection, Database
from hyperhive.broker.deployments import DeploymentRow, Deployments
from hyperhive.broker.original import Living, Original
from hyperhive.broker.roster import Roster, Wanted
from hyperhive.config import agent_toml, copying
from hyperhive.config.beneath import read_beneath
from hyperhive.config.paths import Paths, is_present
from hyperhive.hub import directories
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import MANAGER, OPERATOR, RESERVED, SYSTEM, AgentName, container_name, known_form
from hyperhive.repos import foreign
from hyperhive.repos.applied import Applied

MANAGERS: Final = ("hm1nd", "ruth", "manager")
"""What the original's manager was called, in its time."""
DATABASES: Final = ("db/broker.sqlite", "broker.sqlite")
_MAX_NIX: Final = 256 << 10
_LEFT: Final = ("meta", "forge", "matrix", "swarm")
_STATISTICS: Final = "hyperhive-turn-stats.sqlite"
_FLAKE: Final = b"""\
{
  # Further inputs reach agent.nix as the argument `flakeInputs`.
  outputs = inputs: {
    nixosModules.default = {
      imports = [ ./agent.nix ];
      _module.args.flakeInputs = inputs;
    };
  };
}
"""


class Report(msgspec.Struct, kw_only=True):
    """What was found, and what became or would become of it."""

    old: str
    new: str
    aside: str = ""  #: where the old tree is now, when it had to be moved
    applied: bool = False
    taken: list[str] = []
    left: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Found:
    """An agent of the original's."""

    old_name: str
    name: AgentName
    lives: bool  #: it has a container; else what is kept of it stays as a tombstone


@dataclass(kw_only=True)
class Migration:
    """`target` is where the new hive is to be; `containers` the directory of nixos-container's files."""

    old: Path
    target: Paths
    backend: BackendKind
    containers: Path
    report: Report = field(init=False)
    _manager: str = ""

    def __post_init__(self) -> None:
        self.report = Report(old=str(self.old), new=str(self.target.state_dir))

    async def look(self) -> Report:
        """What would be taken, and what not and why; the database's rows are counted by trying them on one of our own
        that is thrown away. Raises FaultError when it is no installation of the original."""
        found = await asyncio.to_thread(self._look)
        living: dict[str, Living] = {
            agent.name: Living(name=agent.name, incarnation=1) for agent in found if agent.lives
        }
        place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="hive-look-"))
        try:
            await asyncio.to_thread((place / "staging").mkdir)
            database = await Database.open(place / "hive.sqlite")
            try:
                await self._mail(database, place / "staging", living)
            finally:
                await database.close()
        finally:
            await asyncio.to_thread(shutil.rmtree, place)
        return self.report

    def _look(self) -> list[Found]:
        if not (self.old / "agents").is_dir() or self._database() is None:
            raise FaultError(
                FaultKind.BAD_CONFIG,
                f"cannot migrate {self.old}: an installation of hyperhive has agents/ and broker.sqlite or "
                "db/broker.sqlite in it",
            )
        names = sorted(os.listdir(self.old / "agents"))  # noqa: PTH208 (names, not paths)
        self._manager = next((name for name in MANAGERS if name in names), MANAGERS[0])
        found = [agent for agent in map(self._agent, names) if agent is not None]
        for agent in found:
            self.report.taken.append(f"agent {agent.name}" + ("" if agent.lives else ", as a tombstone"))
            if is_present(self.old / "agents" / agent.old_name / "state" / _STATISTICS):
                self.report.left.append(
                    f"{agent.name}: statistics of its turns: the agent could write them; they stay a file of its state"
                )
        self.report.left += [
            f"{self.old / name}: not part of this hive" for name in _LEFT if (self.old / name).exists()
        ]
        return found

    async def apply(self) -> Report:
        """All of it. Raises FaultError, and then nothing was changed but for a directory that the text names."""
        found = await asyncio.to_thread(self._look)
        state = self.target.state_dir
        fresh = Paths(state_dir=state.with_name(f"{state.name}.migrating"), runtime_dir=self.target.runtime_dir)
        await asyncio.to_thread(self._check_clear, fresh.state_dir)
        try:
            await asyncio.to_thread(self._make_tree, fresh)
            await self._fill(fresh, found)
            await asyncio.to_thread(self._switch, fresh.state_dir)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, fresh.state_dir, ignore_errors=True)
            raise
        self.report.applied = True
        return self.report

    # looking

    def _check_clear(self, fresh: Path) -> None:
        self._check_stopped()
        if is_present(fresh):
            raise FaultError(
                FaultKind.WRONG_STATE,
                f"cannot migrate: {fresh} of an earlier try is there; remove it",
            )

    def _agent(self, old_name: str) -> Found | None:
        try:
            name = MANAGER if old_name == self._manager else known_form(old_name)
            if name in RESERVED - {MANAGER}:
                raise FaultError(FaultKind.RESERVED_NAME, "the name is taken by the hive itself")
        except FaultError as fault:
            self.report.left.append(f"agents/{ascii(old_name)[1:-1][:80]}: {fault.message}")
            return None
        place = self.old / "agents" / old_name
        if place.is_symlink() or not place.is_dir():
            self.report.left.append(f"agents/{name}: not a directory")
            return None
        known = not self.containers.is_dir() or (self.containers / f"{container_name(name)}.conf").exists()
        return Found(old_name=old_name, name=name, lives=known)

    def _database(self) -> Path | None:
        return next((self.old / name for name in DATABASES if (self.old / name).is_file()), None)

    def _check_stopped(self) -> None:
        """A hive that runs would go on writing into what is copied, or into what takes its place."""
        for path in {self.target.host_socket, Path("/run/hyperhive/host.sock")}:
            with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
                client.settimeout(2)
                client.connect(str(path))
                raise FaultError(
                    FaultKind.WRONG_STATE, f"cannot migrate: a hive answers on {path}; stop it first: "
                    "systemctl stop hive-c0re, and the containers: nixos-container stop NAME",
                )  # fmt: skip
        state = self.target.state_dir
        if state != self.old and is_present(state) and any(state.iterdir()):
            raise FaultError(
                FaultKind.WRONG_STATE, f"cannot migrate into {state}: it is not empty; move it away first"
            )

    # making

    def _make_tree(self, fresh: Paths) -> None:
        fresh.state_dir.mkdir(mode=0o700, parents=True)
        for name, mode in (("agents", 0o700), ("applied", 0o755), ("staging", 0o700), ("proposed", 0o755)):
            (fresh.state_dir / name).mkdir(mode=mode)
        if (self.old / "shared").is_dir():
            copied = copying.copy(self.old / "shared", fresh.shared)
            self.report.taken.append(f"shared: {copied.files} files")
        else:
            fresh.shared.mkdir()
        fresh.shared.chmod(0o1777)

    async def _fill(self, fresh: Paths, found: list[Found]) -> None:
        database = await Database.open(fresh.database)
        try:
            roster, deployments = Roster(database), Deployments(database)
            living: dict[str, Living] = {}
            uids: dict[str, int] = {}
            for agent in found:
                uid = await asyncio.to_thread(self._directories, fresh, agent, set(uids.values()))
                if uid is not None:
                    uids[agent.name] = uid
            manager_uid = uids.get(MANAGER)
            for agent in found:
                taken = await asyncio.to_thread(self._config, fresh, agent, manager_uid)
                if agent.lives and taken is not None:
                    row = await roster.add(
                        agent.name, role="manager" if agent.name == MANAGER else "agent", uid=uids.get(agent.name),
                        wanted=Wanted.DOWN, deployed_sha=taken.main, backend=self.backend,
                    )  # fmt: skip
                    living[agent.name] = Living(name=agent.name, incarnation=row.incarnation)
                    await self._deployments(deployments, agent.name, taken)
            await self._mail(database, fresh.state_dir / "staging", living)
        finally:
            await database.close()

    def _directories(self, fresh: Paths, agent: Found, taken: set[int]) -> int | None:
        """The agent's own, for a uid of its own."""
        uid = None
        if os.geteuid() == 0:
            same = self.backend is BackendKind.NIXOS
            uid = directories.choose_uid(fresh, agent.name, taken, same_inside=same)
        place = self.old / "agents" / agent.old_name
        fresh.agent(agent.name).mkdir(mode=0o700)
        for name, target in (("state", fresh.agent_state(agent.name)), ("claude", fresh.agent_claude(agent.name))):
            if (place / name).is_dir() and not (place / name).is_symlink():
                copied = copying.copy(place / name, target, uid=uid)
                self.report.taken.append(f"{agent.name}: {name}, {copied.files} files, {copied.bytes} bytes")
                self.report.left += [f"{agent.name}: {name}/{ascii(path)[1:-1]}: no file" for path in copied.left_out]
            else:
                target.mkdir(mode=0o700)
                if uid is not None:
                    os.chown(target, uid, uid)
            target.chmod(0o700)
        for other in ("harness", "port"):
            if is_present(place / other):
                self.report.left.append(f"{agent.name}: {other}, of the original's harness")
        return uid

    def _config(self, fresh: Paths, agent: Found, manager_uid: int | None) -> foreign.TakenOver | None:
        """Both repositories; None when there is nothing that a container could be made from."""
        applied = Applied(fresh.applied(agent.name))
        taken = foreign.take_over_applied(self.old / "applied" / agent.old_name, applied)
        self.report.left += [f"{agent.name}: {problem}" for problem in taken.problems]
        if not taken.main:
            taken.main = applied.create(self._plain(agent), f"The config of {agent.name} as the original had it")
            taken.tags["deployed/0"] = taken.main
        else:
            taken.main = self._completed(applied, taken.main)
            applied.set_main(taken.main)
        self.report.taken.append(f"{agent.name}: config at {taken.main[:12]}, {len(taken.tags)} tags")
        self._proposed(fresh, agent, manager_uid)
        return taken

    def _plain(self, agent: Found) -> dict[str, bytes]:
        """The config without its history."""
        for place in ("applied", "agents"):
            base = self.old / place / agent.old_name / ("config" if place == "agents" else "")
            with contextlib.suppress(OSError):
                return {"agent.nix": read_beneath(base, "agent.nix", _MAX_NIX), "flake.nix": _FLAKE}
        role = "manager" if agent.name == MANAGER else "agent"
        return {agent_toml.FILE: agent_toml.template(model=None, description="", role=role).encode()}

    def _completed(self, applied: Applied, main: str) -> str:
        """The deployed commit, or one on top of it with what this hive needs of a config and the original did not."""
        flake = applied.text(main, "flake.nix") or ""
        files: dict[str, bytes | None] = {}
        if self.backend is BackendKind.NIXOS and "nixosModules" not in flake:
            files = {"flake.nix": _FLAKE, "flake.lock": None}
        if not files:
            return main
        return applied.edit(main, files, message="As this hive makes systems", author=OPERATOR)

    def _proposed(self, fresh: Paths, agent: Found, manager_uid: int | None) -> None:
        target = fresh.agent_config(agent.name)
        target.parent.mkdir(mode=0o755)
        (fresh.agent(agent.name) / "config").symlink_to(Path("../../proposed") / agent.name / "config")
        try:
            foreign.take_over_proposed(self.old / "agents", agent.old_name, target)
        except (FaultError, OSError) as error:
            foreign.discard(target)
            said = error.message if isinstance(error, FaultError) else str(error)
            self.report.left.append(f"{agent.name}: its proposed repository ({said}); it begins with what is deployed")
            return
        if manager_uid is not None:
            directories.give_proposed(fresh, manager_uid)
        self.report.taken.append(f"{agent.name}: proposed repository, without its index: `git reset` in it makes one")

    async def _deployments(self, deployments: Deployments, name: str, taken: foreign.TakenOver) -> None:
        numbers = {int(tag.partition("/")[2]): sha for tag, sha in taken.tags.items() if tag.startswith("deployed/")}
        now = time.time()
        for number, sha in sorted(numbers.items()):
            row = DeploymentRow(agent=name, approval=number, sha=sha, deployed_at=now, description="of the original")
            await deployments.add(row)

    async def _mail(self, database: Database, beside: Path, living: Mapping[str, Living]) -> None:
        original = await asyncio.to_thread(self._original, beside)

        def put(connection: Connection) -> None:
            for one in living.values():
                connection.execute(
                    "INSERT INTO mailboxes (name, incarnation) VALUES (?, ?)", (one.name, one.incarnation)
                )
            original.insert(connection, self._renamed, living)

        await database.write(put)
        self.report.taken += original.taken
        self.report.left += original.left

    def _original(self, beside: Path) -> Original:
        path = self._database()
        assert path is not None
        original = Original.read(path, beside)
        for left in beside.iterdir():
            left.unlink()
        return original

    def _renamed(self, principal: str) -> str:
        return MANAGER if principal in (self._manager, MANAGER) and principal not in (OPERATOR, SYSTEM) else principal

    def _switch(self, fresh: Path) -> None:
        target = self.target.state_dir
        if target == self.old:
            aside = self.old.with_name(f"{self.old.name}.original")
            if is_present(aside):
                raise FaultError(FaultKind.WRONG_STATE, f"cannot migrate: {aside} is there; move it away first")
            self.old.rename(aside)
            self.report.aside = str(aside)
        elif is_present(target):
            target.rmdir()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.rename(target)
        except OSError:
            if self.report.aside:
                Path(self.report.aside).rename(self.old)
            raise
