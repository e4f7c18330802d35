"""What a backend is: pure decisions from a container's description to a command.

A backend runs nothing and touches no file; the runtime does, through the launcher.
"""

import signal
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hyperhive.containers.pidfd import Process
from hyperhive.containers.spec import ContainerSpec
from hyperhive.protocol.backend import BackendKind


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that `hive doctor` looked at."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""  #: what to do; empty when all is well
    needed: bool = True  #: without it no container starts


@dataclass(frozen=True, kw_only=True)
class StartFile:
    """Read by the gate."""

    text: bytes
    uid: int
    mode: int


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """A root file system that the launcher puts together, and the gate that it puts inside."""

    root: str  #: where it is to be
    layers: tuple[str, ...]  #: directories whose files are root's, the lowest first
    first_uid: int  #: root's, seen from the host
    bytes_above: int  #: what may be written above the layers, in memory
    above: Mapping[str, bytes]  #: path -> content; "->TEXT" is a symbolic link
    links: Mapping[str, str]  #: path -> what the symbolic link there says
    points: Mapping[str, str]  #: staged place -> where it will be mounted
    memory: Mapping[str, tuple[str, str]]  #: place -> (where it is seen, options of a file system in memory)
    start: str  #: where the gate's directory is to be
    files: Mapping[str, StartFile]
    pid_inside: int  #: of the gate
    journal: str = ""  #: where the container's own directory for its journal is to be


@dataclass(frozen=True, kw_only=True)
class Command:
    """How a container is started: what the launcher does and then executes.

    `argv` holds no secret, because every user of the host can read it; the environment travels in `data`.
    """

    argv: tuple[str, ...]
    data: Mapping[int, bytes] = field(default_factory=dict)  #: descriptor number -> what it reads as
    stage: tuple[tuple[str, str], ...] = ()
    """(source, place): bound, in the launcher's own mount namespace, to a place that every uid reaches."""
    status_fd: int = -1  #: the command writes {"child-pid": n} there
    block_fd: int = -1
    """The command reads one byte from it when the container is complete, then starts the first process."""
    assembly: Assembly | None = None  #: instead of the two descriptors: a gate inside does what they are for
    stop_signal: int = signal.SIGTERM  #: asks the first process to end
    is_machine: bool = False  #: what machined, where there is one, would call a machine
    code_of_signals: int = 0
    """What it ends with when a signal has ended the first process, if that code does not say which signal."""


class Backend(ABC):
    kind: BackendKind

    @abstractmethod
    def check(self, spec: ContainerSpec) -> None:
        """Raises FaultError (`backend`) when this host cannot run such a container; the text has the remedy."""

    @abstractmethod
    def start_command(self, spec: ContainerSpec) -> Command:
        """For a spec that passed `check`."""

    @abstractmethod
    def enter_argv(self, init: Process, argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> tuple[str, ...]:
        """Executed on the host by the operator: runs `argv` in the container whose first process is `init`.

        No secrets in `env`: the command line is there for every user of the host to read.
        """

    @abstractmethod
    def findings(self) -> tuple[Finding, ...]:
        """What `hive doctor` shows about this backend on this host."""

    @abstractmethod
    def hint(self, last_words: str) -> str:
        """What to do about a container that did not start, out of what it said; empty when nothing is known."""
