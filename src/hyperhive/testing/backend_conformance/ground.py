"""Where a case is tried, and the words in which cases are told."""

import asyncio
import contextlib
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from hyperhive.containers.backend import Backend
from hyperhive.containers.cgroups import RlimitsOnly, find_limiter
from hyperhive.containers.host import interpreter_mounts
from hyperhive.containers.keeper import Exit
from hyperhive.containers.runtime import Runtime
from hyperhive.containers.spec import ContainerSpec, Limits, Mount, Network
from hyperhive.protocol.faults import FaultError

LIMITS: Final = Limits(memory_bytes=256 << 20, cpu_percent=200, pids=64, tmp_bytes=8 << 20)
OBEDIENT: Final = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 1000 & wait $!; done"
"""A script that says when it is ready to be stopped, and then ends with status 3."""

_INTERPRETER: Final = interpreter_mounts()


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where a case is tried."""

    make: Callable[[], Awaitable[Runtime]]  #: a runtime as a (re)started hive would make it; same directory each time
    directory: Path  #: an empty directory of ours; cases make mounts below it
    uid: int | None  #: whom containers run as on the host
    bounds_memory_of_all: bool  #: memory is bounded per container and the kernel counts its kills

    def spec(
        self,
        *argv: str,
        mounts: tuple[Mount, ...] = (),
        limits: Limits = LIMITS,
        env: Mapping[str, str] | None = None,
    ) -> ContainerSpec:
        """A container named `probe`; `argv` starting with "-c" is a program for this Python."""
        command = (sys.executable, "-I", "-S", *argv) if argv[0] == "-c" else argv
        return ContainerSpec(
            name="probe",
            argv=command,
            env={"PATH": "/usr/bin:/bin"} if env is None else env,
            limits=limits,
            mounts=(*mounts, *_INTERPRETER),
            network=Network.NONE,
            uid=self.uid,
        )

    async def mount(self, name: str, *, inside: str = "", writable: bool = True) -> Mount:
        """A new directory of the agent's, at /NAME inside unless told where."""
        source = self.directory / name
        await asyncio.to_thread(self._give, source)
        return Mount(source=source, target=PurePosixPath(inside or f"/{name}"), writable=writable)

    def _give(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        if self.uid is not None and os.geteuid() == 0:
            os.chown(directory, self.uid, self.uid)


async def ground_of(backend: Backend, directory: Path, *, uid: int | None) -> Ground:
    """The ground on which a backend is tried in a directory of its own, which is made; `uid` as in `Ground`."""
    limiter = await asyncio.to_thread(find_limiter, _slice(directory))

    async def make() -> Runtime:
        return Runtime(directory / "containers", backend, limiter)

    mounts = directory / "mounts"
    await asyncio.to_thread(mounts.mkdir, parents=True)
    return Ground(make=make, directory=mounts, uid=uid, bounds_memory_of_all=not isinstance(limiter, RlimitsOnly))


def _slice(directory: Path) -> str:
    return "hyperhive-conformance-" + hashlib.sha256(str(directory).encode()).hexdigest()[:8]


@contextlib.asynccontextmanager
async def hive(ground: Ground) -> AsyncIterator[Runtime]:
    """A runtime that leaves no container when the case is over."""
    runtime = await ground.make()
    try:
        yield runtime
    finally:
        await runtime.kill("probe")
        await runtime.close()


async def says(runtime: Runtime, line: str) -> None:
    """Waits until the container has written that line."""
    async with contextlib.aclosing(runtime.follow_logs("probe", lines=1000)) as lines:
        async for found in lines:
            if found == line:
                return


async def output(ground: Ground, spec: ContainerSpec) -> tuple[Exit, list[str]]:
    """Runs a container to its end."""
    async with hive(ground) as runtime:
        outcome = await (await runtime.start(spec)).wait()
        return outcome, await runtime.logs("probe", lines=5000)


async def refusal_of(runtime: Runtime, spec: ContainerSpec) -> FaultError:
    """The fault with which a start is refused."""
    try:
        await runtime.start(spec)
    except FaultError as fault:
        return fault
    raise AssertionError("it was started")


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found: list[int] = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found
