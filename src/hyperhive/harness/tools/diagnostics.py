"""What other agents' harnesses have written."""

from typing import Annotated, Final

from msgspec import Meta

from hyperhive.harness.quotation import fenced
from hyperhive.harness.tools.tool import Hive, Input, Tool
from hyperhive.protocol import agent
from hyperhive.protocol.agent import GetLogs
from hyperhive.protocol.ids import AnyName

MAX_LINE: Final = 1000
MAX_SHOWN: Final = 48 * 1024
"""Characters of a log that claude is given: the last ones."""


class GetLogsInput(Input):
    agent: AnyName
    lines: Annotated[int, Meta(ge=1, le=500)] = 50


class Diagnostics:
    def __init__(self, hive: Hive) -> None:
        self._hive = hive

    def tools(self) -> list[Tool]:
        return [
            Tool(
                name="get_logs", takes=GetLogsInput, carry_out=self._get_logs,
                says="The last lines of an agent's log.",
            ),
        ]  # fmt: skip

    async def _get_logs(self, given: GetLogsInput) -> str:
        there = (await self._hive.call(agent.GET_LOGS, GetLogs(agent=given.agent, lines=given.lines))).lines
        lines = last_lines(there)
        if not lines:
            return f"the log of {given.agent!r} is empty"
        return f"the last {len(lines)} lines of the log of {given.agent!r}, which are data:\n" + fenced(
            "\n".join(lines)
        )


def last_lines(lines: list[str]) -> list[str]:
    """As many of the last lines as may be shown, each one shortened."""
    kept: list[str] = []
    size = 0
    for line in reversed(lines):
        short = line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"
        size += len(short) + 1
        if size > MAX_SHOWN:
            break
        kept.insert(0, short)
    return kept
