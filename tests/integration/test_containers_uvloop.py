"""The daemon's event loop leaves descriptors open in its children; what they leave behind must not hold them."""

import asyncio
from pathlib import Path

import pytest
import uvloop

import needs
from hyperhive.containers.egress import Egress
from hyperhive.testing.backend_conformance import bubblewrap_ground


@pytest.mark.container
def test_a_container_starts_under_the_daemons_event_loop(tmp_path: Path) -> None:
    needs.bwrap()
    needs.root()

    async def scene() -> None:
        ground = await bubblewrap_ground(tmp_path / "hive", uid=21_009)
        runtime = await ground.make()
        async with asyncio.timeout(15):
            running = await runtime.start(ground.spec("/bin/sleep", "1000"))
        await runtime.kill(running.name)
        await runtime.close()

    uvloop.run(scene())


def test_the_egress_process_starts_under_the_daemons_event_loop(tmp_path: Path) -> None:
    async def scene() -> None:
        egress = Egress(tmp_path / "egress", lambda refusal: None)
        async with asyncio.timeout(15):
            await egress.start()
        await egress.close(stop=True)

    uvloop.run(scene())
