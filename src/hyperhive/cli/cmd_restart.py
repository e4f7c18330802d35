"""`hive restart`: one container, down and up."""

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host


def run(name: Agent, json: Json = False) -> None:
    """Stop and start an agent; its conversation and mail stay."""
    tell(ask(host.Restart(name=name), doing=f"restarting {name}"), f"restarted {name}", json=json)
