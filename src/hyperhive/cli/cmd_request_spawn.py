"""`hive request-spawn`: a new agent put up for decision."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.cli.output import put, put_json, say
from hyperhive.protocol import host


def run(
    name: Annotated[str, typer.Argument(help="What to call it: a-z, 0-9 and '-', beginning with a letter.")],
    description: Annotated[str, typer.Option("--description", "-d", help="What it is for.")] = "",
    json: Json = False,
) -> None:
    """Queue a new agent for approval."""
    queued(ask(host.RequestSpawn(name=name, description=description)), json=json)


def queued(answer: host.Response, *, json: bool) -> None:
    """Report what waits for a decision now."""
    if json:
        put_json(answer)
        return
    for approval in answer.ids or []:
        put(str(approval))
        say(f"`hive approve {approval}` decides for it, `hive deny {approval}` against it")
