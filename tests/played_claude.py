"""Claude and its turn worker, played in the harness's own process: no model, no SDK, only what the runner hears.

The runner's real `Claude` starts "processes" here and speaks the worker's real protocol to them. What a turn does is
`Weather`'s to say.
"""

import asyncio
import itertools
import os
import random
import re
import socket
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import Raw

from hyperhive.harness import wire
from hyperhive.harness.init import Child, Children
from hyperhive.harness.wire import Connect, Connected, HiveToolCall, Prompt, Said, ToolRequest
from hyperhive.protocol.rpc import Nothing, Peer

_PIDS: Final = itertools.count(1 << 30)
"""Of nobody: no process can have one of them."""
KILLED: Final = -9
POISON: Final = "poison"
"""What no turn survives that begins with it."""


@dataclass
class Ledger:
    """What all played claudes have read, said and done."""

    read: defaultdict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    """By message: for each time that it was read, whether it was marked as begun before."""
    done: set[int] = field(default_factory=set)  #: those in turns that ended well
    sessions: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By agent: the conversations that were resumed."""
    outcomes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def take(self, text: str, summed_up: Collection[int] = ()) -> list[int]:
        """Note what the text shows. What was summed up is read again by the same turn: that is no second time."""
        found = re.findall(r"^\[message (\d+)\] from [^\n]*\n(An earlier attempt)?", text, re.MULTILINE)
        for number, mark in found:
            if int(number) not in summed_up:
                self.read[int(number)].append(bool(mark))
        return [int(number) for number, _ in found]


Play = Callable[["PlayedClaude", str, list[int]], Awaitable[None]]


class PlayedChildren(Children):
    """Starts no process: each pair of a claude and its worker is a task."""

    def __init__(self, agent: str, ledger: Ledger, play: Play) -> None:
        super().__init__()
        self._agent = agent
        self._ledger = ledger
        self._play = play
        self._waiting: Child | None = None  #: the claude whose worker is still to come
        self._pairs: dict[asyncio.Task[None], tuple[Child, Child]] = {}

    def take_over(self) -> None:
        pass

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], fds: Mapping[int, int], apart: bool = False
    ) -> Child:
        child = Child(next(_PIDS), asyncio.get_running_loop().create_future())
        if wire.WORKER_SOCKET not in fds:
            self._waiting = child
            resumed = [word.partition("=")[2] for word in argv if word.startswith("--resume=")]
            self._ledger.sessions[self._agent].update(resumed)
            return child
        claude, self._waiting = self._waiting, None
        assert claude is not None
        end = socket.socket(fileno=os.dup(fds[wire.WORKER_SOCKET]))
        end.setblocking(False)
        task = asyncio.create_task(PlayedClaude(self._agent, self._ledger, self._play).run(end))
        self._pairs[task] = (claude, child)
        task.add_done_callback(self._over)
        return child

    async def clear(self, *, everything: bool = False) -> None:
        tasks = [*self._pairs]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _over(self, task: "asyncio.Task[None]") -> None:
        for child in self._pairs.pop(task):
            if not child.ended.done():
                child.ended.set_result(KILLED if task.cancelled() else 0)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


class PlayedClaude:
    """One pair of processes. Its conversation costs more with each turn."""

    def __init__(self, agent: str, ledger: Ledger, play: Play) -> None:
        self.agent = agent
        self.ledger = ledger
        self.session = f"session-of-{agent}"
        self._play = play
        self._peer = Peer(max_line=wire.MAX_LINE)
        self._turn: asyncio.Task[None] | None = None
        self._prompt = ""
        self._cost = 0.0
        self._overflowed: list[int] = []  #: messages of the turn that was too long
        self._summed_up: list[int] = []  #: the same once it was compacted: the summary tells of them

    async def run(self, end: socket.socket) -> None:
        self._peer.serve(wire.CONNECT, self._connect)
        self._peer.serve(wire.PROMPT, self._take)
        self._peer.serve(wire.INTERRUPT, self._interrupt)
        self._peer.serve(wire.CHANGE_MODEL, lambda _: Nothing())
        self._peer.serve(wire.CLOSE, self._close)
        await asyncio.get_running_loop().create_unix_connection(lambda: self._peer, sock=end)
        try:
            await asyncio.wait([self._peer.closed])
        finally:
            if self._turn is not None:
                self._turn.cancel()
                await asyncio.wait([self._turn])
            self._peer.close()

    def die(self) -> None:
        """In the middle of whatever it is at."""
        self._peer.close()

    async def say(self, *lines: dict[str, Any]) -> None:
        await self._peer.call(wire.SAID, Said(lines=[Raw(msgspec.json.encode(line)) for line in lines]))

    async def use(self, tool: str, **arguments: object) -> str:
        given = Raw(msgspec.json.encode(arguments))
        await self._peer.call(
            wire.TOOL_REQUEST, ToolRequest(tool=f"mcp__hyperhive__{tool}", input=given, tool_use_id="")
        )
        result = await self._peer.call(wire.HIVE_TOOL, HiveToolCall(name=tool, arguments=given))
        await self._peer.call(wire.BOUNDARY, Nothing())
        return result.text

    async def end(self, *, error: str = "", reason: str | None = None, more: Sequence[dict[str, Any]] = ()) -> None:
        """The turn's result; without an error or a reason it has gone well."""
        usage = {"input_tokens": 2000, "output_tokens": 200}
        self._cost += 0.01
        await self.say(
            *([{"type": "assistant", "error": error, "message": {}}] if error else []),
            *more,
            {
                "type": "result", "subtype": "success", "is_error": bool(error or reason), "session_id": self.session,
                "terminal_reason": reason, "total_cost_usd": self._cost, "usage": usage,
                "modelUsage": {"haiku": {"contextWindow": 200_000, "costUSD": self._cost}},
                "user_message_uuids": [self._prompt],
            },
        )  # fmt: skip

    def _connect(self, _: Connect) -> Connected:
        return Connected(logged_in=True)

    def _take(self, prompt: Prompt) -> Nothing:
        self._prompt = prompt.uuid
        self._turn = asyncio.create_task(self._work(prompt))
        return Nothing()

    async def _work(self, prompt: Prompt) -> None:
        init = {"type": "system", "subtype": "init", "session_id": self.session, "user_message_uuids": [prompt.uuid]}
        request = {"type": "message_start", "message": {"usage": {"input_tokens": 2000}}}
        await self.say(init, {"type": "stream_event", "event": request})
        if prompt.is_command:
            compacted = {"type": "system", "subtype": "compact_boundary",
                         "compact_metadata": {"pre_tokens": 2000, "post_tokens": 100}}  # fmt: skip
            self._summed_up = self._overflowed
            await self.end(more=[compacted])
        else:
            again, self._summed_up, self._overflowed = self._summed_up, [], []
            messages = self.ledger.take(prompt.text, again)
            await self._play(self, prompt.text, [*messages, *(number for number in again if number not in messages)])

    async def overflow(self, messages: list[int]) -> None:
        self._overflowed = messages
        await self.end(error="invalid_request", reason="prompt_too_long")

    async def _interrupt(self, _: Nothing) -> Nothing:
        if self._turn is not None and not self._turn.done():
            self._turn.cancel()
            await self.end(reason="aborted_streaming")
        return Nothing()

    async def _close(self, _: Nothing) -> Nothing:
        asyncio.get_running_loop().call_soon(self._peer.close)
        return Nothing()


