"""What an agent must not be able to do, tried from inside, over every backend that this machine has.

The table in docs/security.md is what came of it; HYPERHIVE_WRITE_DOCS=1 writes it anew.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import base_image
import needs
from base_image import base_images  # noqa: F401 - a fixture
from hyperhive.config.room import Room
from hyperhive.containers.nspawn import UIDS
from hyperhive.containers.runtime import Running, Runtime
from hyperhive.containers.spec import ContainerSpec, Init, Mount
from hyperhive.hub.disk_guard import DiskGuard, Tenant
from hyperhive.process import CommandFailed, run
from hyperhive.testing.backend_conformance import Ground, bubblewrap_ground, hive, nspawn_ground
from hyperhive.testing.backend_conformance.ground import LIMITS

pytestmark = [pytest.mark.container, pytest.mark.timeout(base_image.TIMEOUT_S)]

UID = 21_003 if os.geteuid() == 0 else None
NSPAWN_UID = 0x20000000 + (23 << 16) + 1000
ANSWER_S, BETWEEN_S = 30.0, 0.3
DISK_MIB, FLOOR_BELOW = 64, 32 << 20
FILLER = "filler"
DOCS = Path(__file__).parents[2] / "docs/security.md"
COLUMNS = ("bubblewrap", "nspawn", "nspawn, systemd")
Make = Callable[[Path], Coroutine[Any, Any, Ground]]


@pytest.fixture(scope="module", params=COLUMNS)
def column(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def outcome(column: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """Which attempts worked."""
    ground = _ground(column, request)
    place = tmp_path_factory.mktemp("isolation") / "ground"
    os.environ["HIVE_SECRET"] = "in the daemon's environment"
    try:
        return asyncio.run(_attacked(ground, place))
    finally:
        del os.environ["HIVE_SECRET"]


def _ground(column: str, request: pytest.FixtureRequest) -> Make:
    if column == "bubblewrap":
        needs.bwrap()
        return lambda place: bubblewrap_ground(place, uid=UID)
    layers = (request.getfixturevalue("base_images") / "base" / "current" / "root",)
    init = Init.SYSTEMD if "systemd" in column else Init.RUNNER
    return lambda place: nspawn_ground(place, uid=NSPAWN_UID, layers=layers, init=init)


async def _attacked(make: Make, place: Path) -> dict[str, bool]:
    ground = await make(place)
    await asyncio.to_thread(_victims, ground.directory)
    program = Path(__file__).parents[1] / "attack_program.py"
    config = await ground.mount("config", writable=False)
    await asyncio.to_thread((config.source / "settings").touch)
    mounts = (
        await ground.mount("state"),
        config,
        Mount(source=program, target=PurePosixPath("/attack/program.py")),
    )
    async with _services(ground.directory / "other") as (abstract, port):
        limits = (LIMITS.pids, LIMITS.memory_bytes, LIMITS.tmp_bytes)
        victims = (ground.directory / "secret", os.getpid(), abstract, port, ground.directory / "other")
        argv = (ground.python, "-I", "-S", "/attack/program.py", *map(str, (*victims, *limits)))
        async with hive(ground) as runtime:
            await runtime.start(_neighbour(ground))
            try:
                silenced = await _silenced(runtime, await runtime.start(ground.spec(*argv, mounts=mounts)))
                full = await _stays_full(ground, runtime)
            finally:
                await runtime.kill("neighbour")
            said = await runtime.logs("probe")
    suid = await asyncio.to_thread((ground.directory / "state" / "suid").stat)
    worked = dict(json.loads(said[-1]))
    owner = os.geteuid() if ground.uid is None else ground.uid
    return worked | {
        "leave a setuid file of somebody else's on the host": suid.st_uid != owner,
        "keep another agent from answering meanwhile": silenced,
        "fill the hive's disk and go on": full,
    }


def _neighbour(ground: Ground) -> ContainerSpec:
    uid = None if ground.uid is None else ground.uid + (UIDS if ground.layers else 1)
    return dataclasses.replace(ground.spec("/bin/sleep", "1000"), name="neighbour", uid=uid)


async def _silenced(runtime: Runtime, attack: Running) -> bool:
    """Whether the neighbour ever fails to answer until the attack is over."""
    argv = runtime.enter_argv("neighbour", ["echo", "here"], env={"PATH": "/usr/bin:/bin"}, cwd="/")
    over = asyncio.create_task(attack.wait())
    try:
        while not over.done():
            await run(argv, timeout=ANSWER_S)
            await asyncio.wait((over,), timeout=BETWEEN_S)
    except CommandFailed:
        return True
    finally:
        await over
    return False


async def _stays_full(ground: Ground, runtime: Runtime) -> bool:
    """Whether an agent that fills the disk of its state goes on, or keeps its neighbour from answering meanwhile."""
    with _small_disk(ground.directory / "disk") as disk:
        (disk / "state").mkdir()
        (disk / "commons").mkdir()
        if ground.uid is not None:
            os.chown(disk / "state", ground.uid, ground.uid)
        landlord = _Landlord(runtime, disk / "state")
        floor = Room.at(disk).free - FLOOR_BELOW
        guard = DiskGuard(place=disk, commons=disk / "commons", landlord=landlord, wanted_floor=floor)
        await guard.open()
        try:
            await asyncio.wait_for(landlord.is_counted.wait(), ANSWER_S)
            fill = f"dd if=/dev/zero of=/state/fill bs=1M count={DISK_MIB} 2>&1; exec sleep 1000"
            mount = Mount(source=disk / "state", target=PurePosixPath("/state"), writable=True)
            filler = dataclasses.replace(ground.spec("/bin/sh", "-c", fill, mounts=(mount,)), name=FILLER)
            attack = await runtime.start(filler)
            silenced = asyncio.create_task(_silenced(runtime, attack))
            ended, _ = await asyncio.wait((silenced,), timeout=ANSWER_S)
            await runtime.kill(FILLER)
            return not ended or await silenced or not landlord.told
        finally:
            await guard.close()


@contextlib.contextmanager
def _small_disk(place: Path) -> Iterator[Path]:
    """A file system of its own, where we may make one."""
    place.mkdir()
    if os.geteuid() != 0:
        yield place
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


class _Landlord:
    """Of one agent, whose container the guard may end."""

    def __init__(self, runtime: Runtime, state: Path) -> None:
        self._runtime, self._state = runtime, state
        self.is_counted = asyncio.Event()
        self.told: list[str] = []

    def tenants(self) -> Sequence[Tenant]:
        return [
            Tenant(
                name=FILLER, runs=self._runtime.running(FILLER) is not None, is_kept_down=bool(self.told),
                places=(self._state,), written=lambda: self._runtime.written(FILLER),
            )
        ]  # fmt: skip

    async def keep_down(self, name: str, why: str, *, at_once: bool) -> None:
        assert at_once
        self.told.append(why)
        await self._runtime.kill(name)

    async def let_up(self, name: str) -> bool:
        raise AssertionError(f"{name} has left no room")

    def counted(self, name: str, size: int) -> None:
        self.is_counted.set()

    def tell_of_stop(self, name: str, why: str) -> None:
        pass

    def tell_short(self, text: str) -> None:
        pass


def _victims(directory: Path) -> None:
    (directory / "secret").write_text("of the host")
    (directory / "secret").chmod(0o644)
    for path in ("notes", "claude/.credentials.json", "journal/system.journal"):
        victim = directory / "other" / path
        victim.parent.mkdir(parents=True, exist_ok=True)
        victim.write_text("of another agent")


@contextlib.asynccontextmanager
async def _services(other: Path) -> AsyncIterator[tuple[str, int]]:
    """What listens on the host: an abstract socket, a port of the loopback, another agent's socket."""
    name = f"hyperhive-attack-{os.getpid()}"
    with (
        socket.socket(socket.AF_UNIX) as abstract,
        socket.create_server(("127.0.0.1", 0)) as port,
        socket.socket(socket.AF_UNIX) as agents,
    ):
        abstract.bind(f"\0{name}")
        abstract.listen()
        agents.bind(str(other / "mcp.sock"))
        agents.listen()
        yield name, port.getsockname()[1]


