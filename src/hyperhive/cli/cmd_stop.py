"""`hive stop`: agents' containers down."""

from typing import Annotated

import typer

from hyperhive.cli.carrying_out import carry_out
from hyperhive.cli.hive import tell
from hyperhive.cli.options import Agents, Everyone, Json
from hyperhive.cli.scope import scope_of, spoken
from hyperhive.protocol import host


def run(
    names: Agents = None,
    everyone: Everyone = False,
    graceful: Annotated[bool, typer.Option("--graceful", help="Let a turn under way end first.")] = False,
    json: Json = False,
) -> None:
    """Stop agents. Their mail is held until they are started again."""
    request = host.Stop(scope=scope_of(names, everyone=everyone), graceful=graceful)
    answer = carry_out(request, names or [], doing=f"stopping {spoken(names)}")
    tell(answer, f"stopped {spoken(names)}", json=json)
