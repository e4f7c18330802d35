"""What is on disk about a container, so that a hive that comes back finds it. Written by the launcher."""

import signal
from pathlib import Path

import msgspec

from hyperhive.config import trees
from hyperhive.containers import cgroups
from hyperhive.containers.keeper import Exit
from hyperhive.containers.logs import Mark
from hyperhive.containers.pidfd import Process

_MAX_RECORD = 65536


class Record(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    shim: Process
    init: Process | None  #: None: the hive or the launcher died before the first process was there
    writer: Process | None = None  #: of the log
    boot: str
    cgroup: str = ""  #: its place in the cgroup2 tree, as the kernel reports it
    directories: list[str] = []  #: control groups
    network: str = ""
    uid: int | None = None
    stop_signal: int = 15  #: asks the first process to end
    code_of_signals: int = 0  #: in the shim's words: a signal that nobody names; 0: it names them
    started_at: float = 0.0

    def told(self, code: int | None, *, oom: bool, signalled: int) -> Exit:
        """How it ended, by what the shim wrote; `signalled`: the last signal that we sent, 0 without one."""
        if self.code_of_signals and code == self.code_of_signals:
            number = signal.SIGKILL if oom else signalled if signalled < signal.SIGRTMIN else 0
            return Exit(signal=number, oom=oom) if number else Exit(status=code, oom=oom)
        # The shim speaks as shells do: 128 and the signal's number.
        if code is not None and 128 < code <= 128 + signal.SIGRTMAX:
            return Exit(signal=code - 128, oom=oom)
        return Exit(status=code, oom=oom)


class Place:
    """A container's directory under the runtime's: record, exit status, logs. 0700; the container never sees it."""

    def __init__(self, parent: Path, name: str) -> None:
        self.path = parent / name
        self.log = self.path / "log"
        self.journal = self.path / "journal"

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def record(self) -> Record | None:
        """None when there is none or it is damaged."""
        try:
            with (self.path / "record.json").open("rb") as file:
                return msgspec.json.decode(file.read(_MAX_RECORD), type=Record)
        except (OSError, msgspec.MsgspecError):
            return None

    def make_mark(self) -> Mark:
        """What is written to the log from now on is of a new life."""
        mark = Mark.of(self.log)
        (self.path / "mark").write_bytes(msgspec.json.encode(mark))
        return mark

    def mark(self) -> Mark | None:
        """Where the latest life begins in the log."""
        try:
            return msgspec.json.decode((self.path / "mark").read_bytes(), type=Mark)
        except (OSError, msgspec.MsgspecError):
            return None

    def exit_code(self) -> int | None:
        """What the shim wrote; None when it had no time to."""
        try:
            with (self.path / "exit").open() as file:
                return int(file.read(16))
        except (OSError, ValueError):
            return None

    def oom_kills(self) -> int:
        """What the kernel had counted in the shim's control group when the container ended."""
        return cgroups.oom_kills_in(self.path / "oom")

    def forget(self) -> None:
        """The container is gone; its logs stay."""
        for name in ("record.json", "exit", "exit.new", "oom", "record.new", "up", "go", "out", "plan", "said"):
            (self.path / name).unlink(missing_ok=True)

    def forget_journal(self) -> None:
        """The container has none any more."""
        trees.remove(self.journal)

    def erase(self) -> None:
        trees.remove(self.path)
