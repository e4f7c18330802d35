"""The stage: takes a request, finds its scene in the script and plays it."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

from hyperhive.rehearsal import conversation, reply
from hyperhive.rehearsal.conversation import Conversation
from hyperhive.rehearsal.exchange import Exchange, Request
from hyperhive.rehearsal.reply import Reply, Streamed, Whole
from hyperhive.rehearsal.scene import Scene, scene, tokens
from hyperhive.rehearsal.script import (
    AnyFault,
    AnyStep,
    Call,
    Cut,
    Fail,
    Garble,
    Gate,
    Reset,
    Say,
    Script,
    Stall,
    Think,
    Together,
)  # fmt: skip

MESSAGES: Final = "/v1/messages"
COUNT_TOKENS: Final = "/v1/messages/count_tokens"
PING_EVERY_S: Final = 5.0
MAX_REMEMBERED: Final = 10_000
"""Places of faults that are counted; past it a fault stays."""


class Stage:
    """Plays the script to whoever asks. The script may be replaced at any time; the next request sees the new one.

    `on_request` is told of every request that could be read, before it is answered; `on_gate` of every gate that a
    request has come to and must wait at.
    """

    def __init__(
        self,
        script: Script,
        *,
        on_request: Callable[[Conversation, Request], None] = lambda _asked, _request: None,
        on_gate: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.script = script
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._on_request = on_request
        self._on_gate = on_gate
        self._faults_played: Counter[tuple[str, int, int, int]] = Counter()

    async def answer(self, request: Request, exchange: Exchange) -> None:
        """Answer one HTTP request. Returns without an end of the answer where the script breaks it off."""
        if request.method != "POST" or request.path not in (MESSAGES, COUNT_TOKENS):
            await reply.respond_error(exchange, Fail(404, message=f"no such endpoint: {request.path[:200]}"))
            return
        try:
            asked = conversation.read(request.body)
        except conversation.UnreadableError as error:
            await reply.respond_error(exchange, Fail(400, message=f"cannot read the request: {error}"))
            return
        if request.path == COUNT_TOKENS:
            await reply.respond_json(exchange, {"input_tokens": tokens(asked.size)})
            return
        self._on_request(asked, request)
        await self._play(scene(self.script, asked), asked, exchange)

    async def _play(self, scene: Scene, asked: Conversation, exchange: Exchange) -> None:
        shape = Streamed if asked.stream else Whole
        answer = shape(exchange, model=asked.model, usage=scene.usage, windows=scene.windows)
        for number, step in enumerate(scene.steps):
            if isinstance(step, AnyFault):
                if self._is_due(scene, number, step):
                    await self._break(step, answer, exchange)
                    return
            else:
                await self._perform(step, answer)
        await answer.end(scene.stop_reason)

    async def _perform(self, step: AnyStep, answer: Reply) -> None:
        match step:
            case Say():
                await answer.say(step.text, self._pace_s(step))
            case Think():
                await answer.think(step.text, self._pace_s(step))
            case Call():
                await answer.call(step)
            case Together():
                for call in step.calls:
                    await answer.call(call)
            case Gate():
                await self._wait_at(step.name, answer)
            case _:
                pass  # Usage, Windows and Stop are part of the scene already

    async def _break(self, fault: AnyFault, answer: Reply, exchange: Exchange) -> None:
        match fault:
            case Fail():
                await answer.fail(fault)
            case Garble():
                await answer.garble(fault)
            case Stall():
                await asyncio.get_running_loop().create_future()
            case Reset():
                exchange.reset()
            case Cut():
                pass  # leaving the answer without its end cuts it

    def _is_due(self, scene: Scene, number: int, fault: AnyFault) -> bool:
        if scene.place is None or len(self._faults_played) >= MAX_REMEMBERED:
            return True
        place = (*scene.place, number)
        self._faults_played[place] += 1
        return self._faults_played[place] <= fault.times

    async def _wait_at(self, name: str, answer: Reply) -> None:
        gate = self.gates[name]
        if not gate.is_set():
            self._on_gate(name)
        while not gate.is_set():
            try:
                async with asyncio.timeout(PING_EVERY_S):
                    await gate.wait()
            except TimeoutError:
                await answer.ping()

    def _pace_s(self, step: Say | Think) -> float:
        return (self.script.pace_ms if step.pace_ms is None else step.pace_ms) / 1000
