"""The way of a commit into the daemon, and the container that reads it."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path, PurePosixPath
from types import FrameType

import pytest

import needs
from config_house import AGENT, ConfigHouse
from hyperhive.config.beneath import read_beneath
from hyperhive.containers.confined import run_confined
from hyperhive.containers.keeper import Exit
from hyperhive.containers.records import Place
from hyperhive.containers.runtime import Runtime
from hyperhive.containers.spec import Mount
from hyperhive.hub.config_reader import READER_UID, ConfigReader, check_meant
from hyperhive.hub.directories import FIRST_UID, LAST_UID
from hyperhive.hub.plan import Tooling
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.repos.pinned import Pinned
from hyperhive.repos.proposed import seed
from hyperhive.testing.backend_conformance import Ground, bubblewrap_ground, says

pytestmark = pytest.mark.container

UID = READER_UID if os.geteuid() == 0 else None


def with_runtime(directory: Path, act: Callable[[Runtime, Ground], Awaitable[None]]) -> None:
    needs.bwrap()

    async def main() -> None:
        ground = await bubblewrap_ground(directory, uid=UID)
        runtime = await ground.make()
        try:
            await act(runtime, ground)
        finally:
            await runtime.kill("probe")
            await runtime.close()

    asyncio.run(main())


def test_a_seeded_repository_is_read_as_it_was_made(tmp_path: Path) -> None:
    house = ConfigHouse(tmp_path)
    house.paths.proposed.mkdir(parents=True)
    (tmp_path / "state/staging").mkdir()
    owner = 21_003 if os.geteuid() == 0 else None
    files = {"agent.toml": b"description = 'x'\n"}
    assert seed(house.paths.proposed, AGENT, files, uid=owner, staging=tmp_path / "state/staging")
    pinned = house.read("HEAD")
    assert pinned.message == "The config of coder"
    assert ("blob", b"description = 'x'\n") in pinned.objects
    if owner is not None:
        assert {path.lstat().st_uid for path in (house.config, *house.config.rglob("*"))} == {owner}


def test_reading_leaves_nothing_behind_and_a_left_over_of_a_killed_hive_does_no_harm(tmp_path: Path) -> None:
    house = ConfigHouse(tmp_path)
    repository = house.repository()
    left_over = house.paths.state_dir / "reading/coder/repository/objects"
    left_over.mkdir(parents=True)
    assert house.read(repository.first).sha == repository.first
    assert list((house.paths.state_dir / "reading").iterdir()) == []
    assert list((tmp_path / "ground/containers").iterdir()) == []


def test_a_repository_with_too_much_in_it_is_not_copied(tmp_path: Path) -> None:
    house = ConfigHouse(tmp_path)
    repository = house.repository()
    with (repository.path / ".git/objects/pack" / f"pack-{'0' * 40}.pack").open("wb") as pack:
        pack.truncate(200 << 20)  # sparse: it takes no room here
    with pytest.raises(FaultError, match="git gc") as caught:
        house.read(repository.first)
    assert caught.value.kind is FaultKind.BAD_COMMIT


def test_no_agent_has_the_uid_of_what_reads_their_repositories() -> None:
    assert not FIRST_UID <= READER_UID <= LAST_UID


def test_a_confined_program_that_takes_too_long_is_ended_and_erased(tmp_path: Path) -> None:
    async def act(runtime: Runtime, ground: Ground) -> None:
        with pytest.raises(FaultError, match="took longer") as caught:
            await run_confined(runtime, ground.spec("/bin/sleep", "1000"), timeout_s=0.5)
        assert caught.value.kind is FaultKind.BACKEND
        assert runtime.running("probe") is None
        assert Place(runtime.directory, "probe").record() is None

    with_runtime(tmp_path / "ground", act)


def test_a_confined_program_that_a_killed_hive_left_running_is_ended_first(tmp_path: Path) -> None:
    async def act(runtime: Runtime, ground: Ground) -> None:
        left = await runtime.start(ground.spec("/bin/sleep", "1000"))
        assert await run_confined(runtime, ground.spec("/bin/sh", "-c", "exit 3"), timeout_s=20) == Exit(status=3)
        assert left.is_over

    with_runtime(tmp_path / "ground", act)


def test_cancelling_ends_a_confined_program(tmp_path: Path) -> None:
    async def act(runtime: Runtime, ground: Ground) -> None:
        spec = ground.spec("/bin/sh", "-c", "echo ready; sleep 1000")
        await asyncio.to_thread(Place(runtime.directory, "probe").make)
        task = asyncio.create_task(run_confined(runtime, spec, timeout_s=50))
        await says(runtime, "ready")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert runtime.running("probe") is None

    with_runtime(tmp_path / "ground", act)


FORGER = """
import os
for act in (lambda: os.unlink("/run/reader/out"), lambda: os.rename("/run/reader/out", "/run/reader/away"),
            lambda: os.symlink("/etc/passwd", "/run/reader/out"), lambda: os.mkfifo("/run/reader/out")):
    try:
        act()
        print("replaced")
    except OSError:
        pass
open("/run/reader/out", "w").write("kept")
"""


def test_a_compromised_reader_cannot_make_its_output_anything_but_a_file(tmp_path: Path) -> None:
    async def act(runtime: Runtime, ground: Ground) -> None:
        out = tmp_path / "out"
        await asyncio.to_thread(out.touch)
        if UID is not None:
            os.chown(out, UID, UID)
        mount = Mount(source=out, target=PurePosixPath("/run/reader/out"), writable=True)
        ended = await run_confined(runtime, ground.spec("-c", FORGER, mounts=(mount,)), timeout_s=30)
        assert ended == Exit(status=0)
        assert await asyncio.to_thread(read_beneath, tmp_path, "out", 100) == b"kept"

    with_runtime(tmp_path / "ground", act)


def test_whoever_gives_up_while_a_repository_is_copied_leaves_no_thread_behind(tmp_path: Path) -> None:
    house = ConfigHouse(tmp_path)
    repository = house.repository()
    for number in range(5000):
        repository.raw("blob", b"%d" % number)
    place = house.paths.state_dir / "reading" / AGENT

    async def act(runtime: Runtime, _: Ground) -> None:
        tooling = await asyncio.to_thread(Tooling.of_this_process, Path("/bin/true"))
        reader = ConfigReader(paths=house.paths, tooling=tooling, keeper=runtime, per_agent_uids=UID is not None)
        reading = asyncio.create_task(reader.read(AGENT, "HEAD"))
        while not (place / "repository/objects").exists():  # noqa: ASYNC110 (a thread makes it, and tells nobody)
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        busy = [frame.f_code.co_filename for frame in sys._current_frames().values() for frame in _stack(frame)]
        assert not [file for file in busy if file.endswith("snapshot.py")]
        assert not place.exists()

    with_runtime(tmp_path / "ground", act)


def test_another_commit_than_the_one_asked_for_is_not_taken() -> None:
    pinned = Pinned(sha="a" * 40, objects=(), files=0, message="")
    check_meant(pinned, "aaaaaaa")
    check_meant(pinned, "HEAD")
    with pytest.raises(FaultError, match=f"it is {'a' * 40} and not {'b' * 40}"):
        check_meant(pinned, "b" * 40)


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
