"""A daemon's parts as `hive serve` puts them together, and a subscriber: `python -m bench.counting_hive ROOT COUNT`.

It prints `ready`, and `all` when the subscriber has seen so many of the agent's events.
"""

import asyncio
import sys
from pathlib import Path

import uvloop

from hyperhive.daemon.assembly import hive_at
from hyperhive.protocol.events import HiveEvent
from hyperhive.testing.hive_process import paths_in


async def main(root: Path, count: int) -> None:
    paths = paths_in(root)
    async with hive_at(paths, rehearsal=paths.rehearsal) as hive:
        with hive.fleet.chronicle.events.subscribe("a0") as live:
            print("ready", flush=True)
            seen = 0
            while seen < count:
                batch = await live.batch()
                if not batch or not all(isinstance(event, HiveEvent) for event in batch):
                    raise RuntimeError(f"the subscriber was cut off after {seen} events")
                seen += len(batch)
        print("all", flush=True)
        await asyncio.Event().wait()  # until it is ended


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
