"""What `hive doctor` looks at: each check is one question with one answer, and changes nothing."""

import asyncio
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from hyperhive import __version__, process
from hyperhive.cli import dashboard_checks
from hyperhive.cli.finding import Finding
from hyperhive.cli.safe import one_line
from hyperhive.client import Client, ClientError, NoDaemonError
from hyperhive.config import claude
from hyperhive.config.paths import Paths, is_present
from hyperhive.config.room import Floor, Room, size_words
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError
from hyperhive.rehearsal.credentials import real_credentials

LEAST_SPACE: Final = 1 << 30
OLDEST_PYTHON: Final = (3, 11)
CHECK_S: Final = 30.0


async def all_of_them(own: Paths, used: Paths, environ: Mapping[str, str]) -> list[Finding]:
    """`own` is the hive that this user would serve, `used` the one they talk to."""
    daemon, hello = await _daemon(used)
    return [
        python(sys.version_info[:3]),
        await _claude(environ),
        *await containers(),
        *(await asyncio.to_thread(_directories, own) if own == used else []),
        await asyncio.to_thread(disk_space, used.state_dir),
        daemon,
        *([rehearsal_alone(environ)] if hello is not None and hello.rehearsal else []),
        *await asyncio.to_thread(second_daemons, hello.pid if hello else 0, used),
        *(await kept_down(used) if hello is not None else []),
        *(await _dashboard(used, hello) if hello is not None else []),
    ]


def python(version: tuple[int, ...]) -> Finding:
    return Finding(
        name="python",
        ok=version >= OLDEST_PYTHON,
        detail=f"{'.'.join(map(str, version))} at {sys.executable}",
        remedy="install Python 3.11 or newer and run `make install` with PYTHON=python3.11",
    )


async def _claude(environ: Mapping[str, str]) -> Finding:
    try:
        path = await asyncio.to_thread(claude.find, environ)
        said = await process.run(
            [str(path), "--version"], timeout=CHECK_S, env={**process.PLAIN_ENV, "HOME": "/nonexistent"}
        )
    except FaultError as fault:
        return Finding(name="claude", ok=False, detail="not found", remedy=fault.message)
    except process.CommandFailed as failure:
        return Finding(name="claude", ok=False, detail=str(failure), remedy="install the package again: make install")
    return Finding(name="claude", ok=True, detail=f"{said.text().strip()[:100]} at {path}")


async def containers() -> list[Finding]:
    """What the backend says about this host. Asked as a program, because a client does not know backends."""
    argv = [sys.executable, "-m", "hyperhive.containers.check", "--json"]
    environ = {**process.PLAIN_ENV, **{name: os.environ[name] for name in ("XDG_RUNTIME_DIR",) if name in os.environ}}
    said = ""
    try:
        done = await process.run(argv, env=environ, timeout=CHECK_S, check=False)
        said = done.stderr.decode(errors="replace").strip()[-500:]
        return msgspec.json.decode(done.stdout, type=list[Finding])
    except (process.CommandFailed, msgspec.DecodeError) as error:
        said = said or str(error)
        return [
            Finding(
                name="containers",
                ok=False,
                detail=f"could not be checked: {said}",
                remedy="install the package again: make install",
            )
        ]


def _directories(paths: Paths) -> list[Finding]:
    return [directory("state directory", paths.state_dir), directory("runtime directory", paths.runtime_dir)]


def directory(name: str, path: Path) -> Finding:
    """Whether the daemon can write there, or make it, and nobody else can."""
    nearest = next(place for place in (path, *path.parents) if is_present(place))
    if not nearest.is_dir():
        problem = f"{nearest} is no directory"
    elif not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
        problem = f"{nearest} is not writable for this user"
    elif nearest == path and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        problem = f"{path} is writable for others (mode {stat.S_IMODE(path.stat().st_mode):04o})"
    else:
        return Finding(name=name, ok=True, detail=str(path))
    remedy = (
        f"chown it to this user and chmod go-w, or set HYPERHIVE_{name.split()[0].upper()}_DIR to another directory"
    )
    return Finding(name=name, ok=False, detail=problem, remedy=remedy)


