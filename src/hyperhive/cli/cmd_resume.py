"""`hive resume`: turns again."""

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host


def run(name: Agent, json: Json = False) -> None:
    """Let a paused agent go on."""
    tell(ask(host.SetPaused(name=name, paused=False)), f"{name} goes on", json=json)
