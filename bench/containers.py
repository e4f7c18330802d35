"""Containers of the nspawn backend, beside plain nspawn by hand and beside bubblewrap.

A hive of its own for each backend. *Up* is when the hive has its runner's connection and the runner answers; a plain
container is up when a bare Python in it says so. All of it is over one base image.
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from bench import plain
from bench.harness import Row, Say, Target, missing, row
from bench.hives import CLAUDE, NO_CLAUDE
from bench.images import borrow, why_not
from bench.processes import of_container, pss

from hyperhive.containers.cgroups import RlimitsOnly
from hyperhive.images.images import Images
from hyperhive.protocol import host
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.testing.hive_process import HiveProcess, running_hive

MB: Final = 1 << 20
MANY: Final = 20
UP_S: Final = 60.0
"""None that comes up at all takes that long."""
BEYOND_MB: Final = 3
NEXT_TO: Final = Target(at_most=1.5)
BY_HAND: Final = "plain nspawn --as-pid2 and a bare Python"

Figures = defaultdict[str, list[float]]


def measure(rounds: int, say: Say) -> list[Row]:
    lacks = why_not() or ("" if CLAUDE.exists() else NO_CLAUDE)
    if lacks:
        return [missing("nspawn containers", lacks)]
    with tempfile.TemporaryDirectory(prefix="hh-") as root:
        kept = Path(os.environ.get("HYPERHIVE_TEST_IMAGES") or Path(root) / "images")
        say("containers: the images")
        layers = asyncio.run(_images(kept))
        try:
            return [*_one(kept, layers, Path(root), rounds, say), *_many(kept, layers, Path(root), rounds, say)]
        except FaultError as fault:
            return [missing("nspawn containers", fault.message)]


async def _images(kept: Path) -> tuple[Path, ...]:
    images = Images(kept, RlimitsOnly())
    if not any(image.current for image in await images.all()):
        await images.build(_quiet)
    return (await images.ensure("bench", [], _quiet)).layers


async def _quiet(_: str) -> None: ...


@contextlib.contextmanager
def _hive(kept: Path) -> Iterator[HiveProcess]:
    with running_hive(furnish=lambda made: borrow(kept, made.paths.images)) as (hive, _):
        yield hive


# one


def _one(kept: Path, layers: tuple[Path, ...], place: Path, rounds: int, say: Say) -> list[Row]:
    figures: Figures = defaultdict(list)
    beyond: dict[str, float] = {}
    with _hive(kept) as hive:
        for kind in (BackendKind.NSPAWN, BackendKind.BUBBLEWRAP):
            hive.ask(host.Spawn(name=kind.value, backend=kind), timeout_s=300)
            hive.ask(host.SetPaused(name=kind.value, paused=True))  # what is told of a start begins no turn
            _stop_and_start(hive, kind.value, defaultdict(list))
            beyond[kind] = _beyond(hive, kind.value)
        for number in range(rounds):
            say(f"containers: starts and stops, round {number + 1} of {rounds}")
            for kind in (BackendKind.NSPAWN, BackendKind.BUBBLEWRAP):
                _stop_and_start(hive, kind.value, figures)
            figures["plain"].append(_plain_start(layers, place / f"plain-{number}"))
    return _one_rows(figures, beyond)


def _stop_and_start(hive: HiveProcess, name: str, figures: Figures) -> None:
    began = time.monotonic()
    hive.ask(host.Kill(name=name))
    figures[f"{name} stop"].append(time.monotonic() - began)
    figures[f"{name} start"].append(asyncio.run(_start(hive, [name])))


async def _start(hive: HiveProcess, names: Sequence[str]) -> float:
    """Until each one's runner answers a question that changes nothing. The hive's own news of changes say when to ask:
    who asks all the time takes the processor from those it waits for."""
    waiting = set(names)
    async with aclosing(hive.client.stream(host.SubscribeAgentStatus())) as news:
        await anext(news)
        began = time.monotonic()
        starting = asyncio.create_task(hive.client.call(host.Start(scope=host.LifecycleScope(agent_names=[*names]))))
        while waiting:
            rows = (await asyncio.wait_for(anext(news), UP_S)).agent_statuses or []
            for row in rows:
                assert not row.failed, row.failure
            changed = {row.name for row in rows if row.running}
            waiting -= {name for name in waiting & changed if await _answers(hive, name)}
        took = time.monotonic() - began
        await starting
    return took


async def _answers(hive: HiveProcess, name: str) -> bool:
    try:
        await hive.client.call(host.Cancel(name=name))
    except FaultError as fault:
        if fault.kind is not FaultKind.WRONG_STATE:
            raise
        return False
    return True


def _plain_start(layers: tuple[Path, ...], place: Path) -> float:
    with plain.merged(layers, place) as root, plain.up(root, "hive-bench-plain", *_python()) as seconds:
        return seconds


def _python() -> tuple[str, ...]:
    return ("/opt/hyperhive/bin/python", "-I", "-c", plain.BARE)


def _one_rows(figures: Figures, beyond: dict[str, float]) -> list[Row]:
    ours, theirs, hand = figures["nspawn start"], figures["bubblewrap start"], figures["plain"]
    return [
        row(
            "nspawn: start to runner connected", _in_ms(ours), unit="ms", against=BY_HAND,
            ratios=[a / b for a, b in zip(ours, hand, strict=True)], target=NEXT_TO,
        ),
        row("plain nspawn: start to a bare Python", _in_ms(hand), unit="ms"),
        row("bubblewrap: start to runner connected", _in_ms(theirs), unit="ms"),
        row("nspawn: stop", _in_ms(figures["nspawn stop"]), unit="ms", note="as a job, from its asking to its answer"),
        row("bubblewrap: stop", _in_ms(figures["bubblewrap stop"]), unit="ms"),
        row(
            "nspawn: memory beyond the runner", [beyond["nspawn"]], unit="MB PSS", spec=".1f",
            against=f"{BEYOND_MB} MB", ratios=[beyond["nspawn"] / BEYOND_MB], target=Target(at_most=1),
            note="nspawn, its stub, shim and log writer",
        ),
        row("bubblewrap: memory beyond the runner", [beyond["bubblewrap"]], unit="MB PSS", spec=".1f"),
    ]  # fmt: skip


# twenty


def _many(kept: Path, layers: tuple[Path, ...], place: Path, rounds: int, say: Say) -> list[Row]:
    figures: Figures = defaultdict(list)
    with _hive(kept) as hive:
        names = [f"a{number}" for number in range(MANY)]
        asyncio.run(_spawned(hive, names))
        hive.ask(host.Stop(scope=host.LifecycleScope(all=True)))
        for number in range(rounds):
            say(f"containers: {MANY} at once, round {number + 1} of {rounds}")
            figures["up"].append(asyncio.run(_start(hive, names)))
            figures["beyond"] += [_beyond(hive, name) for name in names]
            began = time.monotonic()
            hive.ask(host.Stop(scope=host.LifecycleScope(all=True)))
            figures["stopped"].append(time.monotonic() - began)
            figures["hand"].append(_plain_many(layers, place / f"many-{number}"))
    return _many_rows(figures)


def _beyond(hive: HiveProcess, name: str) -> float:
    """Megabytes of all that is there for an agent, but for its runner."""
    return pss(pid for pid, part in of_container(hive.paths, name).items() if part != "runner") / MB


def _many_rows(figures: Figures) -> list[Row]:
    return [
        row(
            f"nspawn: {MANY} containers up", figures["up"], unit="s", spec=".1f", against=f"{MANY} times {BY_HAND}",
            ratios=[a / b for a, b in zip(figures["up"], figures["hand"], strict=True)], target=NEXT_TO,
        ),
        row(f"plain nspawn: {MANY} containers up", figures["hand"], unit="s", spec=".1f", note="all begun at once"),
        row(f"nspawn: {MANY} containers stopped", figures["stopped"], unit="s", spec=".1f"),
        row(
            f"nspawn: memory beyond the runner, {MANY} up", figures["beyond"], unit="MB PSS", spec=".1f",
            against=f"{BEYOND_MB} MB", ratios=[one / BEYOND_MB for one in figures["beyond"]],
            target=Target(at_most=1),
        ),
    ]  # fmt: skip


async def _spawned(hive: HiveProcess, names: list[str]) -> None:
    for name in names:
        hive.prepare(name, "")
        await hive.client.call(host.Spawn(name=name, backend=BackendKind.NSPAWN), timeout_s=300)
        await hive.client.call(host.SetPaused(name=name, paused=True))


def _plain_many(layers: tuple[Path, ...], place: Path) -> float:
    """All begun at once; until the last one's Python is up."""
    with contextlib.ExitStack() as stack:
        roots = [stack.enter_context(plain.merged(layers, place / str(number))) for number in range(MANY)]
        cages = [stack.enter_context(plain.caged(f"hive-bench-{number}")) for number in range(MANY)]
        began = time.monotonic()
        processes = [
            plain.begin(root, f"hive-bench-{number}", cage, *_python())
            for number, (root, cage) in enumerate(zip(roots, cages, strict=True))
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        took = time.monotonic() - began
        for process in processes:
            process.communicate(b"\n", timeout=60)
    return took


def _in_ms(seconds: list[float]) -> list[float]:
    return [figure * 1000 for figure in seconds]
