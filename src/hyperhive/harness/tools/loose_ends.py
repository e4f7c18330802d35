"""What is not finished: questions, reminders and requests."""

from typing import Annotated, Literal

from msgspec import Meta

from hyperhive.harness.prompt import loose_end_line
from hyperhive.harness.quotation import fenced
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
    return f"{loose_end_line(end, with_since=True)}\n{fenced(end.text)}"
