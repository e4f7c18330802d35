"""What processes cost, from /proc."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hyperhive.config.paths import Paths
from hyperhive.containers.records import Place
from hyperhive.protocol.ids import AgentName, container_name

PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes. What several processes share is divided among them in `pss` and counted in full in `rss`."""

    pss: int
    rss: int


def memory(pid: int) -> Memory:
    """Of a process; nothing for one that has gone."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return Memory(pss=0, rss=0)
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return Memory(pss=sizes["Pss"], rss=sizes["Rss"])


def pss(pids: Iterable[int]) -> int:
    return sum(memory(pid).pss for pid in pids)


def cpu_s(pid: int) -> float:
    """Seconds of a core that the process's living threads have used, to the nanosecond."""
    threads = (PROC / str(pid) / "task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def of_container(paths: Paths, agent: str) -> dict[int, str]:
    """All that runs on the host for an agent, with what it is: its shim and log writer, and everything inside."""
    places = (paths.containers, paths.containers.with_name("nspawn"))
    records = [Place(place, container_name(AgentName(agent))).record() for place in places]
    record = next((found for found in records if found), None)
    if record is None:
        return {}
    writer = [] if record.writer is None else tree(record.writer.pid)
    parts = {pid: part for pid in {*tree(record.shim.pid), *writer} if (part := _part(pid))}
    return parts | ({record.init.pid: "runner"} if record.init and record.init.pid in parts else {})


def _part(pid: int) -> str:
    """What a process of a container is; empty for one that has gone."""
    try:
        command = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    if "hyperhive.harness.worker" in command:
        return "worker"
    return "claude" if "_bundled/claude" in command and "bwrap" not in command else "around it"


def _fields(pid: int) -> list[str]:
    """Those of /proc/PID/stat behind the name."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
