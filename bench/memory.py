"""What an agent costs while it does nothing, and the daemon with two hundred of them.

PSS: what processes share (the interpreter's code, for one) is divided among those that share it. Of an agent counts
all that runs on the host for it: shim, log writer, bubblewrap, and every process inside.

The two hundred are the real daemon with the real sockets; instead of containers, one process holds all of their
connections with the harness's own link and mail: it says hello, parks `recv` and sends heartbeats, as runners do.
"""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.harness import Row, Say, Target, missing, row
from bench.hives import CLAUDE, NO_CLAUDE, ONE_CALL, Turns, furnish, in_state, spawn, turns_of
from bench.processes import cpu_s, memory, of_container, pss

from hyperhive.protocol.agent import HEARTBEAT_S
from hyperhive.protocol.faults import FaultError
from hyperhive.rehearsal.script import ANYONE
from hyperhive.testing.hive_process import HiveProcess, running_hive

MB: Final = 1 << 20
HOW: Final = "runners without containers"
AGENTS: Final = 200
WATCH_S: Final = HEARTBEAT_S + 2.0
"""Every agent's heartbeat falls into it."""
WITHIN: Final = Target(at_most=1)
DOZING_MB: Final = 25
DAEMON_MB: Final = 60
DAEMON_CORE: Final = 0.01
WARM, DOZING, ASLEEP = "warm", "dozing", "asleep"


def measure(rounds: int, say: Say) -> list[Row]:  # noqa: ARG001 (memory is what it is: one round)
    rows = _agents(say) if CLAUDE.exists() else [missing("an agent's memory", NO_CLAUDE)]
    return [*rows, *_two_hundred(say)]


# single agents


def _agents(say: Say) -> list[Row]:
    say("memory: agents")
    try:
        with running_hive() as (hive, model):
            model.script(ANYONE, ONE_CALL)
            asyncio.run(_bring_into_state(hive))
            return [*_agent_rows(hive), _daemon_row(hive)]
    except FaultError as fault:
        return [missing("an agent's memory", fault.message)]


async def _bring_into_state(hive: HiveProcess) -> None:
    async with turns_of(hive) as turns:
        await _after_a_turn(hive, turns, WARM, "")
        await _after_a_turn(hive, turns, DOZING, "sleep_after = 1")
        await _after_a_turn(hive, turns, ASLEEP, "sleep_after = 1\ndeep_sleep_after = 1")


async def _after_a_turn(hive: HiveProcess, turns: Turns, name: str, agent_toml: str) -> None:
    await spawn(hive, name, agent_toml)
    await turns.one(name)
    await in_state(hive, name, name)


def _agent_rows(hive: HiveProcess) -> list[Row]:
    warm, dozing, asleep = (_parts(hive, name) for name in (WARM, DOZING, ASLEEP))
    costs = [sum(parts.values()) / MB for parts in (warm, dozing, asleep)]
    return [
        row(
            "memory of a warm agent", [costs[0]], unit="MB PSS", spec=".1f", against="a dozing one",
            ratios=[costs[0] / costs[1]], note=_described(warm),
        ),
        row(
            "memory of a dozing agent", [costs[1]], unit="MB PSS", spec=".1f", against=f"{DOZING_MB} MB",
            ratios=[costs[1] / DOZING_MB], target=WITHIN, note=_described(dozing),
        ),
        row(
            "memory of a sleeping agent", [costs[2]], unit="MB PSS", spec=".1f", against=f"{DOZING_MB} MB",
            ratios=[costs[2] / DOZING_MB], target=Target(at_most=0), note="no process is left",
        ),
    ]  # fmt: skip


def _parts(hive: HiveProcess, name: str) -> Counter[str]:
    parts: Counter[str] = Counter()
    for pid, part in of_container(hive.paths, name).items():
        parts[part] += pss([pid])
    return parts


def _described(parts: Counter[str]) -> str:
    return ", ".join(f"{part} {size / MB:.1f}" for part, size in parts.most_common())


def _daemon_row(hive: HiveProcess) -> Row:
    cost = memory(_pid(hive))
    return row(
        "memory of the daemon, 3 agents", [cost.rss / MB], unit="MB RSS", spec=".1f", note=f"PSS {cost.pss / MB:.1f}"
    )


# two hundred


def _two_hundred(say: Say) -> list[Row]:
    say(f"memory: {AGENTS} idle agents, {WATCH_S:.0f} s")
    with tempfile.TemporaryDirectory(prefix="hh-") as root:
        hive = HiveProcess(Path(root))
        asyncio.run(furnish(hive, AGENTS))
        try:
            hive.start()
            alone = memory(_pid(hive)).rss / MB
            with _runners(hive, AGENTS):
                before = cpu_s(_pid(hive))
                time.sleep(WATCH_S)
                core = (cpu_s(_pid(hive)) - before) / WATCH_S
                cost = memory(_pid(hive))
        finally:
            hive.stop_all()
    note = f"{alone:.1f} before they connect; PSS {cost.pss / MB:.1f}; {HOW}"
    return [
        row(
            f"memory of the daemon, {AGENTS} idle agents", [cost.rss / MB], unit="MB RSS", spec=".1f",
            against=f"{DAEMON_MB} MB", ratios=[cost.rss / MB / DAEMON_MB], target=WITHIN, note=note,
        ),
        row(
            f"the daemon at rest, {AGENTS} idle agents", [100 * core], unit="% of a core", spec=".2f",
            against=f"{DAEMON_CORE:.0%}", ratios=[core / DAEMON_CORE], target=WITHIN,
            note=f"over {WATCH_S:.0f} s, every agent's heartbeat among them; {HOW}",
        ),
    ]  # fmt: skip


@contextlib.contextmanager
def _runners(hive: HiveProcess, count: int) -> Iterator[None]:
    argv = [sys.executable, "-m", "bench.idle_runners", str(hive.paths.runtime_dir / "agents"), str(count)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the runners could not connect")
        yield
        if process.poll() is not None:
            raise RuntimeError("the runners did not stay connected: what is measured would not be what it says")
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def _pid(hive: HiveProcess) -> int:
    assert hive.process is not None
    return hive.process.pid
