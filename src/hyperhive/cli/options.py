"""Arguments and options that several commands share."""

import asyncio
from typing import Annotated, Final

import typer

from hyperhive.cli import hive
from hyperhive.client import ClientError
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError

COMPLETION_S: Final = 0.5


def complete_agents(incomplete: str) -> list[str]:
    """Names of agents that begin so; none when the daemon does not say at once."""
    try:
        answer = asyncio.run(hive.client().call(host.List(), timeout_s=COMPLETION_S))
    except (ClientError, FaultError):
        return []
    return [name for name in answer.agents or [] if name.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Agent = Annotated[str, typer.Argument(help="An agent.", metavar="NAME", autocompletion=complete_agents)]
Agents = Annotated[
    list[str] | None, typer.Argument(help="Agents.", metavar="[NAME]...", autocompletion=complete_agents)
]
ApprovalId = Annotated[int, typer.Argument(metavar="ID", help="As `hive pending` shows it.")]
Everyone = Annotated[bool, typer.Option("--all", help="Every agent.")]
