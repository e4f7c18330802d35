"""A program that reads what is hostile: run to its end in a throw-away container of its own."""

import asyncio

from hyperhive.containers.keeper import Exit, Keeper
from hyperhive.containers.spec import ContainerSpec
from hyperhive.protocol.faults import FaultError, FaultKind


async def run_confined(keeper: Keeper, spec: ContainerSpec, *, timeout_s: float) -> Exit:
    """Starts the container, waits until it has ended, erases it; no process of it is left, also when cancelled.

    What a hive that was killed left under the name is ended first. One at a time of a name. Raises FaultError
    (`backend`) when it cannot be started or takes longer than `timeout_s` seconds.
    """
    await keeper.kill(spec.name)
    try:
        async with asyncio.timeout(timeout_s):
            running = await keeper.start(spec)
            return await running.wait()
    except TimeoutError:
        raise FaultError(
            FaultKind.BACKEND,
            f"container {spec.name!r} took longer than {timeout_s:g} seconds and was ended; try again",
        ) from None
    finally:
        await asyncio.shield(_end(keeper, spec.name))


async def _end(keeper: Keeper, name: str) -> None:
    await keeper.kill(name)
    await keeper.erase(name)
