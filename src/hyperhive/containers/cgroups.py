"""Limits and the certainty that nothing of a container is left: one interface, four implementations.

units of systemd's, cgroup version 2, version 1 (with the unified tree beside it), and plain rlimits where none of
these can be had. Every function here reads and writes the file system: call it off the event loop.
"""

import contextlib
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.containers import systemd
from hyperhive.containers.backend import Finding
from hyperhive.containers.spec import Limits
from hyperhive.containers.systemd import Manager

ROOT: Final = Path("/sys/fs/cgroup")
CPU_PERIOD_US: Final = 100_000
_V1: Final[tuple[str, ...]] = ("memory", "pids", "cpu", "devices")
_HIVE: Final = "hive"
_DEVICES: Final = ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2", "136:*")
"""null, zero, full, random, urandom, tty, console, ptmx and the terminals."""


@dataclass(frozen=True, kw_only=True)
class Cage:
    """What a container is put into before it starts."""

    directories: tuple[Path, ...] = ()  #: its control groups; the one with cgroup.kill is among them
    prefix: tuple[str, ...] = ()  #: goes before the launcher's own command
    inside: tuple[str, ...] = ()  #: goes before the container's own command
    plan: Path | None = None
    """Set: `prefix` makes the launcher a unit, which is no child of ours. It reads its plan from this file."""
    said: Path | None = None  #: what such a launcher said, should it fail


class Limiter(ABC):
    """Makes cages. `remove` of the functions below takes their control groups away again."""

    @abstractmethod
    def prepare(self, name: str, limits: Limits, place: Path) -> Cage:
        """A fresh cage for what outlives us; what an earlier container of this name left must have been removed.

        `place` is the container's own directory, which is ours alone.
        """

    def prepare_child(self, name: str, limits: Limits) -> Cage:
        """A fresh cage for a child of ours, which ends with us."""
        return self.prepare(name, limits, Path())

    @abstractmethod
    def expected(self, name: str) -> tuple[Path, ...]:
        """Where the control groups of such a container are, as far as that is known without a record of it."""

    @abstractmethod
    def finding(self) -> Finding: ...

    def clearing(self, name: str) -> tuple[str, ...]:  # noqa: ARG002 - control groups of our own have no other keeper
        """The command that comes back when whoever keeps the control groups has let go of them; empty: nobody does."""
        return ()

    def release(self) -> None:
        """Takes away what was made for all containers together, if none is left."""
        for directory in self.expected("any"):
            with contextlib.suppress(OSError):
                directory.parent.rmdir()


class SystemdUnits(Limiter):
    """Each container is a service, in the system's manager or in the user's, whose first command is the launcher.

    A scope would do from systemd 253 on. Before, all of a scope is ended when the kernel kills in it.
    """

    def __init__(self, slice_name: str, manager: Manager) -> None:
        self._slice = slice_name
        self._manager = manager

    def prepare(self, name: str, limits: Limits, place: Path) -> Cage:
        said = place / "said"
        properties = (*systemd.limits_of(limits), *systemd.launched(place, said))
        prefix = self._manager.service(self._unit(name), self._slice, f"hyperhive's container {name}", properties)
        return Cage(prefix=prefix, plan=place / "plan", said=said)

    def prepare_child(self, name: str, limits: Limits) -> Cage:
        properties = (*systemd.limits_of(limits), "Delegate=yes")
        return Cage(prefix=self._manager.scope(self._unit(name), self._slice, properties))

    def expected(self, name: str) -> tuple[Path, ...]:
        return (ROOT / self._manager.group(self._unit(name), self._slice),)

    def clearing(self, name: str) -> tuple[str, ...]:
        return self._manager.stop(self._unit(name))

    def release(self) -> None:
        """systemd itself takes slices away that nothing is in."""

    def finding(self) -> Finding:
        return Finding(name="limits", ok=True, detail="units of systemd's", needed=False)

    def _unit(self, name: str) -> str:
        return f"{self._slice}-{name}"


