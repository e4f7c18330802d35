"""`hive pending`: what waits for the operator's decision."""

from typing import Annotated

import typer

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.cli.output import put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host


def run(
    everything: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False,
    json: Json = False,
) -> None:
    """Show what waits for your decision."""
    answer = ask(host.Pending(), doing="asking the hive")
    rows = [row for row in answer.approvals or [] if everything or row.status == "pending"]
    if json:
        put_json(host.Response(approvals=rows))
    elif not rows:
        say("nothing waits for a decision")
    else:
        put_table(("ID", "AGENT", "WHAT", "COMMIT", "STATUS", "SINCE", "WHY"), [_cells(row) for row in rows])


def _cells(row: host.Approval) -> tuple[str, ...]:
    why = row.note or row.description or ""
    return (str(row.id), row.agent, row.kind, row.commit_ref[:12], row.status, row.requested_at, one_line(why, 80))
