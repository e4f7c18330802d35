"""Processes, memory and file systems in memory are bounded."""

import asyncio

from hyperhive.containers.cgroups import CgroupV2
from hyperhive.containers.keeper import Exit
from hyperhive.protocol.faults import FaultKind
from hyperhive.testing.backend_conformance.ground import LIMITS, Ground, hive, output, refusal_of


async def the_number_of_processes_is_bounded(ground: Ground) -> None:
    program = """
import os, time
count = 0
try:
    while count < 500:
        if os.fork() == 0:
            time.sleep(1000)
        count += 1
except OSError:
    pass
print(count)
"""
    _, lines = await output(ground, ground.spec("-c", program))
    assert 10 < int(lines[-1]) <= LIMITS.pids, lines


async def memory_is_bounded(ground: Ground) -> None:
    program = "x = bytearray(600 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('had it all')"
    outcome, lines = await output(ground, ground.spec("-c", program))
    assert "had it all" not in lines
    if ground.bounds_memory_of_all:
        assert outcome == Exit(signal=9, oom=True), outcome
    else:
        assert any("MemoryError" in line for line in lines), lines


async def a_child_killed_for_memory_leaves_the_rest_alive(ground: Ground) -> None:
    program = """
import os
if os.fork() == 0:
    x = bytearray(600 << 20)
    for i in range(0, len(x), 4096): x[i] = 1
    os._exit(0)
status = os.wait()[1]
print("child", status != 0)
"""
    outcome, lines = await output(ground, ground.spec("-c", program))
    assert lines[-1] == "child True", lines
    assert outcome == Exit(status=0, oom=ground.bounds_memory_of_all), outcome


async def file_systems_in_memory_have_a_size(ground: Ground) -> None:
    fill = "dd if=/dev/zero of=$d/f bs=1M count=64 2>&1 | grep -c 'No space'"
    script = f"for d in /tmp /home/agent /dev/shm; do {fill}; done"
    _, lines = await output(ground, ground.spec("/bin/sh", "-c", script))
    assert lines == ["1", "1", "1"], lines


async def a_control_group_that_cannot_be_made_is_a_fault_that_says_so(ground: Ground) -> None:
    in_the_way = ground.directory / "no-directory"
    await asyncio.to_thread(in_the_way.touch)
    async with hive(ground) as runtime:
        runtime.limiter = CgroupV2(in_the_way)
        fault = await refusal_of(runtime, ground.spec("/bin/true"))
        assert fault.kind is FaultKind.BACKEND, fault
        assert "no-directory" in fault.message, fault
