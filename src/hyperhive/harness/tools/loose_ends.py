"""What is not finished: questions, reminders and requests."""

from typing import Annotated, Literal

from msgspec import Meta

from hyperhive.harness.quotation import fenced, one_word, utc
from hyperhive.harness.tools.tool import Hive, Input, NoInput, Number, Tool, listed
from hyperhive.protocol import agent
from hyperhive.protocol.agent import CancelLooseEnd, LooseEnd, LooseEndKind
from hyperhive.protocol.rpc import Nothing


class CancelInput(Input):
    kind: Literal["question", "reminder", "approval"]
    id: Annotated[Number, Meta(description="Its number, as `get_loose_ends` shows it")]


class LooseEnds:
    def __init__(self, hive: Hive) -> None:
        self._hive = hive

    def tools(self) -> list[Tool]:
        return [
            Tool(
                name="get_loose_ends", takes=NoInput, carry_out=self._get,
                says="What is open: questions that you asked or have to answer, your reminders, your requests.",
            ),
            Tool(
                name="cancel_loose_end", takes=CancelInput, carry_out=self._cancel,
                says="Withdraw a question that you asked, a reminder of yours or a request of yours.",
            ),
        ]  # fmt: skip

    async def _get(self, _: NoInput) -> str:
        open_ends = (await self._hive.call(agent.GET_LOOSE_ENDS, Nothing())).ends
        return listed([*map(_shown, open_ends)], empty="nothing is open")

    async def _cancel(self, given: CancelInput) -> str:
        await self._hive.call(agent.CANCEL_LOOSE_END, CancelLooseEnd(kind=LooseEndKind(given.kind), id=given.id))
        return f"{given.kind} {given.id} is cancelled"


def _shown(end: LooseEnd) -> str:
    facts = [
        f"{one_word(end.kind)} {end.id}",
        f"asked by {one_word(end.asker)}" if end.asker else "",
        f"{'to be answered by' if end.kind == LooseEndKind.QUESTION else 'about'} {one_word(end.target)}"
        if end.target
        else "",
        f"since {utc(end.since)}" if end.since else "",
        f"due {utc(end.due_at)}" if end.due_at is not None else "",
    ]
    return "\n".join([", ".join(fact for fact in facts if fact), fenced(end.text)])
