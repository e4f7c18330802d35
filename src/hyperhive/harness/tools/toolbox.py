"""The tools that this agent has, put together."""

from collections.abc import Collection

import msgspec

from hyperhive.harness.journal import Journal
from hyperhive.harness.link import Link
from hyperhive.harness.mail import Mail
from hyperhive.harness.quotation import escaped
from hyperhive.harness.tools.approvals import Approvals
from hyperhive.harness.tools.diagnostics import Diagnostics
from hyperhive.harness.tools.lifecycle import Lifecycle
from hyperhive.harness.tools.loose_ends import LooseEnds
from hyperhive.harness.tools.messages import Messages
from hyperhive.harness.tools.questions import Questions
from hyperhive.harness.tools.reminders import Reminders
from hyperhive.harness.tools.schedules import Schedules
from hyperhive.harness.tools.systems import Systems
from hyperhive.harness.tools.team import Team
from hyperhive.harness.tools.tool import Hive, Refusal, Tool
from hyperhive.harness.turns import Turns
from hyperhive.harness.wire import HiveToolCall, HiveToolResult, ToolOffer
from hyperhive.protocol.faults import FaultError


class Toolbox:
    """Carries the hive's tools out for claude. Each answers with text, errors included."""

    def __init__(self, *, link: Link, mail: Mail, turns: Turns, journal: Journal, groups: Collection[str]) -> None:
        hive = Hive(link, turns)
        tools = [
            *Messages(hive, mail=mail, turns=turns).tools(),
            *Questions(hive).tools(),
            *Reminders(hive).tools(),
            *LooseEnds(hive).tools(),
            *Team(hive, journal).tools(),
            *(tool for group in groups for tool in _of_group(group, hive)),
        ]
        self._tools = {tool.name: tool for tool in tools}

    def offers(self) -> list[ToolOffer]:
        """What claude is told of; the hive checks each call again."""
        return [tool.offer for tool in self._tools.values()]

    async def use(self, call: HiveToolCall) -> HiveToolResult:
        tool = self._tools.get(call.name)
        if tool is None:
            return HiveToolResult(text=f"you have no tool {call.name!r}", is_error=True)
        try:
            return HiveToolResult(text=await tool.use(call.arguments))
        except (Refusal, FaultError, msgspec.ValidationError) as error:
            return HiveToolResult(text=f"{call.name} did not work: {escaped(str(error))}", is_error=True)


def _of_group(group: str, hive: Hive) -> list[Tool]:
    match group:
        case "lifecycle":
            return Lifecycle(hive).tools()
        case "approvals":
            return [*Approvals(hive).tools(), *Schedules(hive).tools()]
        case "diagnostics":
            return Diagnostics(hive).tools()
        case "systems":
            return Systems(hive).tools()
        case _:
            return []  # of a newer hive
