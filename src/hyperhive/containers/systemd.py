"""Words for systemd: the units that a hive makes for its containers and for what serves them. Pure, but for one look.

A *service* is started by systemd itself, and so is nobody's child: whatever becomes of the hive's own unit, it stays.
A *scope* is put around a child of ours.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hyperhive.containers.spec import Limits

OLDEST: Final = 243
"""The first in which what the kernel kills for want of memory does not end the whole unit, if that is wanted."""
START_S: Final = 30
"""A launcher that takes longer hangs; the hive has given up on it before."""
STOP_S: Final = 10
"""How long a container may take to end that somebody else than the hive stops: the operator, or the host's end."""
_STOPPER: Final = Path(__file__).with_name("stopper.py")


@dataclass(frozen=True, kw_only=True)
class Manager:
    """The system's, or one user's."""

    uid: int

    @property
    def is_there(self) -> bool:
        """Looks at the file system. Whoever has no session and does not linger has no manager."""
        return self.uid == 0 or Path(f"/run/user/{self.uid}/systemd/private").exists()

    def service(self, unit: str, slice_name: str, what: str, properties: Sequence[str]) -> tuple[str, ...]:
        """Goes before the `literal` words of the command that starts it; comes back when that has ended, with whether
        it ended well."""
        kind = ("--service-type=forking", f"--description={what}")
        return (*self._run(unit, slice_name), *kind, *_words(properties), "--")

    def scope(self, unit: str, slice_name: str = "", properties: Sequence[str] = ()) -> tuple[str, ...]:
        """Goes before the command that becomes it."""
        return (*self._run(unit, slice_name), "--scope", *_words(properties), "--")

    def stop(self, unit: str) -> tuple[str, ...]:
        """Comes back when nothing of it is left, its name included."""
        return (*self._tool("systemctl"), "--quiet", "stop", f"{unit}.service")

    def group(self, unit: str, slice_name: str) -> Path:
        """Where the service's control group is, below the top of the tree."""
        parts = slice_name.split("-")
        slices = [f"{'-'.join(parts[: n + 1])}.slice" for n in range(len(parts))]
        own = (f"user.slice/user-{self.uid}.slice/user@{self.uid}.service",) if self.uid else ()
        return Path(*own, *slices, f"{unit}.service")

    def _run(self, unit: str, slice_name: str) -> tuple[str, ...]:
        place = (f"--slice={slice_name}.slice",) if slice_name else ()
        return (*self._tool("systemd-run"), "--quiet", "--collect", f"--unit={unit}", *place)

    def _tool(self, name: str) -> tuple[str, ...]:
        # Commands are run with an environment from nothing, and this says where the user's manager listens.
        return ("env", f"XDG_RUNTIME_DIR=/run/user/{self.uid}", name, "--user") if self.uid else (name,)


def own_manager() -> Manager:
    return Manager(uid=os.geteuid())


def limits_of(limits: Limits) -> tuple[str, ...]:
    return (
        *(f"MemoryMax={limits.memory_bytes}", "MemorySwapMax=0", f"TasksMax={limits.pids}"),
        *(f"CPUQuota={limits.cpu_percent}%", "DevicePolicy=closed"),
    )


def launched(place: Path, said: Path) -> tuple[str, ...]:
    """What the launcher wants of the service that it begins, for a container whose directory is `place`.

    It lives as long as any process in it: none of them is the main one, or systemd would end the log writer in the
    middle of the last words. What the kernel kills for want of memory is told by the kernel's count, which is the
    container's matter and no failure of the unit's.
    """
    stopper = shlex.join(literal([sys.executable, "-I", "-S", str(_STOPPER), str(place), str(STOP_S)]))
    return (
        *("GuessMainPID=no", "Delegate=yes", "OOMPolicy=continue", "KillMode=control-group"),
        *(f"TimeoutStartSec={START_S}", f"TimeoutStopSec={STOP_S + 5}", f"ExecStop=-{stopper}"),
        *("StandardOutput=null", f"StandardError=append:{said}"),
    )


def literal(argv: Sequence[str]) -> tuple[str, ...]:
    """A service's command, whatever is in it: systemd puts the values of variables into arguments, but not into the
    path of the program."""
    return ("/bin/sh", "-c", 'exec "$$@"', "sh", *(word.replace("$", "$$") for word in argv))


def _words(properties: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for text in properties for word in ("-p", text))
