"""`hive sessions` and `hive session`: the browsers that are logged into the dashboard."""

from typing import Annotated

import typer

from hyperhive.cli.ages import age
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.cli.output import CliError, put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host

_COLUMNS = ("ID", "FROM", "SINCE", "SEEN", "BROWSER")


def run(json: Json = False) -> None:
    """Show the browsers that are logged into the dashboard."""
    answer = ask(host.WebSessions())
    if json:
        put_json(answer)
    elif answer.web_sessions:
        put_table(_COLUMNS, [_cells(session) for session in answer.web_sessions])
    else:
        say("no browser is logged in; `hive open` opens the dashboard")


def revoke(
    session: Annotated[int | None, typer.Argument(metavar="ID", help="As `hive sessions` shows it.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every one.")] = False,
    json: Json = False,
) -> None:
    """Log a browser out at once."""
    if everyone == (session is not None):
        raise CliError("give the id of a session or --all; `hive sessions` shows them")
    answer = ask(host.RevokeWebSession(id=session, all=everyone))
    tell(answer, "every browser is logged out" if everyone else f"session {session} is logged out", json=json)


def _cells(session: host.WebSession) -> tuple[str, ...]:
    return (
        str(session.id),
        one_line(session.address, 40),
        f"{age(session.created_at)} ago",
        f"{age(session.seen_at)} ago",
        one_line(session.browser, 60),
    )
