"""From a message to the model's first request: the hive's agents in each state of rest, and a process per turn.

Everything is real but the model: the daemon is a process of its own, agents run in bubblewrap containers, `claude` is
the one that the SDK bundles. The clock starts at the operator's `send` to host.sock, and for the processes at their
start. All systems take turns in each round and come to rest before the next one, so that what else the machine does
hits them alike.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bench.harness import Row, Say, Target, missing, row
from bench.hives import CLAUDE, NO_CLAUDE, ONE_CALL, PROMPT, TURN_S, Turns, in_state, spawn, turns_of

from hyperhive import process
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError
from hyperhive.rehearsal import script
from hyperhive.rehearsal.script import ANYONE, Call, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.testing.model import ScriptedModel

WITH_MCP: Final = "claude --print per turn, stdio MCP server"
WITHOUT_MCP: Final = "claude --print per turn, no MCP server"
WARM, DOZING, ASLEEP, COLD = "warm", "dozing", "asleep", "cold"
AGENTS: Final = {
    WARM: "a warm agent",
    DOZING: "a dozing agent (claude released)",
    ASLEEP: "a sleeping agent (container stopped)",
    COLD: "a new agent, first turn after spawn",
}

WARM_OVER_MCP: Final = Target(at_most=1 / 25)
WARM_OVER_PROCESS: Final = Target(at_most=1 / 10)
DOZING_OVER_MCP: Final = Target(at_most=1.2)
ASLEEP_OVER_MCP: Final = Target(at_most=1.3)


async def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class System:
    """One way to have a turn done."""

    name: str
    turn: Callable[[str], Awaitable[None]]  #: cause one turn by this message; returns when the turn has ended
    model: ScriptedModel
    agent: str = ANYONE  #: whose requests at the model are this system's
    ready: Callable[[], Awaitable[None]] = _nothing  #: bring it to the state that is measured; not counted
    settle: Callable[[], Awaitable[None]] = _nothing  #: let it come to rest, out of the others' way; not counted


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of one turn."""

    first_request: float
    whole: float


Timings = defaultdict[str, list[Timing]]


def measure(rounds: int, say: Say) -> list[Row]:
    if not CLAUDE.exists():
        return [missing("turns", NO_CLAUDE)]
    try:
        with running_hive() as (hive, model):
            return _rows(asyncio.run(_timings(hive, model, rounds, say)))
    except FaultError as fault:
        return [missing("turns", fault.message)]


async def _timings(hive: HiveProcess, model: ScriptedModel, rounds: int, say: Say) -> Timings:
    async with (
        process_per_turn(with_mcp=True) as with_mcp,
        process_per_turn(with_mcp=False) as without,
        turns_of(hive) as turns,
    ):
        agents = await _agents(hive, model, turns)
        return await in_rotation([with_mcp, without, *agents], rounds=rounds, say=say)


async def in_rotation(systems: Sequence[System], *, rounds: int, say: Say) -> Timings:
    """Each system does one turn to warm up, then one in each round."""
    timings: Timings = defaultdict(list)
    for number in range(rounds + 1):
        say(f"turns: round {number} of {rounds}" if number else "turns: warming up")
        for system in systems:
            timing = await _one_turn(system)
            if number:
                timings[system.name].append(timing)
    return timings


async def _one_turn(system: System) -> Timing:
    await system.ready()
    before = len(system.model.requests(system.agent))
    start = time.monotonic()
    async with asyncio.timeout(TURN_S):
        await system.turn(PROMPT)
    whole = time.monotonic() - start
    first = system.model.wait(system.agent, before + 1, timeout_s=0).at - start
    await system.settle()
    return Timing(first_request=first * 1000, whole=whole * 1000)


# a process per turn


