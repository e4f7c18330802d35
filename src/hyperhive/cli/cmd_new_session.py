"""`hive new-session`: an agent's mind made blank."""

from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json, Yes
from hyperhive.cli.output import confirm
from hyperhive.protocol import host


def run(name: Agent, yes: Yes = False, json: Json = False) -> None:
    """Let an agent's next turn begin a new conversation."""
    confirm(f"{name} forgets its conversation so far; its notes and files stay", yes=yes)
    tell(ask(host.NewSession(name=name)), f"{name} begins anew with its next turn", json=json)
