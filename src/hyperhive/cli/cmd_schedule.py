"""`hive schedule`: one schedule of an agent."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json, complete_agents
from hyperhive.protocol import host

Agent = Annotated[str, typer.Argument(metavar="AGENT", help="Whose it is.", autocompletion=complete_agents)]
Schedule = Annotated[str, typer.Argument(metavar="NAME", help="As `hive schedules` shows it.")]


def pause(agent: Agent, schedule: Schedule, json: Json = False) -> None:
    """Send nothing by it until it is resumed. A deployment does not resume it."""
    answer = ask(host.SetSchedulePaused(name=agent, schedule=schedule, paused=True))
    tell(answer, f"schedule {schedule} of {agent} is paused", json=json)


def resume(agent: Agent, schedule: Schedule, json: Json = False) -> None:
    """Go on with it; what would have come while it was paused does not."""
    answer = ask(host.SetSchedulePaused(name=agent, schedule=schedule, paused=False))
    tell(answer, f"schedule {schedule} of {agent} goes on", json=json)


def fire(agent: Agent, schedule: Schedule, json: Json = False) -> None:
    """Send its message now, also when it is paused; its next time stays as it is."""
    answer = ask(host.FireSchedule(name=agent, schedule=schedule))
    tell(answer, f"the message of schedule {schedule} is sent to {agent}", json=json)
