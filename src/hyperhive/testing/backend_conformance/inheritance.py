"""A container has the environment it was given, and nothing of its hive's."""

import asyncio
import os
from pathlib import Path

from hyperhive.testing.backend_conformance.ground import Ground, descendants, hive, output


async def the_environment_is_exactly_what_was_given(ground: Ground) -> None:
    env = {"A": "1", "LD_PRELOAD_NOT": "x y\n'z'", "EMPTY": ""}
    program = (
        "import os; print(sorted(os.environ.items())); first = '/proc/1/environ'; "
        "print(sorted(open(first).read().split('\\0')) if os.access(first, os.R_OK) else 'nothing')"
    )
    _, lines = await output(ground, ground.spec("-c", program, env=env))
    expected = sorted({**env, "PWD": "/home/agent"}.items())
    # Python's own: it sets LC_CTYPE for itself where no locale is given.
    assert lines[0].replace("('LC_CTYPE', 'C.UTF-8'), ", "") == repr(expected), lines
    assert "hyperhive" not in lines[1].lower(), lines


async def the_environment_is_not_on_any_command_line(ground: Ground) -> None:
    async with hive(ground) as runtime:
        running = await runtime.start(ground.spec("/bin/sleep", "1000", env={"KEY": "sk-not-a-real-secret"}))
        for pid in [running.record.shim.pid, *await asyncio.to_thread(descendants, running.record.shim.pid)]:
            line = await asyncio.to_thread(Path(f"/proc/{pid}/cmdline").read_bytes)
            assert b"sk-not-a-real-secret" not in line


async def no_descriptor_of_the_hive_is_inherited(ground: Ground) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    os.set_inheritable(writing, True)
    try:
        program = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) > 2))"
        _, lines = await output(ground, ground.spec("-c", program))
    finally:
        os.close(reading)
        os.close(writing)
    assert lines == ["[3]"], lines  # the listing's own
