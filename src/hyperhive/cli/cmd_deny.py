"""`hive deny`: no to a pending decision."""

from typing import Annotated

import typer

from hyperhive.cli import proposals
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import ApprovalId, Json
from hyperhive.cli.output import CliError, asked
from hyperhive.protocol import host


def run(
    approval: ApprovalId,
    reason: Annotated[str, typer.Option(help="Why; who asked for it is told. Without it you are asked.")] = "",
    json: Json = False,
) -> None:
    """Deny; nothing is changed."""
    request = host.Deny(id=approval, reason=reason or _reason())
    tell(ask(request), f"denied {approval}", json=json)


def _reason() -> str:
    said = asked("Why not?") if proposals.somebody_is_here() else ""
    if not said:
        raise CliError("nothing was decided: say why with --reason TEXT, so that who asked can do better")
    return said
