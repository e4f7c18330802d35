"""Twenty containers of systemd-nspawn at once, and hives that come and go around them."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import base_image
from base_image import base_images  # noqa: F401 - a fixture
from hyperhive.containers import pidfd
from hyperhive.containers.keeper import Exit
from hyperhive.containers.runtime import Running, Runtime
from hyperhive.containers.spec import ContainerSpec
from hyperhive.testing.backend_conformance import Ground, nspawn_ground
from hyperhive.testing.backend_conformance.ground import OBEDIENT

pytestmark = [pytest.mark.container, pytest.mark.timeout(base_image.TIMEOUT_S)]

COUNT = 20
UID = 0x20000000 + (40 << 16) + 1000

HIVE = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_containers_many import grounds, start_all

async def main():
    ground = await grounds(Path(sys.argv[1]), Path(sys.argv[2]))
    await start_all(ground, await ground.make())
    print("up", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def grounds(directory: Path, layer: Path) -> Ground:
    return await nspawn_ground(directory, uid=UID, layers=(layer,))


async def start_all(ground: Ground, runtime: Runtime) -> list[Running]:
    """Four at a time, as a hive does."""
    places = asyncio.Semaphore(4)

    async def one(number: int) -> Running:
        async with places:
            return await runtime.start(spec(ground, number))

    return await asyncio.gather(*(one(number) for number in range(COUNT)))


def spec(ground: Ground, number: int) -> ContainerSpec:
    made = ground.spec("/bin/sh", "-c", OBEDIENT)
    return type(made)(**{**vars(made), "name": f"h-{number}", "hostname": "", "uid": UID + (number << 16)})


def killed_hive(directory: Path, layer: Path) -> None:
    """A hive in a process of its own that has started them all, killed."""
    command = [sys.executable, "-c", HIVE, str(directory), str(layer), str(Path(__file__).parent)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as hive:
        assert hive.stdout is not None
        assert hive.stdout.readline() == "up\n"
        hive.send_signal(signal.SIGKILL)


def test_a_hive_killed_with_all_of_them_running_finds_each_again_and_stops_it(
    tmp_path: Path,
    base_images: Path,  # noqa: F811 - it is that
) -> None:
    layer = base_images / "base" / "current" / "root"
    killed_hive(tmp_path / "hive", layer)

    async def main() -> list[Exit | None]:
        await asyncio.to_thread((tmp_path / "hive" / "mounts").rmdir)
        ground = await grounds(tmp_path / "hive", layer)
        runtime = await ground.make()
        adopted = await runtime.adopt()
        assert sorted(each.name for each in adopted) == sorted(f"h-{number}" for number in range(COUNT))
        assert not any(each.is_over for each in adopted)
        try:
            return await asyncio.gather(*(runtime.stop(each.name, grace_s=30) for each in adopted))
        finally:
            await runtime.close()

    assert asyncio.run(main()) == [Exit(status=3)] * COUNT


def test_after_a_reboot_nothing_is_adopted_and_each_starts_anew(
    tmp_path: Path,
    base_images: Path,  # noqa: F811 - it is that
) -> None:
    """The machine's boot is another one than in the records, and whatever has their processes' numbers is not ours."""

    async def main() -> None:
        ground = await grounds(tmp_path / "hive", base_images / "base" / "current" / "root")
        runtime = await ground.make()
        running = await runtime.start(spec(ground, 0))
        path = runtime.directory / "h-0" / "record.json"
        text = await asyncio.to_thread(path.read_bytes)
        await runtime.kill("h-0")
        await runtime.close()
        ours = pidfd.Process(pid=os.getpid(), start=1)
        before = msgspec.structs.replace(
            msgspec.json.decode(text, type=type(running.record)), boot="another", init=ours, shim=ours
        )
        await asyncio.to_thread(path.write_bytes, msgspec.json.encode(before))
        following = await ground.make()
        assert await following.adopt() == []
        assert not path.exists()
        await following.start(spec(ground, 0))
        assert await following.kill("h-0") == Exit(signal=9)
        await following.close()

    asyncio.run(main())
