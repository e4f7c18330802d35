"""Containers as units of a real systemd, without a hive around them. Run by scripts/vm-test."""

import asyncio
import sys
from pathlib import Path, PurePosixPath

import pytest
from bench.processes import pss, tree

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


def test_what_is_around_a_container_takes_little_memory_where_systemd_s_libraries_are_in_use_anyway(
    tmp_path: Path,
    base_images: Path,  # noqa: F811 - it is that
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main() -> float:
        ground = await ground_for(Init.RUNNER, tmp_path, base_images)
        async with hive(ground) as runtime:
            running = await started(ground, runtime, OBEDIENT, "ready")
            return await asyncio.to_thread(around, running) / (1 << 20)

    megabytes = asyncio.run(main())
    with capsys.disabled():
        sys.stdout.write(f"{megabytes:.1f} MB PSS ")
    assert megabytes < 4


def around(running: Running) -> int:
    """Bytes (PSS) of nspawn, its stub, the shim and the log writer."""
    record = running.record
    assert record.init is not None
    assert record.writer is not None
    return pss({*tree(record.shim.pid), *tree(record.writer.pid)} - {*tree(record.init.pid)})


@KINDS
def test_a_container_is_started_and_stopped_whatever_is_in_the_hive_s_path(
    kind: str,
    tmp_path: Path,
    base_images: Path,  # noqa: F811 - it is that
) -> None:
    async def main() -> None:
        ground = await ground_for(kind, tmp_path / "$HOME of 50% \u00fc", base_images)
        async with hive(ground) as runtime:
            running = await started(ground, runtime, OBEDIENT, "ready")
            await ask("systemctl", "stop", unit_of(running))
            assert await running.wait() == ground.stopped

    asyncio.run(main())
