"""Starting the rehearsal model as a process, and finding one that an earlier daemon has started."""

import socket
import struct
import sys
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 2.0
_UCRED: Final = struct.Struct("3i")


def command(address: Path, script: str = "") -> list[str]:
    """The command that serves on the socket; `script` is a scenario's name or a file. It prints a line when ready."""
    chosen = ["--script", script] if script else []
    return [sys.executable, "-m", "hyperhive.rehearsal", "--socket", str(address), *chosen]


def serving_pid(address: Path) -> int | None:
    """The process that listens on the socket, or None when nobody does. Blocks for a moment at most."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PATIENCE_S)
        try:
            probe.connect(str(address))
        except OSError:
            return None
        pid, _, _ = _UCRED.unpack(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(pid)
