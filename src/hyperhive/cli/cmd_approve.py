"""`hive approve`: yes to a pending decision."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.protocol import host


def run(
    approval: Annotated[int, typer.Argument(metavar="ID", help="As `hive pending` shows it.")], json: Json = False
) -> None:
    """Approve; what was asked for is done at once."""
    tell(ask(host.Approve(id=approval), doing=f"carrying out {approval}"), f"approved {approval}", json=json)
