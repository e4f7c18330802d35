"""`hive dead`: messages that could not be handled."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.letters import letter
from hyperhive.cli.options import Json, Yes
from hyperhive.cli.output import confirm, put, put_json, say
from hyperhive.protocol import host

Message = Annotated[int, typer.Argument(metavar="ID", help="As `hive dead list` shows it.")]


def list_dead(json: Json = False) -> None:
    """Show the messages that were given up after several attempts."""
    answer = ask(host.DeadLetters())
    if json:
        put_json(answer)
    elif not answer.inbox:
        say("no dead letters")
    else:
        for row in answer.inbox:
            put(letter(row))


def requeue(message: Message, json: Json = False) -> None:
    """Deliver a dead message again, as if for the first time."""
    tell(ask(host.Requeue(id=message)), f"message {message} is back in its inbox", json=json)


def drop(message: Message, yes: Yes = False, json: Json = False) -> None:
    """Set a dead message aside for good."""
    confirm(f"message {message} will never be delivered", yes=yes)
    tell(ask(host.Drop(id=message)), f"dropped message {message}", json=json)