@contextlib.asynccontextmanager
async def process_per_turn(*, with_mcp: bool) -> AsyncIterator[System]:
    """`claude --print --continue` for each message, with a stdio MCP server that one tool call goes to, or without."""
    with tempfile.TemporaryDirectory() as place, ScriptedModel(port=0) as model:
        steps = [Call("mcp__bench__note", {"text": "hello"})] if with_mcp else []
        model.script(ANYONE, on("", *steps, script.Say("Noted.")))
        home = Path(place)

        async def turn(text: str) -> None:
            argv = [str(CLAUDE), *_options(with_mcp=with_mcp), text]
            await process.run(argv, env=_environment(model, home), cwd=home, timeout=TURN_S)
            if with_mcp and "noted: hello" not in model.requests()[-1].asked.result:
                raise RuntimeError("the turn did not reach its MCP server: what is measured would not be what it says")

        yield System(name=WITH_MCP if with_mcp else WITHOUT_MCP, turn=turn, model=model)


def _options(*, with_mcp: bool) -> list[str]:
    servers = {"bench": {"command": sys.executable, "args": [str(Path(__file__).with_name("stdio_mcp.py"))]}}
    config = json.dumps({"mcpServers": servers if with_mcp else {}})
    options = ["--print", "--continue", "--output-format", "stream-json", "--verbose", "--model", "haiku"]
    options += ["--tools", "Bash", "--permission-mode", "bypassPermissions"]
    return [*options, "--strict-mcp-config", "--mcp-config", config, "--"]


def _environment(model: ScriptedModel, home: Path) -> dict[str, str]:
    return model.environment(home) | {"ENABLE_TOOL_SEARCH": "false"}


# the hive


async def _agents(hive: HiveProcess, model: ScriptedModel, turns: Turns) -> list[System]:
    model.script(ANYONE, ONE_CALL)
    await spawn(hive, WARM)
    await spawn(hive, DOZING, "sleep_after = 1")
    await spawn(hive, ASLEEP, "sleep_after = 1\ndeep_sleep_after = 1")
    moves: dict[str, tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]]] = {
        WARM: (_nothing, partial(in_state, hive, WARM, "warm")),
        DOZING: (partial(in_state, hive, DOZING, "dozing"),) * 2,
        ASLEEP: (_nothing, partial(in_state, hive, ASLEEP, "asleep")),
        COLD: (partial(spawn, hive, COLD), partial(_forget, hive, COLD)),
    }
    return [
        System(name=name, turn=partial(turns.one, name), model=model, agent=name, ready=ready, settle=settle)
        for name, (ready, settle) in moves.items()
    ]


async def _forget(hive: HiveProcess, name: str) -> None:
    await hive.client.call(host.Destroy(name=name, purge=True))


# the table


def _rows(timings: Timings) -> list[Row]:
    return [
        _row(timings, WARM, WITH_MCP, WARM_OVER_MCP),
        _row(timings, WARM, WITHOUT_MCP, WARM_OVER_PROCESS),
        _row(timings, DOZING, WITH_MCP, DOZING_OVER_MCP),
        _row(timings, ASLEEP, WITH_MCP, ASLEEP_OVER_MCP),
        _row(timings, COLD, WITH_MCP),
    ]


def _row(timings: Timings, name: str, reference: str, target: Target | None = None) -> Row:
    subject, beside = _firsts(timings[name]), _firsts(timings[reference])
    whole = sorted(timing.whole for timing in timings[name])[len(subject) // 2]
    beside_whole = sorted(timing.whole for timing in timings[reference])[len(subject) // 2]
    return row(
        f"message to first request, {AGENTS[name]}", subject, unit="ms",
        against=f"{reference}: {sorted(beside)[len(beside) // 2]:,.0f} ms",
        ratios=[ours / theirs for ours, theirs in zip(subject, beside, strict=True)], target=target,
        note=f"whole turn {whole:,.0f} ms against {beside_whole:,.0f} ms",
    )  # fmt: skip


def _firsts(timings: Sequence[Timing]) -> list[float]:
    return [timing.first_request for timing in timings]
