"""`hive question`: one question."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.protocol import host


def cancel(
    question: Annotated[int, typer.Argument(metavar="ID", help="As `hive questions` shows it.")], json: Json = False
) -> None:
    """Take a question back; who asked is told."""
    tell(ask(host.CancelQuestion(id=question)), f"question {question} is cancelled", json=json)
