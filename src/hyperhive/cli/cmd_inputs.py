"""`hive inputs list` and `hive inputs update`: what agents' systems on NixOS are made from."""

from typing import Annotated

import typer

from hyperhive.cli.ages import age
from hyperhive.cli.cmd_request_spawn import queued
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.cli.output import put_json, put_table, say
from hyperhive.protocol import host


def list_inputs(json: Json = False) -> None:
    """Show what agents' systems are made from, and how old it is."""
    answer = ask(host.MetaInputs())
    if json:
        put_json(answer)
    elif not answer.meta_inputs:
        say("there is no input yet: no agent of this hive is a container of NixOS")
    else:
        put_table(("INPUT", "REVISION", "AGE", "AGENTS", "URL"), [_cells(row) for row in answer.meta_inputs])


def update(
    inputs: Annotated[list[str] | None, typer.Argument(metavar="INPUT...", help="Which; without one: all.")] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="Why.")] = "",
    json: Json = False,
) -> None:
    """Ask for newer revisions of inputs; approved, the agents whose systems change are rebuilt."""
    queued(ask(host.RequestUpdateMetaInputs(inputs=inputs or [], description=message)), json=json)


def _cells(row: host.MetaInput) -> tuple[str, ...]:
    aged = age(row.last_modified) if isinstance(row.last_modified, str) else ""
    return (row.name, row.revision, aged, ", ".join(row.agents), row.url)
