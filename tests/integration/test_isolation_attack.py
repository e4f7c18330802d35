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
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import base_image
import needs
from base_image import base_images  # noqa: F401 - a fixture
from hyperhive.containers.nspawn import UIDS
from hyperhive.containers.runtime import Running, Runtime
from hyperhive.containers.spec import ContainerSpec, Init, Mount
from hyperhive.process import CommandFailed, run
from hyperhive.testing.backend_conformance import Ground, bubblewrap_ground, hive, nspawn_ground
from hyperhive.testing.backend_conformance.ground import LIMITS

pytestmark = [pytest.mark.container, pytest.mark.timeout(base_image.TIMEOUT_S)]

UID = 21_003 if os.geteuid() == 0 else None
NSPAWN_UID = 0x20000000 + (23 << 16) + 1000
ANSWER_S, BETWEEN_S = 30.0, 0.3
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
            finally:
                await runtime.kill("neighbour")
            said = await runtime.logs("probe")
    suid = await asyncio.to_thread((ground.directory / "state" / "suid").stat)
    worked = dict(json.loads(said[-1]))
    owner = os.geteuid() if ground.uid is None else ground.uid
    return worked | {
        "leave a setuid file of somebody else's on the host": suid.st_uid != owner,
        "keep another agent from answering meanwhile": silenced,
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
