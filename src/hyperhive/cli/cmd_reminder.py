"""`hive reminder`: one reminder."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.protocol import host


def cancel(
    reminder: Annotated[int, typer.Argument(metavar="ID", help="As `hive reminders` shows it.")], json: Json = False
) -> None:
    """Cancel a reminder; its agent will not be reminded."""
    tell(ask(host.CancelReminder(id=reminder)), f"reminder {reminder} is cancelled", json=json)
