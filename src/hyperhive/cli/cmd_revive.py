"""`hive revive`: a destroyed agent again."""

from typing import Annotated

import typer

from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.hive import tell
from hyperhive.cli.options import Json
from hyperhive.protocol import host


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `hive tombstones` shows it.")], json: Json = False
) -> None:
    """Make a destroyed agent again from what was kept: its config, login and notes are as they were."""
    tell(carry_out(host.Revive(name=name), [name], doing=f"reviving {name}"), f"{name} is back", json=json)
