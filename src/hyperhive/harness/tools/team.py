"""Who the agent is, who else is there, and what the operator sees of it."""

from typing import Annotated

from msgspec import Meta

from hyperhive.harness.journal import Journal
from hyperhive.harness.quotation import one_line
from hyperhive.harness.tools.tool import Hive, Input, NoInput, Tool
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Colleague, SetStatus
from hyperhive.protocol.events import StatusChanged
from hyperhive.protocol.rpc import Nothing


class SetStatusInput(Input):
    text: Annotated[str, Meta(max_length=500)]


class Team:
    def __init__(self, hive: Hive, journal: Journal) -> None:
        self._hive = hive
        self._journal = journal

    def tools(self) -> list[Tool]:
        return [
            Tool(
                name="set_status", takes=SetStatusInput, carry_out=self._set_status,
                says="Show the operator in one line what you are at; an empty text clears it.",
            ),
            Tool(
                name="whoami", takes=NoInput, carry_out=self._whoami,
                says="Your name, your role, who steers you and how much mail waits.",
            ),
            Tool(
                name="list_agents", takes=NoInput, carry_out=self._list_agents,
                says="The other agents: names, roles, states, who steers them, what they are for.",
            ),
        ]  # fmt: skip

    async def _set_status(self, given: SetStatusInput) -> str:
        text = one_line(given.text)
        await self._hive.call(agent.SET_STATUS, SetStatus(text=text))
        self._journal.record(StatusChanged(text=text))
        return "your status is set" if text else "your status is cleared"

    async def _whoami(self, _: NoInput) -> str:
        me = await self._hive.call(agent.WHOAMI, Nothing())
        steered = f", steered by {me.parent}" if me.parent else ""
        groups = f"; your tool groups: {', '.join(me.tool_groups)}" if me.tool_groups else ""
        return f"you are {me.agent}, role {me.role}{steered}; {me.unread} unread{groups}"

    async def _list_agents(self, _: NoInput) -> str:
        there = (await self._hive.call(agent.LIST_AGENTS, Nothing())).agents
        return "\n".join(map(_colleague, there)) or "there are no other agents"


def _colleague(one: Colleague) -> str:
    steered = f", steered by {one.parent}" if one.parent else ""
    purpose = f": {one_line(one.description)}" if one.description else ""
    status = f" - {one_line(one.status_text)}" if one.status_text else ""
    return f"{one.name} ({one.role}, {one.state}{steered}){purpose}{status}"
