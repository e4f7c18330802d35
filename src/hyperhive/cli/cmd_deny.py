"""`hive deny`: no to a pending decision."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.protocol import host


def run(
    approval: Annotated[int, typer.Argument(metavar="ID", help="As `hive pending` shows it.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the request.")] = "",
    json: Json = False,
) -> None:
    """Deny; nothing is changed."""
    tell(ask(host.Deny(id=approval, reason=reason)), f"denied {approval}", json=json)
