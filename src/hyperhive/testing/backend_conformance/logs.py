"""What a container writes is kept, within bounds, and can be followed."""

import asyncio
from pathlib import Path

from hyperhive.containers.keeper import Exit
from hyperhive.testing.backend_conformance.ground import Ground, hive, says


async def logs_are_followed_as_they_are_written(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sh", "-c", "echo one; read x </dev/null; echo two; exec sleep 1000"))
        await says(runtime, "two")
        assert (await runtime.logs("probe", lines=1)) == ["two"]


async def a_flood_of_output_does_not_fill_the_disk(ground: Ground) -> None:
    script = "head -c 24000000 /dev/zero | tr '\\0' 'x' | fold -w 100; echo; echo last"
    async with hive(ground) as runtime:
        await (await runtime.start(ground.spec("/bin/sh", "-c", script))).wait()
        kept = await asyncio.to_thread(_sizes, runtime.directory / "probe")
        assert kept <= 11 << 20, kept
        lines = await runtime.logs("probe", lines=999_999)
        assert len(lines) == 5000
        assert lines[-1] == "last"


async def a_line_without_end_is_cut(ground: Ground) -> None:
    async with hive(ground) as runtime:
        script = "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo last"
        await (await runtime.start(ground.spec("/bin/sh", "-c", script))).wait()
        lines = await runtime.logs("probe", lines=10)
        assert lines[-1] == "last"
        assert max(map(len, lines)) <= 4096


async def a_container_whose_log_cannot_be_kept_runs_on(ground: Ground) -> None:
    async with hive(ground) as runtime:
        log = runtime.directory / "probe" / "log"
        await asyncio.to_thread(log.mkdir, parents=True)
        script = "i=0; while test $i -lt 2000; do echo word word word word || exit 7; i=$((i+1)); done; exit 4"
        outcome = await (await runtime.start(ground.spec("/bin/sh", "-c", script))).wait()
        assert outcome == Exit(status=4), outcome
        await asyncio.to_thread(log.rmdir)


def _sizes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("log*"))
