"""`hive answer`: an answer to a question."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.protocol import host


def run(
    question: Annotated[int, typer.Argument(metavar="ID", help="As `hive questions` shows it.")],
    words: Annotated[list[str], typer.Argument(metavar="TEXT...", help="The answer, or one of the options.")],
    json: Json = False,
) -> None:
    """Answer a question, also one that was put to an agent."""
    tell(ask(host.Answer(id=question, answer=" ".join(words))), f"answered question {question}", json=json)
