"""`hive init-config`: a config repository for an agent that is not there yet."""

from typing import Annotated

import typer

from hyperhive.cli.cmd_request_spawn import queued
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.protocol import host


def run(
    name: Annotated[str, typer.Argument(help="What the agent is to be called.")],
    description: Annotated[str, typer.Option("--description", "-d", help="What it is for.")] = "",
    json: Json = False,
) -> None:
    """Queue the making of a config repository, to be written before the agent is spawned."""
    queued(ask(host.RequestInitConfig(name=name, description=description)), json=json)