def disk_space(path: Path) -> Finding:
    nearest = next(place for place in (path, *path.parents) if is_present(place))
    room = Room.at(nearest)
    least = max(LEAST_SPACE, Floor.of(room).free)
    return Finding(
        name="disk space",
        ok=room.free >= least and not Floor.of(room).is_short(room),
        detail=f"{size_words(room.free)} free at {nearest}",
        remedy=f"free at least {size_words(least)}: the hive stops the agent that takes what is left, the mailbox "
        "refuses mail that it cannot keep, and no image can be made; `hive image gc` deletes those that are not used",
        needed=False,
    )


async def kept_down(paths: Paths) -> list[Finding]:
    """Agents that have no container for the disk's sake."""
    try:
        answer = await Client(paths.host_socket).call(host.AgentStatus(), timeout_s=5)
    except (ClientError, FaultError):
        return []  # that is another check's
    return [
        Finding(
            name="disk of an agent", ok=False, detail=f"{row.name} is kept down: {one_line(str(row.no_room), 200)}",
            remedy=f"make room in {paths.agent(row.name) / 'state'}, or raise limits.disk_max: hive edit {row.name}",
            needed=False,
        )
        for row in answer.agent_statuses or []
        if row.no_room
    ]  # fmt: skip


async def _daemon(paths: Paths) -> tuple[Finding, host.HiveInfo | None]:
    try:
        answer = await Client(paths.host_socket).call(host.Hello(), timeout_s=5)
    except NoDaemonError as error:
        return Finding(name="daemon", ok=False, detail=str(error), remedy="hive serve", needed=False), None
    except (ClientError, FaultError) as error:
        return Finding(name="daemon", ok=False, detail=str(error), remedy="see the daemon's log"), None
    return daemon_version(answer.hive or None), answer.hive or None


def daemon_version(hello: host.HiveInfo | None) -> Finding:
    running = hello.version if hello else "an unknown version"
    where = f", pid {hello.pid}, {hello.backend}, {hello.agents} agents" if hello else ""
    return Finding(
        name="daemon",
        ok=running == __version__,
        detail=f"{running}{where}; this program is {__version__}",
        remedy="restart the daemon: the agents keep running meanwhile",
        needed=False,
    )


async def _dashboard(paths: Paths, hello: host.HiveInfo) -> list[Finding]:
    """Attacked, if it is open."""
    try:
        answer = await Client(paths.host_socket).call(host.LoginLink(), timeout_s=5)
    except FaultError as fault:
        return [Finding(name="dashboard", ok=True, detail=f"not attacked: {fault.message}")]
    except ClientError as error:
        return [Finding(name="dashboard", ok=False, detail=f"not attacked: {error}", needed=False)]
    return await asyncio.to_thread(dashboard_checks.attacked, str(answer.login_link), hello.pid)


def rehearsal_alone(environ: Mapping[str, str]) -> Finding:
    names = real_credentials(environ)
    return Finding(
        name="credentials",
        ok=not names,
        detail=f"this hive rehearses and the environment has {', '.join(names)}"
        if names
        else "none beside the rehearsal",
        remedy=f"unset {' '.join(names)}",
        needed=False,
    )


def second_daemons(known: int, paths: Paths, proc: Path = Path("/proc")) -> list[Finding]:
    """Daemons of the same directories beside the one that answers."""
    found = [pid for pid in _pids(proc) if pid != known and _serves(proc / str(pid), paths)]
    if not found:
        return []
    listed = ", ".join(map(str, found))
    detail = f"process {listed} serves the same directories" + (f" as {known}" if known else " but does not answer")
    return [Finding(name="second daemon", ok=False, detail=detail, remedy=f"look at it and end it: kill {listed}")]


def _pids(proc: Path) -> list[int]:
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()]


def _serves(process_dir: Path, paths: Paths) -> bool:
    try:
        argv = (process_dir / "cmdline").read_bytes()[:65536].split(b"\0")
        pairs = (process_dir / "environ").read_bytes()[: 1 << 20].split(b"\0")
        owner = process_dir.stat().st_uid
    except OSError:
        return False  # it ended, or it is somebody else's
    if not _is_serve(argv):
        return False
    environ = dict(pair.decode(errors="replace").split("=", 1) for pair in pairs if b"=" in pair)
    return Paths.from_environment(environ, owner) == paths


def _is_serve(argv: list[bytes]) -> bool:
    """`hive serve`, by its own name or as an argument of an interpreter."""
    words = [Path(os.fsdecode(word)).name for word in argv]
    for place in range(len(words) - 1):
        if words[place] in ("hive", "hive-c0re", "hyperhive.cli"):
            return words[place + 1] == "serve"
    return False
