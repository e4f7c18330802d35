"""Schedules as the operator has them, and as agents wish for them: an agent's wish is a proposal like any other."""

from dataclasses import dataclass

from hyperhive.broker.schedules import ScheduleRow, Schedules
from hyperhive.hub.fleet import Fleet


@dataclass(frozen=True, kw_only=True)
class Scheduling:
    """What is in effect is what was deployed; only pauses are the operator's own."""

    fleet: Fleet
    schedules: Schedules

    async def open(self) -> None:
        """What was deployed is carried out from now on; a config that cannot be read has no say."""
        agents = [agent for agent in self.fleet.agents() if not agent.config.problem]
        await self.schedules.open({agent.name: agent.settings.schedule for agent in agents})

    async def of(self, name: str | None) -> list[ScheduleRow]:
        """Of one agent or all, by agent and name."""
        return await self.schedules.all(None if name is None else self.fleet.get(name).name)

    async def set_paused(self, name: str, schedule: str, paused: bool) -> ScheduleRow:
        return await self.schedules.set_paused(self.fleet.get(name).name, schedule, paused)

    async def fire(self, name: str, schedule: str) -> ScheduleRow:
        return await self.schedules.fire(self.fleet.get(name).name, schedule)

    # news of them

    def changed(self, row: ScheduleRow) -> None:
        """Tell those who look."""
        if row.agent in self.fleet:
            self.fleet.chronicle.changed(self.fleet.get(row.agent))

    def sent(self, row: ScheduleRow, times: int) -> None:
        """`times` is how many its message is for: more than one after the hive or the agent was away."""
        self.fleet.chronicle.note(row.agent, "schedule_sent", {"name": row.name, "times": times})
