"""`hive rebuild`: a changed agent.toml put into effect."""

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host


def run(name: Agent, json: Json = False) -> None:
    """Put an agent's changed agent.toml into effect: its container is made anew, its state stays."""
    tell(ask(host.Rebuild(name=name), doing=f"rebuilding {name}"), f"rebuilt {name}", json=json)
