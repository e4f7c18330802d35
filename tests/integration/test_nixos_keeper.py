"""Containers of NixOS kept over the stand-in: real containers of systemd-nspawn; nixos-container is ours."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath

import pytest

import nixos_house as house
from hyperhive.containers.keeper import Exit, LogUnit
from hyperhive.containers.nixos import NixosKeeper, NixosLife
from hyperhive.containers.spec import Mount, Network
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.testing import nixos_standin

calls = house.off_loop(nixos_standin.calls)
commit = house.off_loop(house.FlakeOfOne.commit)

pytestmark = pytest.mark.container


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    house.needed()
    house.install(tmp_path)
    yield tmp_path
    nixos_standin.end_all(tmp_path)


@pytest.fixture
def flake(root: Path) -> house.FlakeOfOne:
    flake = house.FlakeOfOne(root=root)
    flake.commit(agent_nix="{ }", agent_toml='model = "sonnet"\n')
    return flake


@contextlib.asynccontextmanager
async def hive(root: Path, flake: house.FlakeOfOne) -> AsyncIterator[NixosKeeper]:
    keeper = await house.keeper(root, flake)
    try:
        yield keeper
    finally:
        await keeper.close()


async def says(keeper: NixosKeeper, beginning: str) -> str:
    """The first line of the harness that begins so."""
    async with asyncio.timeout(30), contextlib.aclosing(keeper.follow_logs("probe", unit=LogUnit.HARNESS)) as lines:
        async for line in lines:
            if line.startswith(beginning):
                return line
    raise AssertionError(beginning)


@house.off_loop
def conf(root: Path) -> str:
    return (root / "etc/nixos-containers/probe.conf").read_text()


@house.off_loop
def leader(life: NixosLife) -> str:
    """The container's first process."""
    return Path(f"/proc/{life.main.pid}/task/{life.main.pid}/children").read_text().split()[0]


