"""On which addresses a process listens for TCP, from /proc."""

import re
import socket
import struct
from pathlib import Path
from typing import Final

_LISTENS: Final = "0A"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


def addresses(pid: int, proc: Path = Path("/proc")) -> list[str]:
    """Sorted. Nothing for a process that has gone, or that is another user's."""
    own = _sockets(proc / str(pid) / "fd")
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / str(pid) / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        fields = [line.split() for line in lines]
        found |= {_address(row[1].partition(":")[0]) for row in fields if row[3] == _LISTENS and row[9] in own}
    return sorted(found)


def _sockets(descriptors: Path) -> set[str]:
    """The inodes of those that the process has open."""
    try:
        leading_to = [_target(descriptor) for descriptor in descriptors.iterdir()]
    except OSError:
        return set()
    return {found[1] for target in leading_to if (found := _SOCKET.fullmatch(target))}


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""  # closed meanwhile


def _address(digits: str) -> str:
    """The kernel writes words of 32 bits, each as a number of this machine's."""
    packed = b"".join(struct.pack("=I", int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
