"""A host of the nixos backend: the stand-in, with a repository for each agent and a flake that names their commits."""

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ParamSpec, TypeVar

import needs
from hyperhive.containers.host import interpreter_mounts
from hyperhive.containers.nixos import NixosKeeper
from hyperhive.containers.nixos_host import read_nixos_host
from hyperhive.containers.nixos_systems import System
from hyperhive.containers.spec import ContainerSpec, Limits, Mount, Network
from hyperhive.testing import nixos_standin

P = ParamSpec("P")
T = TypeVar("T")

UID = 50_001
LIMITS = Limits(memory_bytes=256 << 20, cpu_percent=200, pids=64, tmp_bytes=8 << 20)
OBEDIENT = "trap 'echo bye; exit 0' TERM; echo ready $(id -u) $GREETING; while :; do sleep 1000 & wait $!; done"


def off_loop(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """The function, in a thread: it touches files or waits for a child."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    return run


def needed() -> None:
    """What the stand-in needs of this machine."""
    needs.root()
    needs.program("systemd-nspawn", "install it (Debian: apt install systemd-container)")
    needs.program("git", "install it (Debian: apt install git)")


def install(root: Path, *, release: str = "25.11", script: str = OBEDIENT) -> None:
    """A host whose containers run a shell script in place of the harness."""
    nixos_standin.install(
        root, references=references(), environment={}, argv=("/bin/sh", "-c", script), release=release
    )


def references() -> list[Path]:
    return [mount.source for mount in interpreter_mounts()]


@dataclass(kw_only=True)
class FlakeOfOne:
    """`Systems` of a single agent, `probe`, whose commits are made by `commit`."""

    root: Path
    uid: int = UID
    sha: str = ""
    asked: list[str] = field(default_factory=list)

    def commit(self, **files: str) -> None:
        repository = self.root / "applied"
        repository.mkdir(exist_ok=True)
        for name, text in files.items():
            (repository / name.replace("_", ".")).write_text(text)
        git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@example.org"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x", "--allow-empty"]):
            subprocess.run([*git, *words], check=True, capture_output=True)
        done = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        self.sha = done.stdout.strip()
        flake = self.root / "meta"
        flake.mkdir(exist_ok=True)
        (flake / "flake.nix").write_text(
            f'{{\n  inputs."agent-probe".url = "git+file://{repository}?shallow=1&rev={self.sha}";\n'
            f'  "probe" = mkAgent {{ uid = {self.uid}; }};\n}}\n'
        )

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        yield

    async def system(self, attribute: str) -> System:
        self.asked.append(attribute)
        return System(reference=f"{self.root / 'meta'}#{attribute}", made_of=self.sha, sha=self.sha)


async def keeper(root: Path, flake: FlakeOfOne) -> NixosKeeper:
    """As a (re)started hive has it."""
    host = await read_nixos_host(root)
    assert host is not None
    return NixosKeeper(root / "records", host, flake)


@off_loop
def spec(
    root: Path, *, network: Network = Network.NONE, limits: Limits = LIMITS, name: str = "probe", greeting: str = ""
) -> ContainerSpec:
    state, run = root / "state", root / "hive-run"
    for directory in (state, run):
        directory.mkdir(exist_ok=True)
    os.chown(state, UID, UID)
    os.chown(run, 0, UID)
    return ContainerSpec(
        name=name,
        hostname="probe",
        argv=("unused",),
        env={"GREETING": greeting} if greeting else {},
        mounts=(
            Mount(source=run, target=PurePosixPath("/run/hive")),
            Mount(source=state, target=PurePosixPath("/state"), writable=True),
        ),
        limits=limits,
        network=network,
        uid=UID,
    )


@off_loop
def knobs(root: Path, **changes: object) -> None:
    nixos_standin.set_knobs(root, **changes)


def nix_flags(root: Path, name: str) -> list[str]:
    """With which the system of that container was built."""
    system = (root / "nix/var/nix/profiles/per-container" / name / "system").resolve()
    found: list[str] = json.loads((system / "closure.json").read_text())["nix_flags"]
    return found


def show_now(root: Path, name: str, what: str) -> str:
    """`show`, for a test that is no coroutine."""
    done = subprocess.run(
        [root / "bin/systemctl", "show", "-p", what, f"container@{name}"], check=True, capture_output=True, text=True
    )
    return done.stdout.strip().partition("=")[2]


def drop_in_of(root: Path, name: str) -> str:
    return (root / f"run/systemd/system/container@{name}.service.d/50-hyperhive.conf").read_text()


show = off_loop(show_now)
drop_in = off_loop(drop_in_of)