class CgroupV2(Limiter):
    """Groups of our own below a directory that is ours, by root or by delegation."""

    def __init__(self, parent: Path, *, beside_systemd: bool = False) -> None:
        self._beside_systemd = beside_systemd
        self._parent = parent

    def prepare(self, name: str, limits: Limits, place: Path) -> Cage:  # noqa: ARG002 - it is the launcher's matter
        _enable_controllers(self._parent)
        directory = self._parent / name
        _make(directory, v2_files(limits))
        return Cage(directories=(directory,))

    def expected(self, name: str) -> tuple[Path, ...]:
        return (self._parent / name,)

    def finding(self) -> Finding:
        return _groups_finding(f"cgroup v2 in {self._parent}", beside_systemd=self._beside_systemd)


class CgroupV1(Limiter):
    """One group per controller; killing goes through the unified tree where there is one."""

    def __init__(self, parents: Mapping[str, Path], *, beside_systemd: bool = False) -> None:
        self._parents = parents
        self._beside_systemd = beside_systemd

    def prepare(self, name: str, limits: Limits, place: Path) -> Cage:  # noqa: ARG002 - it is the launcher's matter
        files = v1_files(limits)
        for controller, parent in self._parents.items():
            _make(parent / name, files.get(controller, ()))
        return Cage(directories=self.expected(name))

    def expected(self, name: str) -> tuple[Path, ...]:
        return tuple(parent / name for parent in self._parents.values())

    def finding(self) -> Finding:
        return _groups_finding(f"cgroup v1: {', '.join(self._parents)}", beside_systemd=self._beside_systemd)


class RlimitsOnly(Limiter):
    """Bounds per process, and on the number of processes; none on the processor."""

    def prepare(self, name: str, limits: Limits, place: Path) -> Cage:  # noqa: ARG002 - for bounds inside
        # Set inside, where only the container's processes are counted and not all that the user runs. DATA and not
        # AS, because JavaScript engines reserve address space of many times what they use.
        return Cage(inside=("prlimit", f"--nproc={limits.pids}", f"--data={limits.memory_bytes}", "--"))

    def expected(self, name: str) -> tuple[Path, ...]:  # noqa: ARG002 - known only while it runs
        return ()

    def finding(self) -> Finding:
        return Finding(
            name="limits",
            ok=False,
            detail="no control group can be made: memory is bounded per process only, the processor not at all",
            remedy="run the hive on a host with systemd, as root, or with a delegated control group",
            needed=False,
        )


def find_limiter(slice_name: str, *, systemd_version: int = 0) -> Limiter:
    """The best that this host allows. `slice_name` keeps hives on one host apart.

    `systemd_version` is the `Host`'s: 0 where systemd is not the host's first process.
    """
    manager = systemd.own_manager()
    is_unified = (ROOT / "cgroup.controllers").exists()
    if is_unified and systemd_version >= systemd.OLDEST and manager.is_there:
        return SystemdUnits(slice_name, manager)
    beside_systemd = systemd_version > 0
    own = own_groups(Path("/proc/self/cgroup").read_text())
    if is_unified:
        parent = _without_hive(ROOT / own.get("", "/").lstrip("/")) / slice_name
        return CgroupV2(parent, beside_systemd=beside_systemd) if _can_make(parent) else RlimitsOnly()
    # At the top of each tree: the group that the hive was started in may be another one after its next start.
    parents = {name: ROOT / name / slice_name for name in (*_V1, "unified") if (ROOT / name).is_dir()}
    usable = {name: parent for name, parent in parents.items() if _can_make(parent)}
    enough = {"memory", "pids"} <= usable.keys()
    return CgroupV1(usable, beside_systemd=beside_systemd) if enough else RlimitsOnly()


def _groups_finding(detail: str, *, beside_systemd: bool) -> Finding:
    note = (
        "; under systemd, they end with the hive's own unit unless that has KillMode=process" if beside_systemd else ""
    )
    return Finding(name="limits", ok=True, detail=f"{detail}{note}", needed=False)


