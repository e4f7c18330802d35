"""`hive send`: a message from the operator."""

import sys
import time
import uuid
from typing import Annotated

import typer

from hyperhive.cli import letters
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json, complete_agents
from hyperhive.cli.output import CliError, put, put_json, say
from hyperhive.protocol import host
from hyperhive.protocol.agent import MAX_BODY


def run(
    to: Annotated[str, typer.Argument(help="An agent, or * for every agent.", autocompletion=complete_agents)],
    words: Annotated[list[str], typer.Argument(metavar="TEXT...", help="The message; - reads it from stdin.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the reply and print it.")] = False,
    timeout: Annotated[float, typer.Option(min=0, max=86400, help="Seconds to wait at most.")] = 600,
    reply_to: Annotated[int | None, typer.Option(help="The message that this one answers.")] = None,
    json: Json = False,
) -> None:
    """Send a message; it is safe on disk when this returns."""
    request = host.Send(to=to, body=_body(words), mid=uuid.uuid4().hex, in_reply_to=reply_to)
    answer = ask(request, doing="sending")
    ids = answer.ids or []
    if not wait:
        _tell(answer, to, json=json)
        return
    if len(ids) != 1:
        raise CliError(
            "cannot wait for the reply to a broadcast; `hive inbox --follow` shows the replies as they come"
        )
    _wait(ids[0], to, timeout, json=json)


def _body(words: list[str]) -> str:
    if words != ["-"]:
        return " ".join(words)
    data = sys.stdin.buffer.read(MAX_BODY + 1)
    if len(data) > MAX_BODY:
        raise CliError(f"a message holds {MAX_BODY // 1024} KiB: put the rest into a file in the shared directory")
    return data.decode(errors="replace")


def _tell(answer: host.Response, to: str, *, json: bool) -> None:
    if json:
        put_json(answer)
        return
    for sent in answer.ids or []:
        put(str(sent))
    say(f"sent to {to}; `hive receipt ID` tells what became of it")


def _wait(sent: int, to: str, timeout: float, *, json: bool) -> None:
    started = time.monotonic()
    answer = ask(host.WaitReply(id=sent, timeout_seconds=timeout), doing=f"waiting for {to}")
    if json:
        put_json(answer)
        return
    if not answer.inbox:
        waited = time.monotonic() - started
        raise CliError(f"{to} has not replied after {waited:.0f} seconds; `hive receipt {sent}` tells how far it got")
    for row in answer.inbox:
        put(row.body)
    letters.mark_handled(answer.inbox)
