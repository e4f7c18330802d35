"""`hive rollback`: an earlier deployment again."""

from typing import Annotated

import typer

from hyperhive.cli.ages import age
from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.diff_rows import SHORT
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json, Yes
from hyperhive.cli.output import CliError, confirm
from hyperhive.protocol import host


def run(
    name: Agent,
    to: Annotated[
        int | None,
        typer.Argument(metavar="[ID]", help="As `hive deployments` shows it; without it the one before the current."),
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Deploy an earlier deployment again, and wait until it is live."""
    rows = ask(host.Deployments(name=name, limit=1000)).deployments or []
    chosen = target(rows, name, to)
    confirm(_way(name, rows, chosen), yes=yes)
    answer = carry_out(host.Rollback(name=name, to=chosen.id), [name], doing=f"rolling {name} back")
    tell(answer, f"{name} is what it was in {chosen.tag}", json=json)


def target(rows: list[host.Deployment], name: str, to: int | None) -> host.Deployment:
    """Which of the deployments is meant; they are the newest first."""
    if to is not None:
        earlier = [row for row in rows if row.id == to]
    else:
        behind = next((place + 1 for place, row in enumerate(rows) if row.current), len(rows))
        earlier = rows[behind:]
    if not earlier:
        missing = "no earlier deployment" if to is None else f"no deployment {to}"
        raise CliError(f"{name} has {missing}; `hive deployments {name}` shows what there is")
    return earlier[0]


def _way(name: str, rows: list[host.Deployment], chosen: host.Deployment) -> str:
    now = next((_spoken(row) for row in rows if row.current), "nothing")
    return f"{name} goes from {now} to {_spoken(chosen)}"


def _spoken(row: host.Deployment) -> str:
    return f"{row.tag} ({row.sha[:SHORT]}, {age(row.deployed_at)} old)"
