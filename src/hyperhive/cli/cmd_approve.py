"""`hive approve`: yes to a pending decision."""

from typing import Annotated

import typer

from hyperhive.cli import proposals
from hyperhive.cli.carrying_out import carry_out_approval
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import ApprovalId, Json, Yes
from hyperhive.cli.output import CliError, confirm
from hyperhive.protocol import host


def run(
    approval: ApprovalId,
    sha: Annotated[
        str | None, typer.Option(metavar="SHA", help="The commit that you mean, as `hive diff` shows it: do not ask.")
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Approve what is shown, and wait until it is carried out: what was asked for is done at once."""
    row = proposals.find(ask(host.Pending()).approvals or [], approval)
    if sha:
        decide(approval, proposals.full_sha(row, sha), json=json)
    elif row is None or row.status != "pending":
        decide(approval, None, json=json)  # the hive knows better than the list what became of it
    else:
        decide(approval, _seen(row, yes=yes, json=json), json=json)


def decide(approval: int, sha: str | None, *, json: bool) -> None:
    """Approve exactly that commit; raises as `Client.call` when it is refused or could not be carried out."""
    request = host.Approve(id=approval, sha=sha)
    doing = f"carrying out {approval}"
    tell(ask(request) if json else carry_out_approval(request, doing=doing), f"approved {approval}", json=json)


def _seen(row: host.Approval, *, yes: bool, json: bool) -> str | None:
    """The commit that the operator was shown and agrees to."""
    if not yes and not proposals.somebody_is_here():
        raise CliError(f"nobody is here to ask: look at it with `hive diff {row.id}`, then `{_without_asking(row)}`")
    sha = (row.fetched_sha or "") if yes and json else proposals.show(row)
    confirm(proposals.effect(row, sha), yes=yes)
    return sha or None


def _without_asking(row: host.Approval) -> str:
    return f"hive approve {row.id} " + (f"--sha {row.fetched_sha}" if row.fetched_sha else "--yes")
