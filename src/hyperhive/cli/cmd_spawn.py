"""`hive spawn`: a new agent, at once."""

from typing import Annotated

import typer

from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.hive import tell
from hyperhive.cli.options import Json
from hyperhive.protocol import host
from hyperhive.protocol.backend import BackendKind


def run(
    name: Annotated[str, typer.Argument(help="What to call it: a-z, 0-9 and '-', beginning with a letter.")],
    model: Annotated[str | None, typer.Option(help="The model it begins with.")] = None,
    description: Annotated[str, typer.Option(help="What it is for; the other agents see it.")] = "",
    backend: Annotated[
        BackendKind | None, typer.Option(help="How its containers are made; else as is usual in the hive.")
    ] = None,
    json: Json = False,
) -> None:
    """Make an agent and start it."""
    request = host.Spawn(name=name, model=model, description=description, backend=backend)
    answer = carry_out(request, [name], doing=f"spawning {name}")
    tell(answer, f"{name} is up; `hive send {name} TEXT` gives it work, `hive watch {name}` shows it", json=json)
