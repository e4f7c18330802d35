"""`hive diff`: what a decision would change."""

from enum import StrEnum
from typing import Annotated

import typer

from hyperhive.cli import diff_rows, proposals
from hyperhive.cli.options import ApprovalId, Json
from hyperhive.cli.output import put_json, put_rows, say
from hyperhive.protocol import host


class Base(StrEnum):
    DEPLOYED = "deployed"
    APPROVED = "approved"
    QUEUED = "queued"


def run(
    approval: ApprovalId,
    base: Annotated[
        Base, typer.Option(help="Against what is deployed, was approved last, or is queued before it.")
    ] = Base.DEPLOYED,
    json: Json = False,
) -> None:
    """Show what an approval would change, all of it, with what is risky about it first."""
    parts = proposals.parts_of(host.Diff(id=approval, base=base.value))
    if json:
        for part in parts:
            put_json(part)
        return
    diff = proposals.diff_in(parts)
    put_rows(diff_rows.rows(diff))
    if diff.status in ("", "pending"):
        say(f"`hive approve {approval}{_with(diff.sha)}` approves what is shown, `hive deny {approval}` denies it")


def _with(sha: str) -> str:
    return f" --sha {sha}" if sha else ""
