"""`hive cancel`: a turn's end before its time."""

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host


def run(name: Agent, json: Json = False) -> None:
    """Interrupt the turn under way."""
    answer = ask(host.Cancel(name=name))
    tell(answer, f"{name} has no turn under way" if answer.done is False else f"cancelled {name}'s turn", json=json)
