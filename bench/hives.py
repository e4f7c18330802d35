"""What the benches of the whole hive share: agents of a real daemon, their turns, and what is told when they end."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import claude_agent_sdk

from hyperhive.broker.database import Database
from hyperhive.broker.roster import Roster, Wanted
from hyperhive.hub import directories
from hyperhive.protocol import host
from hyperhive.protocol.events import TurnEnd, live_event
from hyperhive.rehearsal.script import Call, Say, Turn, on
from hyperhive.testing.hive_process import HiveProcess

TURN_S: Final = 120.0
PROMPT: Final = "Take a note."
CLAUDE: Final = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
NO_CLAUDE: Final = "the claude binary of claude-agent-sdk is not there: run `make install`"

ONE_CALL: Final[Turn] = on("", Call("mcp__hyperhive__send", {"to": "operator", "body": "noted"}), Say("Noted."))
"""The turn that is measured: one call of a tool of the hive's, as a process per turn calls its own MCP server."""


class Turns:
    """Causes turns and waits for their ends, over host.sock like any operator."""

    def __init__(self, hive: HiveProcess) -> None:
        self._hive = hive
        self._ended: defaultdict[str, asyncio.Queue[TurnEnd]] = defaultdict(asyncio.Queue)

    async def one(self, name: str, text: str = PROMPT) -> None:
        """From the send to the end of the turn; raises RuntimeError when it was not the turn of the script."""
        await self._hive.client.call(host.Send(to=name, body=text))
        async with asyncio.timeout(TURN_S):
            end = await self._ended[name].get()
        if not end.ok or end.tool_calls != 1:
            raise RuntimeError(f"the turn of {name} is not what is to be measured: {end}")

    async def follow(self) -> None:
        async with aclosing(self._hive.client.stream(host.Watch())) as answers:
            async for answer in answers:
                for event in answer.events or []:
                    if isinstance(end := live_event(event.payload), TurnEnd):
                        self._ended[event.agent].put_nowait(end)


@asynccontextmanager
async def turns_of(hive: HiveProcess) -> AsyncIterator[Turns]:
    turns = Turns(hive)
    following = asyncio.create_task(turns.follow())
    try:
        yield turns
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def spawn(hive: HiveProcess, name: str, agent_toml: str = "") -> None:
    """An agent, up; with settings that its first container already has."""
    hive.prepare(name, agent_toml)
    await hive.client.call(host.Spawn(name=name))


async def in_state(hive: HiveProcess, name: str, state: str) -> None:
    """Until the hive shows the agent in this state: warm, dozing, asleep, …"""
    await hive.becomes(name, lambda row: row.state == state)


async def furnish(hive: HiveProcess, count: int) -> None:
    """A hive's state from which its daemon opens the sockets of so many agents and starts no container."""
    directories.make_hive(hive.paths)
    database = await Database.open(hive.paths.database)
    try:
        roster = Roster(database)
        for number in range(count):
            await roster.add(f"a{number}", wanted=Wanted.DOWN)
            hive.paths.agent_runtime(f"a{number}").mkdir()
    finally:
        await database.close()
