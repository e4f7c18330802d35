"""How a commit of a hostile config repository comes to the daemon: copied, read in a container, verified."""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from hyperhive.config import trees
from hyperhive.config.beneath import read_beneath
from hyperhive.config.paths import Paths
from hyperhive.containers.confined import run_confined
from hyperhive.containers.keeper import Exit, Keeper
from hyperhive.containers.spec import ContainerSpec, Limits, Mount, Network
from hyperhive.hub.directories import LAST_UID
from hyperhive.hub.plan import PATH, Tooling
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import AgentName
from hyperhive.repos import snapshot
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.pinned import Pinned, decode

READER_UID: Final = LAST_UID + 1
"""No agent has it: what reads one agent's repository can touch nothing of another's."""
TIMEOUT_S: Final = 30.0
AT_ONCE: Final = 2
"""Repositories that are read at the same time: each may take the memory and the room of its limits."""

_BOUNDS: Final = Limits(memory_bytes=512 << 20, cpu_percent=100, pids=16, tmp_bytes=1 << 20)
_REPOSITORY: Final = "/run/reader/repository"
_OUT: Final = "/run/reader/out"


class ConfigReader:
    """Reads proposed repositories, one at a time of an agent's."""

    def __init__(self, *, paths: Paths, tooling: Tooling, keeper: Keeper, per_agent_uids: bool) -> None:
        self._directory = paths.state_dir / "reading"
        self._proposed = paths.proposed
        self._tooling = tooling
        self._keeper = keeper
        self._uid = READER_UID if per_agent_uids else None
        self._limits = RepoLimits()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._locks: defaultdict[AgentName, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def read(self, name: AgentName, ref: str) -> Pinned:
        """The commit `ref` (7 to 40 hex digits, or HEAD) of the agent's proposed repository, as it is now.

        Raises FaultError: `bad_commit` says what the hive does not take, `backend` that no container could be made,
        `storage` that there is no room for a copy.
        """
        async with self._locks[name], self._places:
            place = self._directory / name
            try:
                await _to_its_end(lambda: self._prepare(name, place))
                outcome = await run_confined(self._keeper, self._spec(name, ref, place), timeout_s=TIMEOUT_S)
                output = await asyncio.to_thread(self._output, name, place, outcome)
                pinned = await asyncio.to_thread(decode, output, self._limits)
                check_meant(pinned, ref)
                return pinned
            finally:
                await _to_its_end(lambda: trees.remove(place))

    def _prepare(self, name: AgentName, place: Path) -> None:
        try:
            trees.remove(place)
            place.mkdir(parents=True, mode=0o700)
            snapshot.take(self._proposed, name, place / "repository", self._limits)
            self._make_output(place / "out")
        except OSError as error:
            raise FaultError(
                FaultKind.STORAGE,
                f"cannot copy the config repository of {name} to {place}: {error.strerror}; make room there",
            ) from None

    def _make_output(self, out: Path) -> None:
        out.touch(mode=0o600)
        if self._uid is not None:
            os.chown(out, self._uid, self._uid)

    def _spec(self, name: AgentName, ref: str, place: Path) -> ContainerSpec:
        return ContainerSpec(
            name=f"read-{name}",
            argv=(sys.executable, "-I", "-m", "hyperhive.repos.reader", _REPOSITORY, ref, _OUT),
            env={"PATH": PATH, "LANG": "C.UTF-8"},
            limits=_BOUNDS,
            mounts=(
                Mount(source=place / "repository", target=PurePosixPath(_REPOSITORY)),
                Mount(source=place / "out", target=PurePosixPath(_OUT), writable=True),
                *self._tooling.mounts,
            ),
            network=Network.NONE,
            uid=self._uid,
        )

    def _output(self, name: AgentName, place: Path, outcome: Exit) -> bytes:
        if outcome.signal is not None or outcome.oom:
            why = "it takes more memory than the hive gives it" if outcome.oom else "it makes libgit2 fail"
            raise _unread(name, why)
        if outcome.status != 0:
            raise FaultError(
                FaultKind.BACKEND,
                f"cannot read the config repository of {name}: the program that reads it ended with status "
                f"{outcome.status}; is pygit2 installed where the hive's Python finds it? `hive doctor` says more",
            )
        try:
            return read_beneath(place, "out", self._limits.output_bytes)
        except OSError as error:
            raise _unread(name, f"what was read of it cannot be used: {error.strerror}") from None


async def _to_its_end(work: Callable[[], None]) -> None:
    """Off the loop. Whoever cancels it waits, too: a thread goes on, and nobody else may have its place till then."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise


def check_meant(pinned: Pinned, ref: str) -> None:
    """Raises FaultError when a reader that was broken into gave another commit than it was asked for."""
    if ref != "HEAD" and not pinned.sha.startswith(ref):
        raise FaultError(
            FaultKind.BAD_COMMIT,
            f"cannot use what was read of the repository: it is {pinned.sha} and not {ref}; propose it again",
        )


def _unread(name: AgentName, why: str) -> FaultError:
    return FaultError(
        FaultKind.BAD_COMMIT,
        f"cannot read the config repository of {name}: {why}; run `git fsck` and `git gc --prune=now` in it, "
        "or begin a new one",
    )
