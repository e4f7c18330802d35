"""`hive destroy`: an agent's end."""

from typing import Annotated

import typer

from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.hive import tell
from hyperhive.cli.options import Agent, Json, Yes
from hyperhive.cli.output import confirm
from hyperhive.protocol import host


def run(
    name: Agent,
    purge: Annotated[bool, typer.Option("--purge", help="Delete its state too: no way back.")] = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Remove an agent. Its config, login and notes are kept unless --purge is given."""
    confirm(loss_of(name, purge=purge), yes=yes)
    answer = carry_out(host.Destroy(name=name, purge=purge), [name], doing=f"destroying {name}")
    tell(answer, done(name, purge=purge), json=json)


def loss_of(name: str, *, purge: bool) -> str:
    if purge:
        return (
            f"this deletes {name} with its config history, login, conversation and notes; nothing can bring them back"
        )
    return f"this removes {name} and its container; config, login and notes are kept and unread mail goes back"


def done(name: str, *, purge: bool) -> str:
    return (
        f"{name} is gone for good" if purge else f"{name} is gone; `hive spawn {name}` brings it back with its state"
    )
