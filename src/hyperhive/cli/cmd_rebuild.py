"""`hive rebuild`: containers made anew."""

from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.hive import tell
from hyperhive.cli.options import Agents, Everyone, Json
from hyperhive.cli.scope import scope_of
from hyperhive.protocol import host


def run(names: Agents = None, everyone: Everyone = False, json: Json = False) -> None:
    """Make the containers of agents anew from what is deployed, their state stays; with --all where it is needed."""
    scope = scope_of(names, everyone=everyone)
    if everyone:
        answer = carry_out(host.UpdateAll(), [], doing="rebuilding what is out of date")
        tell(answer, "rebuilt every agent that was out of date", json=json)
    for name in scope.agent_names:
        answer = carry_out(host.Rebuild(name=name), [name], doing=f"rebuilding {name}")
        tell(answer, f"rebuilt {name}", json=json)
