"""From the start of a container to its end, after which nothing of it is left."""

import asyncio
from pathlib import Path

from hyperhive.containers import cgroups
from hyperhive.containers.keeper import Exit
from hyperhive.protocol.faults import FaultKind
from hyperhive.testing.backend_conformance.ground import OBEDIENT, Ground, descendants, hive, output, refusal_of, says


async def the_exit_status_of_the_command_is_told(ground: Ground) -> None:
    outcome, lines = await output(ground, ground.spec("/bin/sh", "-c", "echo out; echo err >&2; exit 7"))
    assert outcome == Exit(status=7), outcome
    assert lines == ["out", "err"], lines


async def a_stop_lets_the_first_process_end_by_itself(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sh", "-c", OBEDIENT))
        await says(runtime, "ready")
        assert await runtime.stop("probe", grace_s=20) == Exit(status=3)


async def a_stop_kills_what_does_not_end(ground: Ground) -> None:
    async with hive(ground) as runtime:
        running = await runtime.start(ground.spec("/bin/sleep", "1000"))
        assert await runtime.stop("probe", grace_s=0.1) == Exit(signal=9)
        assert running.is_over


async def a_second_stop_does_nothing(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sleep", "1000"))
        await runtime.kill("probe")
        assert await runtime.stop("probe") is None
        assert await runtime.kill("never-there") is None


async def two_stops_at_once_both_return(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sleep", "1000"))
        outcomes = await asyncio.gather(runtime.stop("probe", grace_s=0.1), runtime.kill("probe"))
        assert Exit(signal=9) in outcomes, outcomes


async def what_runs_cannot_be_started_again(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sleep", "1000"))
        fault = await refusal_of(runtime, ground.spec("/bin/true"))
        assert fault.kind is FaultKind.WRONG_STATE, fault
        assert runtime.running("probe") is not None


async def how_it_ended_is_told_also_when_it_cannot_be_cleared_away(ground: Ground) -> None:
    async with hive(ground) as runtime:
        running = await runtime.start(ground.spec("/bin/sleep", "1000"))
        obstacle = runtime.directory / "probe" / "record.new"
        await asyncio.to_thread(obstacle.mkdir)
        assert await runtime.kill("probe") == Exit(signal=9)
        assert running.is_over
        await asyncio.to_thread(obstacle.rmdir)


async def nothing_of_a_container_is_left(ground: Ground) -> None:
    mounts_before = await asyncio.to_thread(Path("/proc/self/mountinfo").read_text)
    async with hive(ground) as runtime:
        program = "import os,time\nfor _ in range(5):\n if not os.fork(): os.setsid(); time.sleep(1000)\n"
        running = await runtime.start(ground.spec("-c", program + "print('forked', flush=True); time.sleep(1000)"))
        await says(runtime, "forked")
        members = await asyncio.to_thread(descendants, running.record.shim.pid)
        assert len(members) >= 6, members
        await runtime.kill("probe")
        assert not await asyncio.to_thread(cgroups.members, running.directories)
        assert not await asyncio.to_thread(lambda: [path for path in running.directories if path.exists()])
        left = [pid for pid in members if await asyncio.to_thread(_lives, pid)]
        assert not left, left
    assert await asyncio.to_thread(Path("/proc/self/mountinfo").read_text) == mounts_before


async def children_end_with_the_first_process(ground: Ground) -> None:
    async with hive(ground) as runtime:
        running = await runtime.start(
            ground.spec("/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo up; read x; exit 0")
        )
        outcome = await running.wait()
        assert outcome == Exit(status=0), outcome


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
