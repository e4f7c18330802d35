"""`hive schedules`: messages that agents get at set times."""

from typing import Annotated

import typer
from msgspec import UNSET

from hyperhive.cli.ages import age, left
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
    """Show the schedules of agents: messages that their configs have sent at set times."""
    answer = ask(host.Schedules(name=name))
    if json:
        put_json(answer)
    elif not answer.schedules:
        say("no schedules are in effect")
    else:
        if answer.warning is not UNSET:
            say(str(answer.warning))
        put_table(("AGENT", "NAME", "WHEN", "NEXT", "LAST", "MESSAGE"), [_cells(row) for row in answer.schedules])


def _cells(row: host.ScheduleRow) -> tuple[str, ...]:
    when = f"every {row.every} s" if row.every is not UNSET else f"{row.cron} {row.timezone}"
    never = "paused" if row.paused else "never"
    last = age(row.last_at) if row.last_at is not UNSET else ""
    unread = f", unread ({row.passed} held back)" if row.waits else ""
    return (
        row.agent, row.name, one_line(when, 120), left(row.next_at) if row.next_at is not UNSET else never,
        last + unread, one_line(row.message, 120),
    )  # fmt: skip
