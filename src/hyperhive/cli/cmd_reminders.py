"""`hive reminders`: what agents have set for themselves."""

from typing import Annotated

import typer

from hyperhive.cli.ages import left
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json, complete_agents
from hyperhive.cli.output import put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host


def run(
    name: Annotated[
        str | None, typer.Argument(help="Of one agent; without it, all.", autocompletion=complete_agents)
    ] = None,
    json: Json = False,
) -> None:
    """Show the reminders that agents have set for themselves and that are not due yet."""
    answer = ask(host.Reminders(name=name))
    if json:
        put_json(answer)
    elif not answer.reminders:
        say("no reminders are set")
    else:
        put_table(("ID", "AGENT", "DUE", "MESSAGE"), [_cells(reminder) for reminder in answer.reminders])


def _cells(reminder: host.Reminder) -> tuple[str, ...]:
    return (str(reminder.id), reminder.agent, left(reminder.due_at), one_line(reminder.message, 200))
