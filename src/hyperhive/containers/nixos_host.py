"""What the nixos backend needs of its host: files, programs, the release. Its containers are units of systemd's."""

import asyncio
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.containers import nixos_conf
from hyperhive.containers.backend import Finding
from hyperhive.containers.spec import ContainerSpec, Limits
from hyperhive.process import PATH, PLAIN_ENV, Finished, run

ROOT_VARIABLE: Final = "HYPERHIVE_NIXOS_ROOT"
"""A directory that stands for `/`, with programs in its `bin`: for trying the backend on a host without NixOS."""

MAX_NAME: Final = 11
"""Characters of a container's name that nixos-container takes."""
HARNESS_UNIT: Final = "hive-harness.service"
PROFILES: Final = "nix/var/nix/profiles/per-container"

_PROGRAMS: Final = ("nixos-container", "systemctl", "journalctl", "systemd-run", "nix")
_DROP_IN: Final = "50-hyperhive.conf"


@dataclass(frozen=True, kw_only=True)
class NixosHost:
    root: Path
    programs: Mapping[str, str]
    private_users: bool
    has_template: bool  #: the unit container@.service is there

    def conf(self, name: str) -> Path:
        return self.root / "etc/nixos-containers" / f"{name}.conf"

    def system(self, name: str) -> Path:
        """What the container runs, as a link into the store."""
        return self.root / PROFILES / name / "system"

    @property
    def store(self) -> Path:
        return self.root / "nix/store"

    def tree(self, name: str) -> Path:
        """The container's own files."""
        return self.root / "var/lib/nixos-containers" / name

    def journal(self, name: str) -> Path:
        return self.tree(name) / "var/log/journal"

    def drop_in(self, name: str) -> Path:
        return self.root / "run/systemd/system" / f"container@{name}.service.d" / _DROP_IN

    def argv(self, program: str, *arguments: str) -> tuple[str, ...]:
        return (self.programs.get(program, program), *arguments)

    async def run(
        self, program: str, *arguments: str, timeout: float, check: bool = True, cwd: Path | None = None,
        home: Path | None = None,
    ) -> Finished:  # fmt: skip
        """Raises CommandFailed. `home` is for what runs nix: it finds no settings of root's own there, and the
        builders that it has started end with it."""
        env = dict(PLAIN_ENV) if home is None else {**PLAIN_ENV, "HOME": str(home)}
        argv = self.argv(program, *arguments)
        return await run(argv, env=env, timeout=timeout, check=check, cwd=cwd, whole_tree=home is not None)

    def problem(self) -> str:
        """Why no container can be made here; empty: it can."""
        if missing := [program for program in _PROGRAMS if program not in self.programs]:
            return f"{', '.join(missing)} not found: this is no NixOS host, or not one with containers"
        if not self.has_template:
            return "there is no unit container@.service; set boot.enableContainers = true (needed since NixOS 25.11)"
        return "" if os.geteuid() == 0 else "only root can make containers of NixOS; run the hive as the module does"

    def findings(self) -> tuple[Finding, ...]:
        problem = self.problem()
        users = Finding(
            name="users of containers",
            ok=self.private_users,
            detail="each container has its own" if self.private_users else "root in a container is root of this host",
            remedy="" if self.private_users else "upgrade to NixOS 25.05 or later",
            needed=False,
        )
        made = Finding(
            name="nixos containers",
            ok=not problem,
            detail=problem or "nixos-container and its unit are there",
            remedy=problem,
            needed=False,
        )
        return (made, users)


async def read_nixos_host(root: Path | None = None) -> NixosHost | None:
    """None where there is no nixos-container. `root` stands for `/`; its `bin` goes before the PATH."""
    place = root or Path("/")
    found = await asyncio.to_thread(_programs, f"{root}/bin:{PATH}" if root else PATH)
    if "nixos-container" not in found:
        return None
    release = await asyncio.to_thread(_text, place / "etc/os-release")
    units = ("etc/systemd/system", "run/systemd/system")
    return NixosHost(
        root=place,
        programs=found,
        private_users=nixos_conf.has_private_users(release),
        has_template=await asyncio.to_thread(
            lambda: any((place / at / "container@.service").exists() for at in units)
        ),
    )


def limits_text(limits: Limits) -> str:
    """The drop-in for a container's unit: limits, and that it is the hive who starts it again after a death."""
    return f"""\
# Written by the hive before each start of the container.
[Service]
MemoryMax={limits.memory_bytes}
MemorySwapMax=0
CPUQuota={limits.cpu_percent}%
TasksMax={limits.pids}
OOMPolicy=continue
Restart=no
"""


def environment_text(environment: Mapping[str, str]) -> str:
    """An EnvironmentFile= of the harness's unit."""
    quoted = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in sorted(environment.items())}
    return "".join(f'{key}="{value}"\n' for key, value in quoted.items())


def flags(spec: ContainerSpec) -> Sequence[str]:
    """Of systemd-nspawn, beside the binds. The host's nix daemon would build for agents with the host's memory."""
    return (f"--tmpfs=/tmp:mode=1777,size={spec.limits.tmp_bytes}", "--tmpfs=/nix/var/nix/daemon-socket:mode=0755")


def _programs(path: str) -> dict[str, str]:
    found = {program: shutil.which(program, path=path) for program in _PROGRAMS}
    return {program: place for program, place in found.items() if place}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
