"""From a message to the first request of the model: a process per turn, and whatever system is put beside it.

`python -m bench.turns` prints the table for the processes alone. A system under test is brought by `System`: anything
that can be told to do one turn against the rehearsal model. All systems of one run take turns, so that what else the
machine does hits them alike.
"""

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import claude_agent_sdk

from hyperhive import process
from hyperhive.rehearsal.script import ANYONE, Call, Say, on
from hyperhive.testing.model import ScriptedModel

TURNS: Final = 7
TURN_S: Final = 120.0
PROMPT: Final = "Take a note."
CLAUDE: Final = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


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


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of one turn."""

    first_request: float
    whole: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """Milliseconds from the message to the model's first request, and to the end of the turn."""

    system: str
    n: int
    first_request: float  #: median
    lowest: float
    highest: float
    whole_turn: float  #: median


async def measure(systems: Sequence[System], *, turns: int = TURNS) -> list[Row]:
    """Each system does one turn to warm up, then `turns` more, all in rotation."""
    timings: dict[str, list[Timing]] = {system.name: [] for system in systems}
    for number in range(turns + 1):
        for system in systems:
            timing = await _one_turn(system)
            if number:
                timings[system.name].append(timing)
    return [_row(name, list_) for name, list_ in timings.items()]


async def _one_turn(system: System) -> Timing:
    await system.ready()
    before = len(system.model.requests(system.agent))
    start = time.monotonic()
    async with asyncio.timeout(TURN_S):
        await system.turn(PROMPT)
    whole = time.monotonic() - start
    first = system.model.wait(system.agent, before + 1, timeout_s=0).at - start
    return Timing(first_request=first * 1000, whole=whole * 1000)


def _row(name: str, timings: Sequence[Timing]) -> Row:
    firsts = [timing.first_request for timing in timings]
    return Row(
        system=name,
        n=len(timings),
        first_request=statistics.median(firsts),
        lowest=min(firsts),
        highest=max(firsts),
        whole_turn=statistics.median(timing.whole for timing in timings),
    )


@contextlib.asynccontextmanager
async def process_per_turn(*, with_mcp: bool) -> AsyncIterator[System]:
    """`claude --print --continue` for each message, with a stdio MCP server that one tool call goes to, or without."""
    with tempfile.TemporaryDirectory() as place, ScriptedModel(port=0) as model:
        steps = [Call("mcp__bench__note", {"text": "hello"})] if with_mcp else []
        model.script(ANYONE, on("", *steps, Say("Noted.")))
        home = Path(place)

        async def turn(text: str) -> None:
            argv = [str(CLAUDE), *_options(with_mcp=with_mcp), text]
            await process.run(argv, env=_environment(model, home), cwd=home, timeout=TURN_S)
            if with_mcp and "noted: hello" not in model.requests()[-1].asked.result:
                raise RuntimeError("the turn did not reach its MCP server: what is measured would not be what it says")

        name = "claude --print per turn, " + ("stdio MCP server" if with_mcp else "no MCP server")
        yield System(name=name, turn=turn, model=model)


def _options(*, with_mcp: bool) -> list[str]:
    servers = {"bench": {"command": sys.executable, "args": [str(Path(__file__).with_name("stdio_mcp.py"))]}}
    config = json.dumps({"mcpServers": servers if with_mcp else {}})
    options = ["--print", "--continue", "--output-format", "stream-json", "--verbose", "--model", "haiku"]
    options += ["--tools", "Bash", "--permission-mode", "bypassPermissions"]
    return [*options, "--strict-mcp-config", "--mcp-config", config, "--"]


def _environment(model: ScriptedModel, home: Path) -> dict[str, str]:
    return model.environment(home) | {"ENABLE_TOOL_SEARCH": "false"}


async def rows(others: Sequence[System] = (), *, turns: int = TURNS) -> list[Row]:
    """The processes per turn, and the other systems beside them in the same run."""
    async with process_per_turn(with_mcp=True) as with_mcp, process_per_turn(with_mcp=False) as without:
        return await measure([with_mcp, without, *others], turns=turns)


def table(rows: Sequence[Row]) -> str:
    lines = ["| system | n | message to first model request, ms | whole turn, ms |", "|---|---|---|---|"]
    lines += [
        f"| {r.system} | {r.n} | {r.first_request:.0f} ({r.lowest:.0f}-{r.highest:.0f}) | {r.whole_turn:.0f} |"
        for r in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(asyncio.run(rows())))
