"""What a container is to be: values, checked when they are made."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import LimitSettings

HOME: Final = PurePosixPath("/home/agent")
INSIDE_UID: Final = 1000
"""Who the agent is inside, on every backend."""

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)")
_CPU = re.compile(r"([0-9]{1,6})%")
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_KERNEL: Final = tuple(map(PurePosixPath, ("/proc", "/sys", "/dev")))
_LAYOUT: Final = frozenset(map(PurePosixPath, ("/", "/usr", "/etc", "/tmp", "/run", "/home"))) | {HOME}


class Network(StrEnum):
    NONE = "none"
    ALLOWLIST = "allowlist"  #: no interface but loopback; the egress proxy is a socket among the mounts
    HOST = "host"  #: everything the host reaches, its loopback services included


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A directory or file of the host, seen at `target`; without setuid bits and devices."""

    source: Path
    target: PurePosixPath
    writable: bool = False
    link: str = ""  #: set: `target` becomes a symbolic link that says this, and nothing is mounted

    def __post_init__(self) -> None:
        for path in (PurePosixPath(self.source), self.target):
            _check_path(path)
        if self.target in _LAYOUT or any(self.target.is_relative_to(kernel) for kernel in _KERNEL):
            raise _bad(f"cannot mount anything at {self.target}: the container's own layout has that place")


@dataclass(frozen=True, kw_only=True)
class Limits:
    memory_bytes: int
    cpu_percent: int  #: of one core
    pids: int
    tmp_bytes: int  #: of each memory file system: /tmp, the home directory, /dev/shm
    disk_bytes: int | None = None  #: on the hive's disk; no backend holds it, the hive looks after it

    @classmethod
    def from_settings(cls, settings: LimitSettings) -> "Limits":
        """Raises FaultError (`bad_config`) that names the field."""
        return cls(
            memory_bytes=parse_size(settings.memory, field="limits.memory", least=32 << 20),
            cpu_percent=_parse_cpu(settings.cpu),
            pids=settings.pids,
            tmp_bytes=parse_size(settings.tmp, field="limits.tmp", least=1 << 20),
            disk_bytes=(
                parse_size(settings.disk_max, field="limits.disk_max", least=1 << 20) if settings.disk_max else None
            ),
        )


class Init(StrEnum):
    """What the container's first process is, where its backend has a choice."""

    RUNNER = "runner"  #: the command itself, with nothing around it
    SYSTEMD = "systemd"  #: a service manager, of which the command is one service


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """A container. `argv` becomes its first process, with exactly `env` (and PWD), in `cwd`.

    Mounts are put in the order of their targets, so that one may lie inside another.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    limits: Limits
    mounts: tuple[Mount, ...] = ()
    layers: tuple[Path, ...] = ()  #: what its root is made from, the lowest first; empty: what the backend has itself
    network: Network = Network.NONE
    uid: int | None = None  #: on the host; None: the hive's own, which then must not be root
    hostname: str = ""
    init: Init = Init.RUNNER
    watched: bool = False  #: the command tells a service manager that it is alive
    cwd: PurePosixPath = HOME

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise _bad(f"cannot name a container {self.name!r}: it takes a-z, 0-9 and '-', at most 63 characters")
        if not self.argv or any("\0" in word for word in self.argv):
            raise _bad(f"cannot make container {self.name!r}: its command is empty or has a NUL byte in it")
        for key, value in self.env.items():
            if not _ENV_NAME.fullmatch(key) or "\0" in value:
                raise _bad(
                    f"cannot make container {self.name!r}: environment variable {key[:64]!r} is not well formed"
                )
        if self.uid is not None and self.uid <= 0:
            raise _bad(f"cannot make container {self.name!r} with uid {self.uid}: an agent never runs as root")
        _check_path(self.cwd)
        object.__setattr__(self, "mounts", _ordered(self.mounts))
        object.__setattr__(self, "hostname", self.hostname or self.name)


def parse_size(text: str, *, field: str, least: int = 1) -> int:
    """Bytes out of "4G", "512M", "1048576"; raises FaultError (`bad_config`)."""
    match = _SIZE.fullmatch(text.strip().upper())
    if not match:
        raise FaultError(
            FaultKind.BAD_CONFIG, f"cannot read {field} = {text[:40]!r}: write a number of bytes or such as 512M or 4G"
        )
    size = int(match[1]) * _UNITS[match[2]]
    if size < least:
        raise FaultError(FaultKind.BAD_CONFIG, f"cannot use {field} = {text!r}: it must be at least {least >> 20}M")
    return size


def _parse_cpu(text: str) -> int:
    match = _CPU.fullmatch(text.strip())
    if not match or int(match[1]) < 1:
        raise FaultError(
            FaultKind.BAD_CONFIG,
            f"cannot read limits.cpu = {text[:40]!r}: write a percentage of one core, such as 50% or 200%",
        )
    return int(match[1])


def _ordered(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    ordered = tuple(sorted(mounts, key=lambda mount: mount.target.parts))
    for first, second in itertools.pairwise(ordered):
        if first.target == second.target:
            raise _bad(f"cannot mount both {first.source} and {second.source} at {first.target}")
    return ordered


def _check_path(path: PurePosixPath) -> None:
    if not path.is_absolute() or ".." in path.parts or "\0" in str(path) or str(path).startswith("//"):
        raise _bad(f"cannot use the path {str(path)!r} in a container: it must be absolute and without '..'")


def _bad(text: str) -> FaultError:
    return FaultError(FaultKind.BAD_CONFIG, text)
