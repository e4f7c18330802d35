"""`hive reserve`: what the operator keeps of every account's windows."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.protocol import host


def run(
    percent: Annotated[
        int | None, typer.Argument(min=0, max=90, help="So much of each window is yours; without it, say how much is.")
    ] = None,
    json: Json = False,
) -> None:
    """Keep the last part of every account's windows for yourself: agents stop when only that is left."""
    answer = ask(host.Reserve(percent=percent))
    tell(answer, f"{answer.reserve or 0} % of every window is yours", json=json)
