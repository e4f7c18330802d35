"""Containers as units of a real systemd, without a hive around them. Run by scripts/vm-test."""

import asyncio
from pathlib import Path, PurePosixPath

import pytest

from base_image import base_images  # noqa: F401 - a fixture
from hyperhive.containers.keeper import Exit
from hyperhive.containers.runtime import Running, Runtime
from hyperhive.containers.spec import Init, Mount
from hyperhive.protocol.faults import FaultError
from hyperhive.testing.backend_conformance import Ground, bubblewrap_ground, hive, nspawn_ground, says
from hyperhive.testing.backend_conformance.ground import OBEDIENT, STUBBORN
from systemd_units import failed, properties, run, units

UID = 0x20000000 + (21 << 16) + 1000


async def ground_for(kind: str, directory: Path, images: Path) -> Ground:
    if kind == "bubblewrap":
        return await bubblewrap_ground(directory / "ground", uid=UID)
    layers = (images / "base" / "current" / "root",)
    return await nspawn_ground(directory / "ground", uid=UID, layers=layers, init=Init(kind))


def unit_of(running: Running) -> str:
    return Path(running.record.cgroup).name


async def started(ground: Ground, runtime: Runtime, script: str, word: str) -> Running:
    running = await runtime.start(ground.spec("/bin/sh", "-c", script))
    await says(runtime, word)
    return running


async def ask(*argv: str) -> str:
    return await asyncio.to_thread(run, *argv)


KINDS = pytest.mark.parametrize("kind", ["bubblewrap", *Init])


@KINDS
def test_the_operator_stops_the_unit_and_everything_in_it_ends(kind: str, tmp_path: Path, base_images: Path) -> None:  # noqa: F811 - it is that
    async def main() -> None:
        ground = await ground_for(kind, tmp_path, base_images)
        async with hive(ground) as runtime:
            running = await started(ground, runtime, OBEDIENT, "ready")
            unit = unit_of(running)
            await ask("systemctl", "stop", unit)
            assert await running.wait() == ground.stopped
            assert unit not in await asyncio.to_thread(units)
            assert not await asyncio.to_thread(failed)
            await started(ground, runtime, OBEDIENT, "ready")  # the name is free again

    asyncio.run(main())


@KINDS
def test_a_unit_that_is_killed_as_a_whole_is_no_failed_one(kind: str, tmp_path: Path, base_images: Path) -> None:  # noqa: F811 - it is that
    async def main() -> None:
        ground = await ground_for(kind, tmp_path, base_images)
        async with hive(ground) as runtime:
            running = await started(ground, runtime, STUBBORN, "deaf")
            await ask("systemctl", "kill", "--signal=KILL", "--kill-who=all", unit_of(running))
            await running.wait()
            assert not await asyncio.to_thread(failed)
            await started(ground, runtime, OBEDIENT, "ready")

    asyncio.run(main())


def test_a_container_that_cannot_start_leaves_no_unit_and_says_why(tmp_path: Path) -> None:
    async def main() -> None:
        ground = await bubblewrap_ground(tmp_path / "ground", uid=UID)
        async with hive(ground) as runtime:
            before = await asyncio.to_thread(units, "--type=service")
            missing = Mount(source=ground.directory / "not-there", target=PurePosixPath("/x"))
            with pytest.raises(FaultError, match="is the agent's state there"):
                await runtime.start(ground.spec("/bin/true", mounts=(missing,)))
            assert await asyncio.to_thread(units, "--type=service") <= before

    asyncio.run(main())


def test_what_the_kernel_kills_for_memory_is_counted_while_the_unit_lives_on(tmp_path: Path) -> None:
    script = "head -c 600000000 /dev/zero | tail >/dev/null; echo over; exec sleep 1000"

    async def main() -> None:
        ground = await bubblewrap_ground(tmp_path / "ground", uid=UID)
        async with hive(ground) as runtime:
            running = await started(ground, runtime, script, "over")
            assert await asyncio.to_thread(running.oom_kills) == 1
            state = await asyncio.to_thread(properties, unit_of(running), "ActiveState", "Result")
            assert state == {"ActiveState": "active", "Result": "success"}
            assert await runtime.kill("probe") == Exit(signal=9, oom=True)

    asyncio.run(main())


@pytest.mark.parametrize("init", Init)
def test_machinectl_shows_a_container_and_ends_it(init: Init, tmp_path: Path, base_images: Path) -> None:  # noqa: F811 - it is that
    async def main() -> None:
        ground = await ground_for(init, tmp_path, base_images)
        async with hive(ground) as runtime:
            running = await started(ground, runtime, OBEDIENT, "ready")
            shown = await ask(
                "machinectl", "show", "probe", "--property=Unit", "--property=Class", "--property=Leader"
            )
            facts = dict(line.split("=", 1) for line in shown.splitlines())
            assert (facts["Unit"], facts["Class"]) == (unit_of(running), "container")
            inside = await asyncio.to_thread(Path(f"/proc/{facts['Leader']}/status").read_text)
            assert inside.split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
            await ask("machinectl", "terminate", "probe")
            await running.wait()
            assert not await asyncio.to_thread(failed)

    asyncio.run(main())
