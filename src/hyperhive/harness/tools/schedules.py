"""Messages to agents at set times: wishes, which the operator decides."""

from typing import Annotated

from msgspec import Meta

from hyperhive.harness.tools.approvals import COPY_S, requested
from hyperhive.harness.tools.tool import Hive, Input, Refusal, Tool
from hyperhive.protocol import agent
from hyperhive.protocol.agent import RequestSchedule, RequestScheduleRemoval, Summary
from hyperhive.protocol.ids import AnyName
from hyperhive.protocol.settings import EntryName, Schedule


class Wish(Input):
    agent: Annotated[AnyName, Meta(description="Who is to get the message")]
    name: Annotated[EntryName, Meta(description="Of the schedule; one that the agent has under it is replaced")]
    message: Annotated[str, Meta(min_length=1, max_length=4096)]
    every: Annotated[
        Annotated[int, Meta(ge=60, le=365 * 86400)] | None, Meta(description="Seconds between; this, or `cron`")
    ] = None
    cron: Annotated[
        Annotated[str, Meta(max_length=100)] | None,
        Meta(description="Minute, hour, day of the month, month, day of the week, such as `30 9 * * MON-FRI`"),
    ] = None
    timezone: Annotated[str, Meta(max_length=64, description="Of `cron`, such as Europe/Berlin")] = "UTC"
    description: Annotated[Summary, Meta(description="Why, for the operator")] = ""


class Removal(Input):
    agent: Annotated[AnyName, Meta(description="Whose schedule it is")]
    name: Annotated[EntryName, Meta(description="Of the schedule")]
    description: Annotated[Summary, Meta(description="Why, for the operator")] = ""


class Schedules:
    def __init__(self, hive: Hive) -> None:
        self._hive = hive

    def tools(self) -> list[Tool]:
        return [
            Tool(
                name="request_schedule", takes=Wish, carry_out=self._request,
                says="Ask the operator for a schedule of an agent: a message from `system` at set times, `every` so "
                "many seconds or by `cron`. Each begins a turn, which costs. It is in effect once approved and built.",
            ),
            Tool(
                name="request_schedule_removal", takes=Removal, carry_out=self._request_removal,
                says="Ask the operator to take a schedule of an agent out of its config.",
            ),
        ]  # fmt: skip

    async def _request(self, given: Wish) -> str:
        if (given.every is None) == (given.cron is None):
            raise Refusal("give one of every and cron, and not both")
        schedule = Schedule(
            message=given.message, every=given.every, cron=given.cron, timezone=given.timezone if given.cron else "UTC"
        )
        wish = RequestSchedule(
            mid=self._hive.new_mid(), agent=given.agent, name=given.name, schedule=schedule,
            description=given.description,
        )  # fmt: skip
        return requested(await self._hive.call(agent.REQUEST_SCHEDULE, wish, answer_s=COPY_S))

    async def _request_removal(self, given: Removal) -> str:
        wish = RequestScheduleRemoval(
            mid=self._hive.new_mid(), agent=given.agent, name=given.name, description=given.description
        )
        return requested(await self._hive.call(agent.REQUEST_SCHEDULE_REMOVAL, wish, answer_s=COPY_S))
