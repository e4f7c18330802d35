"""`hive resume`: turns again, also before a usage limit is over."""

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host


def run(name: Agent, json: Json = False) -> None:
    """Let an agent go on that is paused or that a usage limit holds."""
    tell(ask(host.SetPaused(name=name, paused=False)), f"{name} goes on", json=json)
