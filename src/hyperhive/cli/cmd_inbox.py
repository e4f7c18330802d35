"""`hive inbox`: mail to the operator."""

import asyncio
from contextlib import aclosing
from typing import Annotated

import typer

from hyperhive.cli import hive
from hyperhive.cli.letters import letter
from hyperhive.cli.mail_rows import is_mail_to
from hyperhive.cli.options import Json
from hyperhive.cli.output import put, put_json, say
from hyperhive.client import Client
from hyperhive.protocol import host
from hyperhive.protocol.ids import OPERATOR


def run(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and show what comes in.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="What you have seen before, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most, the newest.")] = 50,
    keep: Annotated[bool, typer.Option("--keep", help="Leave them unread.")] = False,
    json: Json = False,
) -> None:
    """Show your mail; what was shown counts as read."""
    request = host.Inbox(limit=limit, unread_only=not everything)
    asyncio.run(_inbox(hive.client(), request, follow=follow, keep=keep, json=json))


async def _inbox(client: Client, request: host.Inbox, *, follow: bool, keep: bool, json: bool) -> None:
    last = await _show(client, request, 0, keep=keep, json=json)
    if not follow:
        if not last and not json:
            say("no unread mail" if request.unread_only else "no mail")
        return
    async with aclosing(client.events(host.Watch(), on_lost=say)) as events:
        async for event in events:
            if is_mail_to(OPERATOR, event):
                last = await _show(client, host.Inbox(unread_only=True, limit=1000), last, keep=keep, json=json)


async def _show(client: Client, request: host.Inbox, after: int, *, keep: bool, json: bool) -> int:
    """Print the messages above that id; returns the highest id that has been shown so far."""
    answer = await client.call(request)
    rows = [row for row in answer.inbox or [] if row.id > after]
    if json and (rows or not after):
        put_json(host.Response(inbox=rows))
    elif not json:
        for row in rows:
            put(letter(row))
    seen = [row.id for row in rows if row.state not in ("handled", "dead")]
    if seen and not keep:
        await client.call(host.InboxHandled(ids=seen))
    return max([after, *(row.id for row in rows)])
