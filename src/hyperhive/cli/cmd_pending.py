"""`hive pending`: what waits for the operator's decision."""

from typing import Annotated, Final

import typer

from hyperhive.cli import proposals
from hyperhive.cli.ages import age
from hyperhive.cli.diff_rows import SHORT
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.cli.output import put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host

COLUMNS: Final = ("ID", "AGENT", "WHAT", "COMMIT", "BY", "AGE", "WARNINGS", "WHY", "STATUS")


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
        columns = COLUMNS if everything else COLUMNS[:-1]
        put_table(columns, [_cells(row)[: len(columns)] for row in rows])
        say("`hive diff ID` shows what it changes, `hive approve ID` and `hive deny ID` decide")


def _cells(row: host.Approval) -> tuple[str, ...]:
    return (
        str(row.id),
        row.agent or "all agents",
        row.kind,
        "" if row.kind == proposals.UPDATE_META_INPUTS else (row.fetched_sha or row.commit_ref)[:SHORT],
        row.requester or "",
        age(row.requested_at),
        str(len(row.warnings or []) or ""),
        one_line(row.note or row.description or "", 80),
        row.status,
    )
