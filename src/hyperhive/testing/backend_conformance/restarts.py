"""Containers live on when their hive ends, and the next hive finds them."""

import asyncio
import os

import msgspec

from hyperhive.containers import pidfd
from hyperhive.containers.keeper import Exit
from hyperhive.testing.backend_conformance.ground import OBEDIENT, Ground, hive, says


async def a_start_clears_away_what_an_earlier_life_left(ground: Ground) -> None:
    earlier = await ground.make()
    left = await earlier.start(ground.spec("/bin/sleep", "1000"))
    await earlier.close()
    async with hive(ground) as runtime:
        outcome = await (await runtime.start(ground.spec("/bin/sh", "-c", "exit 4"))).wait()
        assert outcome == Exit(status=4), outcome
        assert left.record.init is not None
        assert await asyncio.to_thread(pidfd.open_process, left.record.init) is None


async def what_was_killed_can_be_started_again_at_once(ground: Ground) -> None:
    async with hive(ground) as runtime:
        for _ in range(3):
            await runtime.start(ground.spec("/bin/sleep", "1000"))
            assert await runtime.kill("probe") == Exit(signal=9)


async def a_status_that_is_no_signal_is_told_as_it_is(ground: Ground) -> None:
    async with hive(ground) as runtime:
        outcome = await (await runtime.start(ground.spec("/bin/sh", "-c", "exit 255"))).wait()
        assert outcome == Exit(status=255), outcome


async def a_container_outlives_its_hive_and_is_adopted(ground: Ground) -> None:
    earlier = await ground.make()
    await earlier.start(ground.spec("/bin/sh", "-c", OBEDIENT))
    await says(earlier, "ready")
    await earlier.close()
    async with hive(ground) as runtime:
        assert [running.name for running in await runtime.adopt()] == ["probe"]
        assert await runtime.stop("probe", grace_s=20) == ground.stopped
    following = await ground.make()
    assert await following.adopt() == []
    await following.close()


async def a_container_that_ended_while_no_hive_was_there_tells_how(ground: Ground) -> None:
    shared = await ground.mount("shared")
    await asyncio.to_thread(os.mkfifo, shared.source / "go", 0o666)
    await asyncio.to_thread((shared.source / "go").chmod, 0o666)
    earlier = await ground.make()
    left = await earlier.start(ground.spec("/bin/sh", "-c", "read x </shared/go; exit 5", mounts=(shared,)))
    await earlier.close()
    shim = await asyncio.to_thread(pidfd.open_process, left.record.shim)
    assert shim is not None
    await asyncio.to_thread((shared.source / "go").write_text, "now\n")
    await pidfd.ended(shim)
    os.close(shim)
    async with hive(ground) as runtime:
        (adopted,) = await runtime.adopt()
        outcome = await adopted.wait()
        assert outcome == Exit(status=5), (outcome, await runtime.logs("probe"))


async def a_record_of_a_process_that_is_no_longer_the_same_harms_nobody(ground: Ground) -> None:
    earlier = await ground.make()
    running = await earlier.start(ground.spec("/bin/sh", "-c", "exit 0"))
    record = running.record
    await running.wait()
    await earlier.close()
    ours = pidfd.Process(pid=os.getpid(), start=1)
    forged = msgspec.structs.replace(record, init=ours, shim=ours, directories=[])
    path = earlier.directory / "probe" / "record.json"
    await asyncio.to_thread(path.write_bytes, msgspec.json.encode(forged))
    async with hive(ground) as runtime:
        (adopted,) = await runtime.adopt()
        await adopted.wait()