@house.off_loop
def namespace(pid: str, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


@house.off_loop
def uid_of(path: str) -> int:
    return Path(path).stat().st_uid


@house.off_loop
def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@house.off_loop
def inside(keeper: NixosKeeper, *argv: str) -> str:
    command = keeper.enter_argv("probe", argv, env={"HOME": "/home/agent"}, cwd="/state")
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_a_container_lives_from_its_creation_to_its_removal(root: Path, flake: house.FlakeOfOne) -> None:
    async def main() -> None:
        async with hive(root, flake) as keeper:
            life = await keeper.start(await house.spec(root, greeting='a "quoted" word'))
            assert await says(keeper, "ready") == f'ready {house.UID} a "quoted" word'
            assert keeper.running("probe") is life
            assert await inside(keeper, "id", "-un") == "agent\n"
            assert "eth" not in await inside(keeper, "cat", "/proc/net/dev")
            await inside(keeper, "touch", "/state/mine")
            assert await uid_of(f"{root}/state/mine") == house.UID
            with pytest.raises(subprocess.CalledProcessError):
                await inside(keeper, "touch", "/run/hive/mine")
            assert await keeper.stop("probe", grace_s=20) == Exit(status=0)
            assert "bye" in await keeper.logs("probe", unit=LogUnit.HARNESS)
            await keeper.erase("probe")
            assert not await names(root / "etc/nixos-containers")
            assert not await names(root / "run/systemd/system")
            assert not await names(root / "records")

    asyncio.run(main())


def test_users_network_and_limits_are_the_containers_own(root: Path, flake: house.FlakeOfOne) -> None:
    async def main() -> None:
        async with hive(root, flake) as keeper:
            life = await keeper.start(await house.spec(root))
            first = await leader(life)
            for kind in ("net", "user", "pid", "mnt"):
                assert await namespace(first, kind) != await namespace("self", kind), kind
            assert await uid_of(f"/proc/{first}") >= 65_536
            assert "PRIVATE_USERS=pick" in await conf(root)
            drop_in = await house.drop_in(root, "probe")
            assert f"MemoryMax={256 << 20}\n" in drop_in
            assert "CPUQuota=200%\n" in drop_in
            assert "TasksMax=64\n" in drop_in
            await keeper.kill("probe")

    asyncio.run(main())


def test_the_host_network_is_had_on_request(root: Path, flake: house.FlakeOfOne) -> None:
    async def main() -> None:
        async with hive(root, flake) as keeper:
            life = await keeper.start(await house.spec(root, network=Network.HOST))
            first = await leader(life)
            assert await namespace(first, "net") == await namespace("self", "net")
            await keeper.kill("probe")

    asyncio.run(main())


def test_before_25_05_an_agent_has_its_uid_of_the_host(root: Path, flake: house.FlakeOfOne) -> None:
    house.install(root, release="24.11")

    async def main() -> None:
        async with hive(root, flake) as keeper:
            await keeper.start(await house.spec(root))
            assert await says(keeper, "ready") == f"ready {house.UID}"
            assert "PRIVATE_USERS" not in await conf(root)
            assert "idmap" not in await conf(root)
            await keeper.kill("probe")

    asyncio.run(main())


def test_a_death_is_an_event_and_nobody_starts_it_again(root: Path, flake: house.FlakeOfOne) -> None:
    async def main() -> None:
        async with hive(root, flake) as keeper:
            life = await keeper.start(await house.spec(root))
            os.kill(life.main.pid, signal.SIGKILL)
            async with asyncio.timeout(30):
                assert await life.wait() == Exit(signal=9)
            assert keeper.running("probe") is None
            assert await house.show(root, "probe", "ActiveState") == "inactive"
            again = await keeper.start(await house.spec(root))
            assert again is not life
            await keeper.kill("probe")

    asyncio.run(main())


def test_a_reboot_from_inside_is_an_end_like_any_other(root: Path, flake: house.FlakeOfOne) -> None:
    house.install(root, script="while [ ! -e /state/go ]; do sleep 0.1; done; exit 133")

    async def main() -> None:
        async with hive(root, flake) as keeper:
            life = await keeper.start(await house.spec(root))
            await asyncio.to_thread((root / "state/go").touch)
            async with asyncio.timeout(30):
                await life.wait()
            assert await house.show(root, "probe", "ActiveState") in ("inactive", "failed")
            assert keeper.running("probe") is None

    asyncio.run(main())


def test_a_hive_that_comes_back_finds_its_containers(root: Path, flake: house.FlakeOfOne) -> None:
    async def main() -> None:
        async with hive(root, flake) as first:
            life = await first.start(await house.spec(root))
        async with hive(root, flake) as second:
            (found,) = await second.adopt()
            assert (found.name, found.main) == ("probe", life.main)
            assert not found.is_over
        os.kill(life.main.pid, signal.SIGKILL)
        async with hive(root, flake) as third:
            (ended,) = await third.adopt()
            async with asyncio.timeout(30):
                assert await ended.wait() == Exit(signal=9)
        async with hive(root, flake) as fourth:
            assert await fourth.adopt() == []

    asyncio.run(main())


def test_a_system_that_does_not_build_leaves_nothing_in_the_way(root: Path, flake: house.FlakeOfOne) -> None:
    flake.commit(agent_nix='throw "no such package"', agent_toml="")

    async def main() -> None:
        async with hive(root, flake) as keeper:
            with pytest.raises(FaultError, match="no such package") as refused:
                await keeper.start(await house.spec(root))
            assert refused.value.kind is FaultKind.BACKEND
            assert not await names(root / "etc/nixos-containers")
            await commit(flake, agent_nix="{ }", agent_toml="")
            await keeper.start(await house.spec(root))
            await keeper.kill("probe")

    asyncio.run(main())


def test_a_system_is_built_again_only_when_it_would_be_another(root: Path, flake: house.FlakeOfOne) -> None:
    async def main() -> None:
        async with hive(root, flake) as keeper:
            for _ in range(2):
                await keeper.start(await house.spec(root))
                await keeper.kill("probe")
            await commit(flake, agent_nix="{ }", agent_toml='model = "opus"\n')
            await keeper.start(await house.spec(root))
            await keeper.kill("probe")
            assert await asyncio.to_thread(keeper.settings, "probe") == b'{"model": "opus"}'
        verbs = [call.split()[0] for call in await calls(root)]
        assert [verb for verb in verbs if verb in ("create", "update")] == ["create", "update"]
        built = [call for call in await calls(root) if call.startswith(("create", "update"))]
        assert all(f"--flake {root}/meta#probe" in call for call in built), built

    asyncio.run(main())
    assert not Path(".tmp").exists()


def test_a_system_that_came_into_the_profile_as_the_hive_died_is_not_taken_for_the_one_of_before(
    root: Path, flake: house.FlakeOfOne
) -> None:
    before = flake.sha

    @house.off_loop
    def update() -> None:
        update = [f"{root}/bin/nixos-container", "update", "probe", "--flake", f"{root}/meta#probe"]
        subprocess.run(update, check=True, capture_output=True, cwd=root)

    async def main() -> None:
        async with hive(root, flake) as keeper:
            await keeper.install("probe", "probe")
            assert await keeper.stands("probe") == before
        await commit(flake, agent_nix="{ }", agent_toml='model = "opus"\n')
        await update()  # what the hive had begun and did not live to write down
        async with hive(root, flake) as keeper:
            assert await keeper.stands("probe") == ""
            await commit(flake, agent_nix="{ }", agent_toml='model = "sonnet"\n')
            found = await keeper.install("probe", "probe", unless_of=before)
            assert found.settings == b'{"model": "sonnet"}'

    asyncio.run(main())


def test_a_container_goes_back_to_the_system_that_it_had_without_a_build(root: Path, flake: house.FlakeOfOne) -> None:
    async def main() -> None:
        async with hive(root, flake) as keeper:
            first = await keeper.install("probe", "probe")
            before = flake.sha
            await commit(flake, agent_nix="{ }", agent_toml='model = "opus"\n')
            second = await keeper.install("probe", "probe")
            await keeper.go_back("probe", "something else")
            await keeper.go_back("probe", second.made_of)
            assert await keeper.stands("probe") == flake.sha
            await house.knobs(root, build_fails="no network")
            await keeper.go_back("probe", first.made_of)
            assert await keeper.install("probe", "probe", unless_of=before) == first
            await house.knobs(root)
            assert (await keeper.install("probe", "probe")).settings == second.settings

    asyncio.run(main())


def test_a_start_that_takes_too_long_fails_and_leaves_nothing_running(root: Path, flake: house.FlakeOfOne) -> None:
    nixos_standin.set_knobs(root, start_times_out=True, start_timeout_s=1)

    async def main() -> None:
        async with hive(root, flake) as keeper:
            with pytest.raises(FaultError, match="failed to start container"):
                await keeper.start(await house.spec(root))
            assert await house.show(root, "probe", "ActiveState") == "inactive"
            await house.knobs(root)
            await keeper.start(await house.spec(root))
            await keeper.kill("probe")

    asyncio.run(main())


def test_a_stop_kills_what_does_not_end(root: Path, flake: house.FlakeOfOne) -> None:
    nixos_standin.set_knobs(root, stop_hangs=True)

    async def main() -> None:
        async with hive(root, flake) as keeper:
            life = await keeper.start(await house.spec(root))
            assert await keeper.stop("probe", grace_s=0.5) == Exit(signal=9)
            assert life.is_over

    asyncio.run(main())


def test_what_the_unit_would_take_apart_and_long_names_are_refused_before_a_build(
    root: Path, flake: house.FlakeOfOne
) -> None:
    odd = Mount(source=root / "a b", target=PurePosixPath("/b"))

    async def main() -> None:
        async with hive(root, flake) as keeper:
            good = await house.spec(root)
            with pytest.raises(FaultError, match="take it apart"):
                await keeper.start(type(good)(**{**vars(good), "mounts": (*good.mounts, odd)}))
            with pytest.raises(FaultError, match="at most 9"):
                await keeper.start(await house.spec(root, name="h-abcdefghij"))
        assert not await calls(root)

    asyncio.run(main())


def test_a_system_cannot_have_the_hive_read_files_outside_of_the_store(root: Path, flake: house.FlakeOfOne) -> None:
    def link(target: str) -> None:
        system = (root / "nix/var/nix/profiles/per-container/probe/system").resolve()
        (system / "etc/hyperhive/agent.json").unlink()
        (system / "etc/hyperhive/agent.json").symlink_to(target)

    async def main() -> None:
        async with hive(root, flake) as keeper:
            assert (await keeper.install("probe", "probe")).settings == b'{"model": "sonnet"}'
            for target in ("/etc/passwd", "/dev/zero", str(root / "nix/store")):
                await asyncio.to_thread(link, target)
                assert await asyncio.to_thread(keeper.settings, "probe") is None

    asyncio.run(main())


def test_a_container_of_somebody_else_is_left_alone(root: Path, flake: house.FlakeOfOne) -> None:
    foreign = root / "etc/nixos-containers/h-mine.conf"
    foreign.parent.mkdir()
    foreign.write_text("PRIVATE_NETWORK=1\n")

    async def main() -> None:
        async with hive(root, flake) as keeper:
            await keeper.erase("h-mine")
            assert await keeper.adopt() == []

    asyncio.run(main())
    assert foreign.read_text() == "PRIVATE_NETWORK=1\n"
