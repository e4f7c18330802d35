"""`hive compact`: an agent's conversation made shorter."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host


def run(
    name: Agent,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="What the summary should keep.")
    ] = None,
    json: Json = False,
) -> None:
    """Let an agent summarise its conversation and go on from that, when its turn has ended."""
    answer = ask(host.Compact(name=name, instructions=" ".join(words or [])))
    tell(answer, f"{name} compacts its conversation; `hive watch {name}` shows what comes of it", json=json)
