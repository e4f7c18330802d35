"""`hive propose`: a commit put up for decision."""

from typing import Annotated

import typer

from hyperhive.cli import proposals
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import put, put_json, say
from hyperhive.protocol import host


def run(
    name: Agent,
    commit: Annotated[
        str, typer.Argument(metavar="[SHA]", help="Of the agent's config repository; without it what its HEAD is now.")
    ] = "",
    message: Annotated[str, typer.Option("--message", "-m", help="Why; kept with the proposal.")] = "",
    json: Json = False,
) -> None:
    """Propose a commit of an agent's config repository. It is pinned now and changes nothing until it is approved."""
    request = host.RequestApplyCommit(name=name, commit_ref=commit, description=message)
    answer = ask(request, doing=f"reading the repository of {name}")
    if json:
        put_json(answer)
        return
    for approval in answer.ids or []:
        _tell(approval)


def _tell(approval: int) -> None:
    row = proposals.find(ask(host.Pending()).approvals or [], approval)
    put(f"{approval} {(row.fetched_sha if row else '') or ''}".rstrip())
    for warning in (row.warnings if row else None) or []:
        say(f"warning: {warning}")
    say(f"`hive diff {approval}` shows what it changes, `hive approve {approval}` decides")
