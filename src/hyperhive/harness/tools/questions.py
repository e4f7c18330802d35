"""Questions to the operator and between agents. Nobody waits for an answer: it comes as a message."""

from typing import Annotated

import msgspec
from msgspec import Meta

from hyperhive.harness.tools.tool import Hive, Input, Number, Tool
from hyperhive.protocol import agent
from hyperhive.protocol.agent import MAX_TTL_S, AnswerTo
from hyperhive.protocol.ids import OPERATOR, AnyName


class AskInput(Input):
    question: Annotated[str, Meta(min_length=1, max_length=4096)]
    to: Annotated[AnyName | None, Meta(description="The agent that is to answer; without it the operator")] = None
    options: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=200)]],
        Meta(max_length=20, description="Answers to pick from; another one may be given all the same"),
    ] = msgspec.field(default_factory=list)
    multi: Annotated[bool, Meta(description="More than one option may be picked")] = False
    ttl_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_TTL_S)] | None, Meta(description="When it is too late for an answer")
    ] = None


class AnswerInput(Input):
    id: Annotated[Number, Meta(description="The question's number")]
    answer: Annotated[str, Meta(min_length=1, max_length=8192)]


class Questions:
    def __init__(self, hive: Hive) -> None:
        self._hive = hive

    def tools(self) -> list[Tool]:
        return [
            Tool(
                name="ask", takes=AskInput, carry_out=self._ask,
                says="Ask the operator, or the agent `to`, for a decision or an answer. This gives the question's "
                "number at once; the answer comes as a message.",
            ),
            Tool(
                name="answer", takes=AnswerInput, carry_out=self._answer,
                says="Answer a question that was put to you.",
            ),
        ]  # fmt: skip

    async def _ask(self, given: AskInput) -> str:
        asked = await self._hive.call(
            agent.ASK,
            agent.Ask(
                mid=self._hive.new_mid(), question=given.question, options=given.options, multi=given.multi,
                ttl_seconds=given.ttl_seconds, to=given.to,
            ),
        )  # fmt: skip
        whom = "the operator" if given.to in (None, OPERATOR) else given.to
        limit = (
            f" It expires after {given.ttl_seconds} seconds, and you hear of that, too." if given.ttl_seconds else ""
        )
        return f"question {asked.id} is with {whom}; the answer wakes you, so go on or finish.{limit}"

    async def _answer(self, given: AnswerInput) -> str:
        await self._hive.call(agent.ANSWER, AnswerTo(id=given.id, answer=given.answer))
        return f"question {given.id} is answered; whoever asked is told"
