"""`hive ask`: a question of the operator's."""

import re
from typing import Annotated, Final

import typer

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import put, put_json, say
from hyperhive.protocol import host
from hyperhive.protocol.agent import MAX_TTL_S

_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}


def run(
    name: Agent,
    words: Annotated[list[str], typer.Argument(metavar="TEXT...", help="The question.")],
    option: Annotated[list[str] | None, typer.Option(help="An answer to choose; may be given again.")] = None,
    multi: Annotated[bool, typer.Option("--multi", help="More than one of the options may be chosen.")] = False,
    ttl: Annotated[str, typer.Option(help="How long it stands, such as 90s, 15m or 1h; at most 6h.")] = "",
    json: Json = False,
) -> None:
    """Ask an agent something; the answer comes to your inbox."""
    seconds = seconds_of(ttl) if ttl else None
    answer = ask(
        host.Ask(to=name, question=" ".join(words), options=option or [], multi=multi, ttl_seconds=seconds),
        doing="asking",
    )
    if json:
        put_json(answer)
        return
    for question in answer.ids or []:
        put(str(question))
    say(f"asked {name}; the answer comes to your inbox: `hive inbox --follow`")


def seconds_of(text: str) -> int:
    """Of a time such as 90s, 15m or 1h; raises a usage error for what is none, or longer than a question may stand."""
    found = re.fullmatch(r"([0-9]{1,6})([smh]?)", text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= MAX_TTL_S:
        raise typer.BadParameter(f"--ttl takes a time of 1s to {MAX_TTL_S // 3600}h, such as 90s, 15m or 1h")
    return seconds
