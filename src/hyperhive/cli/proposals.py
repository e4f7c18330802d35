"""What waits for a decision, as the commands that decide fetch and show it."""

import asyncio
import sys
from collections.abc import Iterable
from contextlib import aclosing
from typing import Final

from hyperhive.cli import diff_rows
from hyperhive.cli.hive import client
from hyperhive.cli.output import CliError, put_rows, say
from hyperhive.cli.safe import exact
from hyperhive.client import Client
from hyperhive.protocol import host

LEAST_OF_A_SHA: Final = 7
"""Characters with which git lets a commit be named."""
APPLY_COMMIT: Final = "apply_commit"
UPDATE_META_INPUTS: Final = "update_meta_inputs"
LINES_AT_ONCE: Final = 300
"""Of a diff that is shown with the question; of a longer one only what changes how much."""


def parts_of(request: host.Diff) -> list[host.Response]:
    """The answers of which the diff is put together; raises as `Client.call`."""
    return asyncio.run(_parts(client(), request))


async def _parts(hive: Client, request: host.Diff) -> list[host.Response]:
    async with aclosing(hive.stream(request)) as answers:
        return [answer async for answer in answers]


def diff_in(parts: Iterable[host.Response]) -> host.ApprovalDiff:
    """All of it; raises CliError when the connection broke before the end of it."""
    answers = list(parts)
    found = [answer.diff for answer in answers if answer.diff]
    if not found or answers[-1].done is not True:
        raise CliError("the diff did not come whole: the hive went away meanwhile; try again")
    diff = diff_rows.whole(found)
    if diff_rows.is_cut(diff):
        raise CliError("the diff did not come whole: it lacks lines that it counts; try again")
    return diff


def find(rows: Iterable[host.Approval], approval: int) -> host.Approval | None:
    return next((row for row in rows if row.id == approval), None)


def full_sha(row: host.Approval | None, sha: str) -> str:
    """The commit that the operator means by the first characters of its name; what fits nothing stays as it is."""
    pinned = (row.fetched_sha or "") if row else ""
    return pinned if len(sha) >= LEAST_OF_A_SHA and pinned.startswith(sha.lower()) else sha


def show(row: host.Approval) -> str:
    """Show on stderr what an approval is about; the commit that was shown, empty when there is none."""
    diff = diff_in(parts_of(host.Diff(id=row.id))) if row.kind == APPLY_COMMIT else _without_a_commit(row)
    if sum(len(file.lines) for file in diff.files) <= LINES_AT_ONCE:
        put_rows(diff_rows.rows(diff), stderr=True)
    else:
        put_rows(diff_rows.summary(diff), stderr=True)
        say(f"the diff is long: `hive diff {row.id}` shows its lines")
    return diff.sha


def effect(row: host.Approval, sha: str) -> str:
    """What an approval does, for the question before it."""
    name = exact(row.agent)
    match row.kind:
        case "spawn":
            return f"this makes {name} and starts it"
        case "init_config":
            return f"this makes a config repository for {name}"
        case "update_meta_inputs":
            return f"this takes newer revisions of {diff_rows.inputs(_inputs(row))} and rebuilds who has them"
        case _:
            return f"this deploys {exact(sha[: diff_rows.SHORT])} to {name}"


def somebody_is_here() -> bool:
    """Whether a question would be read and answered."""
    return sys.stdin.isatty()


def _without_a_commit(row: host.Approval) -> host.ApprovalDiff:
    return host.ApprovalDiff(
        id=row.id,
        agent=row.agent,
        kind=row.kind,
        warnings=row.warnings or [],
        requester=row.requester or "",
        description=row.description or "",
        status=row.status,
        inputs=_inputs(row),
    )


def _inputs(row: host.Approval) -> list[str]:
    return row.commit_ref.split(",") if row.kind == UPDATE_META_INPUTS and row.commit_ref else []
