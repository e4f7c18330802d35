"""`hive start`: agents' containers up."""

from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.hive import tell
from hyperhive.cli.options import Agents, Everyone, Json
from hyperhive.cli.scope import scope_of, spoken
from hyperhive.protocol import host


def run(names: Agents = None, everyone: Everyone = False, json: Json = False) -> None:
    """Start agents that are stopped."""
    request = host.Start(scope=scope_of(names, everyone=everyone))
    answer = carry_out(request, names or [], doing=f"starting {spoken(names)}")
    tell(answer, f"started {spoken(names)}", json=json)
