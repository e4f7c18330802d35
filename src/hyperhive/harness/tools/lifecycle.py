"""The run state of other agents."""

from typing import Annotated, Final

from msgspec import Meta

from hyperhive.harness.quotation import fenced, one_word
from hyperhive.harness.tools.tool import Hive, Input, Refusal, Tool
from hyperhive.protocol import agent
from hyperhive.protocol.agent import JobAnswer, Subject
from hyperhive.protocol.ids import AnyName
from hyperhive.protocol.rpc import Method

JOB_S: Final = 120.0
"""The hive answers when the job has ended, or after half a minute; until then the connection is not taken for dead."""


class SubjectInput(Input):
    name: Annotated[AnyName, Meta(description="The agent, never yourself")]


class Lifecycle:
    def __init__(self, hive: Hive) -> None:
        self._hive = hive

    def tools(self) -> list[Tool]:
        return [
            self._tool(agent.KILL, "Stop an agent. Its state and its mail are kept; it stays down until `start`."),
            self._tool(agent.START, "Start an agent that is down."),
            self._tool(agent.RESTART, "Stop an agent and start it again; it goes on with its conversation."),
            self._tool(agent.UPDATE, "Rebuild an agent from its deployed config with the hive's present software."),
        ]

    def _tool(self, method: Method[Subject, JobAnswer], says: str) -> Tool:
        async def carry_out(given: SubjectInput) -> str:
            answer = await self._hive.call(method, Subject(name=given.name), answer_s=JOB_S)
            return _outcome(f"{method.name} of {given.name!r}", answer)

        return Tool(name=method.name, says=says, takes=SubjectInput, carry_out=carry_out)


def _outcome(what: str, job: JobAnswer) -> str:
    match job.state:
        case "done":
            return f"{what} is done (job {job.job})"
        case "failed" | "cancelled":
            error = f". Its error, as reported:\n{fenced(job.error)}" if job.error else ""
            raise Refusal(f"job {job.job} {job.state}{error}")
        case _:
            begun = f"{what} is under way as job {job.job} ({one_word(job.state)}) and goes on by itself"
            return f"{begun}; `list_agents` shows what became of the agent"
