"""`hive token`: what programs show to use the dashboard's API."""

from typing import Annotated, Literal

import typer

from hyperhive.cli.ages import age
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.cli.output import put, put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host

_COLUMNS = ("ID", "NAME", "SCOPE", "SINCE", "USED", "EXPIRES")
Scope = Literal["read", "operate"]


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for, as you will read it in the list.")],
    scope: Annotated[Scope, typer.Option(help="read: it may look; operate: it may do what the pages do.")] = "read",
    days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="How long it lasts; without: until it is revoked.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a token for a program that uses the dashboard's API. It is shown this once."""
    answer = ask(host.CreateToken(name=name, scope=scope, days=days))
    if json:
        put_json(answer)
        return
    put(str(answer.token))
    say("it is shown this once; a program sends it as `Authorization: Bearer TOKEN`")


def list_tokens(json: Json = False) -> None:
    """Show the API's tokens, without what they are."""
    answer = ask(host.Tokens())
    if json:
        put_json(answer)
    elif answer.tokens:
        put_table(_COLUMNS, [_cells(token) for token in answer.tokens])
    else:
        say("there is no token; `hive token create NAME` makes one")


def revoke(
    token: Annotated[int, typer.Argument(metavar="ID", help="As `hive token list` shows it.")], json: Json = False
) -> None:
    """End a token at once, with all that it has open."""
    tell(ask(host.RevokeToken(id=token)), f"token {token} is revoked", json=json)


def _cells(token: host.ApiToken) -> tuple[str, ...]:
    return (
        str(token.id),
        one_line(token.name, 60),
        token.scope,
        f"{age(token.created_at)} ago",
        f"{age(token.used_at)} ago" if isinstance(token.used_at, str) else "never",
        token.expires_at if isinstance(token.expires_at, str) else "never",
    )