def own_groups(text: str) -> dict[str, str]:
    """Controller -> path out of /proc/self/cgroup; the unified tree's is ""."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path)
    return groups


def v2_files(limits: Limits) -> tuple[tuple[str, str], ...]:
    return (
        ("memory.max", str(limits.memory_bytes)),
        ("memory.swap.max", "0"),
        ("pids.max", str(limits.pids)),
        ("cpu.max", f"{limits.cpu_percent * CPU_PERIOD_US // 100} {CPU_PERIOD_US}"),
    )


def v1_files(limits: Limits) -> dict[str, tuple[tuple[str, str], ...]]:
    return {
        "memory": (
            ("memory.limit_in_bytes", str(limits.memory_bytes)),
            ("memory.memsw.limit_in_bytes", str(limits.memory_bytes)),
        ),
        "pids": (("pids.max", str(limits.pids)),),
        "cpu": (
            ("cpu.cfs_period_us", str(CPU_PERIOD_US)),
            ("cpu.cfs_quota_us", str(limits.cpu_percent * CPU_PERIOD_US // 100)),
        ),
        "devices": (("devices.deny", "a"), *(("devices.allow", f"c {device} rwm") for device in _DEVICES)),
    }


def oom_kills(directories: Sequence[Path]) -> int:
    """How many processes the kernel has killed in there for want of memory."""
    names = ("memory.events", "memory.oom_control")
    return sum(oom_kills_in(directory / name) for directory in directories for name in names)


def oom_kills_in(counts: Path) -> int:
    """The same out of one file of the kernel's, or a copy of it; 0 where there is none."""
    words = [line.split(" ") for line in _read(counts).splitlines()]
    return sum(int(word[1]) for word in words if word[0] == "oom_kill")


def members(directories: Sequence[Path]) -> set[int]:
    """Process ids in these groups and in the groups that were made below them."""
    found: set[int] = set()
    for directory in directories:
        for group in _groups(directory):
            found |= {int(pid) for pid in _read(group / "cgroup.procs").split()}
    return found - {0}


def written(directories: Sequence[Path]) -> int:
    """Bytes that the processes in there have written to disks so far: as the groups count them, or the processes that
    live for themselves and the children that they have waited for, whichever is more. It may fall when some end."""
    counted = sum(_written_of_group(_read(directory / "io.stat")) for directory in directories)
    return max(counted, sum(_written_of_process(_read(Path(f"/proc/{pid}/io"))) for pid in members(directories)))


def _written_of_group(text: str) -> int:
    words = [word.partition("=") for line in text.splitlines() for word in line.split()]
    return sum(int(value) for name, _, value in words if name == "wbytes" and value.isdigit())


def _written_of_process(text: str) -> int:
    counts = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    return int(counts.get("write_bytes", 0)) - int(counts.get("cancelled_write_bytes", 0))


def kill(directories: Sequence[Path]) -> None:
    """KILL to every process in there, without a chance to fork away."""
    for directory in directories:
        _write(directory / "cgroup.kill", "1")
        _write(directory / "pids.max", "0")
    for pid in members(directories):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def remove(directories: Sequence[Path]) -> None:
    """Takes empty groups away; one with a process left in it stays."""
    for directory in directories:
        for group in _groups(directory):
            with contextlib.suppress(OSError):
                group.rmdir()


def _groups(directory: Path) -> list[Path]:
    """The group and all below it, the deepest first; groups that vanish meanwhile are no error."""
    return [Path(group) for group, _, _ in os.walk(directory, topdown=False)]


def _make(directory: Path, files: Sequence[tuple[str, str]]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files:
        if (directory / name).exists():  # swap accounting may be off
            (directory / name).write_text(text)


def _enable_controllers(parent: Path) -> None:
    """Makes memory, pids and cpu available to groups below `parent`."""
    parent.mkdir(parents=True, exist_ok=True)
    for directory in (parent.parent, parent):
        try:
            _enable(directory)
        except OSError:
            # A group with processes of its own may not hand controllers on: they move into a leaf first.
            leaf = directory / _HIVE
            leaf.mkdir(exist_ok=True)
            for pid in _read(directory / "cgroup.procs").split():
                _write(leaf / "cgroup.procs", pid)
            _enable(directory)


def _enable(directory: Path) -> None:
    there = set(_read(directory / "cgroup.controllers").split())
    on = set(_read(directory / "cgroup.subtree_control").split())
    if missing := ({"memory", "pids", "cpu"} & there) - on:
        (directory / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(missing)))


def _without_hive(own: Path) -> Path:
    """Our group before we moved ourselves into a leaf of it."""
    return own.parent if own.name == _HIVE else own


def _can_make(parent: Path) -> bool:
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(parent, os.W_OK)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    if path.exists():
        with contextlib.suppress(OSError):
            path.write_text(text)
