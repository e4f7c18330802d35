"""`hive pause`: no new turns."""

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host


def run(name: Agent, json: Json = False) -> None:
    """Let an agent take no new mail; a turn under way goes on."""
    answer = ask(host.SetPaused(name=name, paused=True))
    tell(answer, f"paused {name}; `hive resume {name}` lets it go on", json=json)
