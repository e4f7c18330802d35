"""A hive that is killed in any moment leaves containers that the next one finds."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import needs
from hyperhive.containers import pidfd, stopper
from hyperhive.containers.cgroups import Cage, RlimitsOnly
from hyperhive.containers.keeper import Exit
from hyperhive.containers.runtime import Runtime
from hyperhive.containers.spec import Limits
from hyperhive.process import run
from hyperhive.testing.backend_conformance import Ground, bubblewrap_ground, says
from hyperhive.testing.backend_conformance.ground import OBEDIENT

UID = 21_002 if os.geteuid() == 0 else None

HIVE = """
import asyncio, sys
from pathlib import Path
from hyperhive.testing.backend_conformance import Ground, bubblewrap_ground

async def main():
    ground = await bubblewrap_ground(Path(sys.argv[1]), uid=int(sys.argv[2]) or None)
    runtime = await ground.make()
    script = "trap 'exit 3' TERM; echo ready; while :; do sleep 1000 & wait $!; done"
    if sys.argv[3] == "early":
        print("up", flush=True)
    await runtime.start(ground.spec("/bin/sh", "-c", script))
    print("up", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def killed_hive(directory: Path, when: str) -> None:
    """A hive in a process of its own, killed once it has started a container, or while it does."""
    command = [sys.executable, "-c", HIVE, str(directory), str(UID or 0), when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hive:
        assert hive.stdout is not None
        assert hive.stdout.readline() == "up\n"
        hive.send_signal(signal.SIGKILL)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    needs.bwrap()
    return tmp_path / "hive"


async def following(directory: Path) -> tuple[Ground, Runtime]:
    await asyncio.to_thread((directory / "mounts").rmdir)
    ground = await bubblewrap_ground(directory, uid=UID)
    return ground, await ground.make()


@pytest.mark.container
def test_a_container_runs_on_when_its_hive_is_killed_and_the_next_hive_stops_it(directory: Path) -> None:
    killed_hive(directory, "late")

    async def main() -> Exit | None:
        _, runtime = await following(directory)
        (running,) = await runtime.adopt()
        assert running.adopted
        assert not running.is_over
        try:
            return await runtime.stop("probe", grace_s=20)
        finally:
            await runtime.close()

    assert asyncio.run(main()) == Exit(status=3)


@pytest.mark.container
def test_a_hive_killed_while_it_starts_a_container_leaves_nothing_that_the_next_cannot_clear(directory: Path) -> None:
    killed_hive(directory, "early")

    async def main() -> Exit:
        ground, runtime = await following(directory)
        for running in await runtime.adopt():
            await runtime.kill(running.name)
        try:
            return await (await runtime.start(ground.spec("/bin/sh", "-c", "exit 6"))).wait()
        finally:
            await runtime.close()

    assert asyncio.run(main()) == Exit(status=6)


AS_SYSTEMD = """
import os, sys
words = [word.replace("$$", "$") for word in sys.argv[1:]]
os.execve(words[0], words, {"PATH": "/usr/bin:/bin"})
"""


class _InFiles(RlimitsOnly):
    """What a launcher gets that systemd starts: nothing but its arguments, with dollars as systemd reads them."""

    def prepare(self, name: str, limits: Limits, place: Path) -> Cage:
        made = super().prepare(name, limits, place)
        return dataclasses.replace(
            made, prefix=(sys.executable, "-c", AS_SYSTEMD), plan=place / "plan", said=place / "said"
        )


@pytest.mark.container
def test_a_launcher_that_is_no_child_of_ours_has_its_plan_in_a_file_that_nobody_keeps(directory: Path) -> None:
    async def main() -> None:
        ground = await bubblewrap_ground(directory, uid=UID)
        runtime = await ground.make()
        runtime.limiter = _InFiles()
        await runtime.start(ground.spec("/bin/sleep", "1000"))
        kept = await asyncio.to_thread(lambda: {path.name for path in (runtime.directory / "probe").iterdir()})
        assert "record.json" in kept
        assert "plan" not in kept
        await runtime.kill("probe")
        await runtime.close()

    asyncio.run(main())


@pytest.mark.container
def test_what_systemd_runs_to_stop_a_unit_comes_back_when_the_container_has_ended_by_itself(directory: Path) -> None:
    async def main() -> None:
        ground = await bubblewrap_ground(directory, uid=UID)
        runtime = await ground.make()
        running = await runtime.start(ground.spec("/bin/sh", "-c", OBEDIENT))
        await says(runtime, "ready")
        await run([sys.executable, "-I", "-S", stopper.__file__, str(runtime.directory / "probe"), "30"], timeout=40)
        assert await asyncio.to_thread(pidfd.open_process, running.record.shim) is None
        assert await running.wait() == Exit(status=3)
        await runtime.close()

    asyncio.run(main())


@pytest.mark.container
@pytest.mark.parametrize("victim", ["shim", "bwrap"])
def test_a_container_whose_outer_processes_are_killed_is_still_watched_and_ended(victim: str, tmp_path: Path) -> None:
    needs.bwrap()

    async def main() -> None:
        ground = await bubblewrap_ground(tmp_path / "hive", uid=UID)
        runtime = await ground.make()
        running = await runtime.start(ground.spec("/bin/sleep", "1000"))
        shim = running.record.shim.pid
        children = await asyncio.to_thread(Path(f"/proc/{shim}/task/{shim}/children").read_text)
        os.kill(shim if victim == "shim" else int(children.split()[0]), signal.SIGKILL)
        assert not running.is_over
        await runtime.stop("probe", grace_s=0.05)
        assert running.is_over
        assert running.record.init is not None
        assert await asyncio.to_thread(pidfd.open_process, running.record.init) is None
        await runtime.close()

    asyncio.run(main())


@pytest.mark.container
def test_what_the_kernel_has_killed_around_a_container_without_a_control_group_says_nothing_of_its_end(
    directory: Path,
) -> None:
    async def main() -> Exit:
        ground = await bubblewrap_ground(directory, uid=UID)
        runtime = await ground.make()
        runtime.limiter = RlimitsOnly()
        running = await runtime.start(ground.spec("/bin/sleep", "1000"))
        shim = await asyncio.to_thread(pidfd.open_process, running.record.shim)
        assert shim is not None
        pidfd.send(shim, signal.SIGKILL)
        await pidfd.ended(shim)
        os.close(shim)
        (runtime.directory / "probe/oom").write_text("low 0\noom_kill 1\n")  # as the shim copies it from its own group
        ending = await runtime.kill("probe")
        await runtime.close()
        assert ending is not None
        return ending

    assert not asyncio.run(main()).oom
