"""A program that reads what is hostile: run to its end in a throw-away container of its own."""

import asyncio

from hyperhive.containers.runtime import Exit, Runtime
from hyperhive.containers.spec import ContainerSpec
from hyperhive.protocol.faults import FaultError, FaultKind


async def run_confined(runtime: Runtime, spec: ContainerSpec, *, timeout_s: float) -> Exit:
    """Starts the container, waits until it has ended, erases it; no process of it is left, also when cancelled.

    What a hive that was killed left under the name is ended first. One at a time of a name. Raises FaultError
    (`backend`) when it cannot be started or takes longer than `timeout_s` seconds.
    """
    await runtime.kill(spec.name)
    try:
        async with asyncio.timeout(timeout_s):
            running = await runtime.start(spec)
            return await running.wait()
    except TimeoutError:
        raise FaultError(
            FaultKind.BACKEND,
            f"container {spec.name!r} took longer than {timeout_s:g} seconds and was ended; try again",
        ) from None
    finally:
        await asyncio.shield(_end(runtime, spec.name))


async def _end(runtime: Runtime, name: str) -> None:
    await runtime.kill(name)
    await runtime.erase(name)
