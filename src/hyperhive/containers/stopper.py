"""Asks a container to end, for systemd when it stops the unit that the container is: a program of its own, run by path
with the container's directory and nothing but the standard library.

Without it systemd would signal every process of the unit: the ones around the container go at once, and how the
container ends is then seen by nobody.
"""

# pathlib would be a good part of this program's start
# ruff: noqa: PTH123

import json
import os
import select
import signal
import sys
from typing import Any


def main(directory: str, patience_s: float) -> None:
    """Comes back when the container has ended, or does not within that time."""
    try:
        with open(f"{directory}/record.json") as file:
            record = json.load(file)
    except FileNotFoundError:
        return  # the hive has cleared it away
    init, shim = _open(record["init"]), _open(record["shim"])
    if init >= 0:
        signal.pidfd_send_signal(init, record["stop_signal"])
    if shim >= 0:
        select.select([shim], [], [], patience_s)


def _open(process: dict[str, Any] | None) -> int:
    """A descriptor of that process, not of one that has got its number since; -1 when it is gone."""
    try:
        if process is None:
            return -1
        fd = os.pidfd_open(process["pid"])
        with open(f"/proc/{process['pid']}/stat", "rb") as file:
            start = int(file.read().rpartition(b")")[2].split()[19])
    except OSError:
        return -1
    return fd if start == process["start"] else -1


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