def test_nothing_of_the_host_or_of_other_agents_is_reached_from_inside(outcome: dict[str, bool]) -> None:
    assert [name for name, did in outcome.items() if did] == []
    assert len(outcome) >= 60


def test_the_page_on_security_has_exactly_what_was_tried(column: str, outcome: dict[str, bool]) -> None:
    if os.environ.get("HYPERHIVE_WRITE_DOCS"):
        _write(column, outcome)
    shown = {row[0]: row[1 + COLUMNS.index(column)] for row in _table()}
    assert shown == {name: _word(did) for name, did in outcome.items()}


def _word(worked: bool) -> str:
    return "**works**" if worked else "refused"


def _table() -> Iterator[list[str]]:
    """The rows of the page's table: what was tried, and what came of it in each column."""
    page = DOCS.read_text()
    block = page[page.index("<!-- isolation -->") : page.index("<!-- /isolation -->")]
    for line in block.splitlines():
        if line.startswith("| ") and not line.startswith("| tried from"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _write(column: str, outcome: dict[str, bool]) -> None:
    known = {row[0]: row[1:] for row in _table()}
    lines = [f"| tried from inside | {' | '.join(COLUMNS)} |", f"|{'---|' * (1 + len(COLUMNS))}"]
    for name, did in outcome.items():
        cells = known.get(name, ["?"] * len(COLUMNS))
        cells[COLUMNS.index(column)] = _word(did)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    page = DOCS.read_text()
    before, rest = page.split("<!-- isolation -->", 1)
    _, after = rest.split("<!-- /isolation -->", 1)
    DOCS.write_text(before + "<!-- isolation -->\n" + "\n".join(lines) + "\n<!-- /isolation -->" + after)
