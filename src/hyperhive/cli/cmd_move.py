"""`hive move`: another backend for an agent."""

from typing import Annotated

import typer

from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.hive import tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host
from hyperhive.protocol.backend import BackendKind


def run(
    name: Agent,
    backend: Annotated[BackendKind, typer.Option(help="How its containers are to be made from now on.")],
    json: Json = False,
) -> None:
    """Make an agent's container another way; its config, login, state and mail stay. What fails is undone."""
    answer = carry_out(host.Move(name=name, backend=backend), [name], doing=f"moving {name}")
    tell(answer, f"{name} has its container by {backend} now", json=json)
