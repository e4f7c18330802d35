"""`hive rebuild`: the container made anew from what is deployed."""

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host


def run(name: Agent, json: Json = False) -> None:
    """Make an agent's container anew from its deployed config; its state stays."""
    tell(ask(host.Rebuild(name=name), doing=f"rebuilding {name}"), f"rebuilt {name}", json=json)