@dataclass
class Weather:
    """What happens to turns, by chance and by a seed. Calm, all go well."""

    chance: random.Random
    names: Sequence[str]
    calm: bool = False

    async def play(self, claude: PlayedClaude, prompt: str, messages: list[int]) -> None:
        kind = "ok" if self.calm else self.chance.choices([*_WEATHER], [*_WEATHER.values()])[0]
        kind = "400" if POISON in prompt else kind
        claude.ledger.outcomes[kind] += 1
        await asyncio.sleep(self.chance.uniform(1, 20))
        if kind != "early":
            await self._correspond(claude, messages)
        match kind:
            case "cut" | "early":
                claude.die()
            case "limit":
                info = {"status": "rejected", "resetsAt": time.time() + self.chance.uniform(60, 1200)}
                await claude.end(error="rate_limit", more=[{"type": "rate_limit_event", "rate_limit_info": info}])
            case "429":
                await claude.end(error="rate_limit")
            case "529":
                await claude.end(error="server_error")
            case "400":
                await claude.end(error="invalid_request")
            case "401":
                await claude.end(error="authentication_failed")
            case "overflow":
                await claude.overflow(messages)
            case "stall":
                await asyncio.sleep(self.chance.uniform(60, 600))
                await self._well(claude, messages)
            case _:
                await self._well(claude, messages)

    async def _well(self, claude: PlayedClaude, messages: list[int]) -> None:
        claude.ledger.done.update(messages)
        await claude.end()

    async def _correspond(self, claude: PlayedClaude, messages: list[int]) -> None:
        """Less than one message for each that was read, so that it all comes to an end."""
        for _ in messages:
            if self.chance.random() < 0.4 and not self.calm:
                await claude.use("send", to=self.chance.choice(self.names), body="and what do you think?")
        if self.chance.random() < 0.2:
            messages += claude.ledger.take(await claude.use("recv"))


_WEATHER: Final = {
    "ok": 60, "529": 10, "stall": 6, "cut": 5, "early": 3, "limit": 4, "429": 3, "401": 2, "overflow": 3,
}  # fmt: skip
