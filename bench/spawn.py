"""How long a daemon takes to be ready, and a new agent to its first answer.

Each round is a hive of its own in fresh directories. Ready is what the daemon tells its service manager (`READY=1`);
the clock starts before its process does.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.harness import Row, Say, Target, missing, row
from bench.hives import CLAUDE, NO_CLAUDE, ONE_CALL, PROMPT, spawn, turns_of
from bench.turns import process_per_turn

from hyperhive.protocol.faults import FaultError
from hyperhive.rehearsal.script import ANYONE
from hyperhive.testing.hive_process import HiveProcess, running_hive

READY_S: Final = Target(at_most=1)
ALLOWED_S: Final = 0.5
BARE: Final = "import asyncio, sqlite3, msgspec"
NAME: Final = "a"

Figures = defaultdict[str, list[float]]
"""Seconds by what took them, one for each round."""


def measure(rounds: int, say: Say) -> list[Row]:
    figures: Figures = defaultdict(list)
    _bare_python()  # reads the interpreter from disk
    for number in range(rounds):
        say(f"spawn: starts of the daemon, round {number + 1} of {rounds}")
        _starts(figures)
    return [*_start_rows(figures), *_first_turn_rows(rounds, say)]


def _starts(figures: Figures) -> None:
    with tempfile.TemporaryDirectory(prefix="hh-") as root:
        hive = HiveProcess(Path(root))
        for what in ("first start", "start"):
            figures["bare"].append(_seconds(_bare_python))
            try:
                figures[what].append(_seconds(hive.start))
            finally:
                hive.stop_all()


def _bare_python() -> None:
    subprocess.run([sys.executable, "-c", BARE], env={"PATH": "/usr/bin:/bin"}, check=True)


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _start_rows(figures: Figures) -> list[Row]:
    starts, first = figures["start"], figures["first start"]
    bare = figures["bare"]
    return [
        row(
            "start of the daemon to READY=1", _in_ms(starts), unit="ms", against="0.5 s",
            ratios=[start / ALLOWED_S for start in starts], target=READY_S, note="the database is there",
        ),
        row(
            "start of the daemon to READY=1", _in_ms(starts), unit="ms", against=f"python -c '{BARE}'",
            ratios=[start / beside for start, beside in zip(starts, bare[1::2], strict=True)],
        ),
        row(
            "very first start to READY=1", _in_ms(first), unit="ms", against=f"python -c '{BARE}'",
            ratios=[start / beside for start, beside in zip(first, bare[::2], strict=True)],
            note="makes its directories and its database",
        ),
    ]  # fmt: skip


def _first_turn_rows(rounds: int, say: Say) -> list[Row]:
    if not CLAUDE.exists():
        return [missing("spawn to the end of the first turn", NO_CLAUDE)]
    figures: Figures = defaultdict(list)
    try:
        for number in range(rounds):
            say(f"spawn: first turns, round {number + 1} of {rounds}")
            with running_hive() as (hive, model):
                model.script(ANYONE, ONE_CALL)
                asyncio.run(_first_turn(hive, figures))
    except FaultError as fault:
        return [missing("spawn to the end of the first turn", fault.message)]
    spawns, whole, process = figures["spawn"], figures["first turn"], figures["process"]
    return [
        row("spawn to the container's first process", _in_ms(spawns), unit="ms"),
        row(
            "spawn to the end of the first turn", _in_ms(whole), unit="ms",
            against="claude --print with a stdio MCP server, first turn in its home",
            ratios=[ours / theirs for ours, theirs in zip(whole, process, strict=True)],
        ),
    ]  # fmt: skip


async def _first_turn(hive: HiveProcess, figures: Figures) -> None:
    async with process_per_turn(with_mcp=True) as system, turns_of(hive) as turns:
        began = time.monotonic()
        await system.turn(PROMPT)
        figures["process"].append(time.monotonic() - began)
        began = time.monotonic()
        await spawn(hive, NAME)
        figures["spawn"].append(time.monotonic() - began)
        await turns.one(NAME)
        figures["first turn"].append(time.monotonic() - began)


def _in_ms(seconds: list[float]) -> list[float]:
    return [figure * 1000 for figure in seconds]
