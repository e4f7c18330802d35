"""`hive restart`: one container, down and up."""

from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.hive import tell
from hyperhive.cli.options import Agent, Json
from hyperhive.protocol import host


def run(name: Agent, json: Json = False) -> None:
    """Stop and start an agent; its conversation and mail stay."""
    tell(carry_out(host.Restart(name=name), [name], doing=f"restarting {name}"), f"restarted {name}", json=json)
