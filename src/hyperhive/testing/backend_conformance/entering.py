"""The operator runs commands inside."""

import asyncio
import os

from hyperhive.containers import pidfd
from hyperhive.process import run
from hyperhive.testing.backend_conformance.ground import Ground, hive, says


async def a_command_can_be_run_inside_by_the_operator(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sh", "-c", "echo up; exec sleep 1000"))
        await says(runtime, "up")
        seen = "cat /proc/[0-9]*/cmdline 2>&- | grep -ac 's[l]eep'"  # which is not to find itself
        script = f"id -u; hostname; {seen}; grep CapEff /proc/self/status; exit 9"
        argv = runtime.enter_argv("probe", ["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, cwd="/home/agent")
        done = await run(argv, timeout=20, check=False)
        assert done.status == 9, done
        assert done.text().split() == ["1000", "probe", "1", "CapEff:", "0000000000000000"], done


async def the_operators_terminal_is_never_what_a_command_inside_holds(ground: Ground) -> None:
    controller, terminal = os.openpty()
    try:
        async with hive(ground) as runtime:
            await runtime.start(ground.spec("/bin/sleep", "1000"))
            argv = runtime.enter_argv(
                "probe", ["stat", "-Lc", "%F %Hr:%Lr", "/dev/stdout"], env={"PATH": "/usr/bin:/bin"}, cwd="/"
            )
            child = await asyncio.create_subprocess_exec(  # noqa: TID251 - at a terminal, as an operator is
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=terminal
            )
            assert await child.wait() == 0
            shown = (await asyncio.to_thread(os.read, controller, 200)).decode().strip()
            number = os.fstat(terminal).st_rdev
            assert shown.startswith("character special file"), shown
            assert not shown.endswith(f" {os.major(number)}:{os.minor(number)}"), shown
    finally:
        os.close(controller)
        os.close(terminal)


async def another_process_with_the_number_of_the_first_one_is_not_entered(ground: Ground) -> None:
    async with hive(ground) as runtime:
        init = (await runtime.start(ground.spec("/bin/sleep", "1000"))).record.init
        assert init is not None
        earlier = pidfd.Process(pid=init.pid, start=init.start - 1)
        argv = runtime.backend.enter_argv(earlier, ["true"], env={"PATH": "/usr/bin:/bin"}, cwd="/")
        assert (await run(argv, timeout=20, check=False)).status == 126
