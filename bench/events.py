"""Events from a harness through the agent's socket into the hive's log and on to a subscriber in the daemon's process.

The daemon's parts are put together as `hive serve` does, in a process of their own; beside them nothing but a
subscriber that counts. The load is this process, with batches of the size that the harness's journal makes when it
has to catch up. The clock runs from the first call until the subscriber has seen the last event.
"""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import uvloop
from bench.harness import Row, Say, Target, row
from bench.hives import furnish

from hyperhive.protocol import agent
from hyperhive.protocol.agent import Events, Hello
from hyperhive.protocol.events import EventRecord, Stream, record
from hyperhive.protocol.rpc import Peer
from hyperhive.testing.hive_process import HiveProcess

COUNT: Final = 40_000
BATCH: Final = 1000
IN_FLIGHT: Final = 2
ALLOWED: Final = 20_000
PER_S: Final = Target(at_least=1)
LINE: Final = {
    "type": "assistant",
    "message": {"id": "msg_0001", "role": "assistant", "content": [{"type": "text", "text": "x" * 300}]},
    "session_id": "00000000-0000-4000-8000-000000000000",
}
"""What a turn's events mostly are: a line of claude's own."""


def measure(rounds: int, say: Say) -> list[Row]:
    figures = []
    for number in range(rounds):
        say(f"events: round {number + 1} of {rounds}")
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            figures.append(_per_s(Path(root)))
    return [
        row(
            "events, agent's socket to log to subscriber", figures, unit="events/s", against=f"{ALLOWED} a second",
            ratios=[figure / ALLOWED for figure in figures], target=PER_S,
            note=f"{COUNT:,} of {len(_payload())} bytes, {BATCH} in a call; load generator: a separate Python process",
        )
    ]  # fmt: skip


def _per_s(root: Path) -> float:
    hive = HiveProcess(root)
    asyncio.run(furnish(hive, 1))
    with _counting_hive(root) as seen_all:
        began = time.monotonic()
        uvloop.run(_load(hive.paths.agent_socket("a0")))
        seen_all()
        return COUNT / (time.monotonic() - began)


@contextlib.contextmanager
def _counting_hive(root: Path) -> Iterator[Callable[[], None]]:
    argv = [sys.executable, "-m", "bench.counting_hive", str(root), str(COUNT)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    words = process.stdout

    def said(word: str) -> None:
        if words.readline() != f"{word}\n":
            raise RuntimeError(f"the hive that counts events did not come to {word!r}")

    try:
        said("ready")
        yield lambda: said("all")
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


async def _load(socket: Path) -> None:
    _, peer = await asyncio.get_running_loop().create_unix_connection(Peer, str(socket))
    await peer.call(agent.HELLO, Hello(boot_id="bench-events"))
    payload = msgspec.Raw(_payload())
    free = asyncio.Semaphore(IN_FLIGHT)

    async def send(first: int) -> None:
        async with free:
            records = [EventRecord(seq=first + n, ts=1.5, kind="stream", payload=payload) for n in range(BATCH)]
            await peer.call(agent.EVENTS, Events(records=records))

    await asyncio.gather(*(send(first) for first in range(1, COUNT, BATCH)))
    peer.close()


def _payload() -> bytes:
    return bytes(record(1, 0.0, Stream(value=msgspec.Raw(msgspec.json.encode(LINE)))).payload)
