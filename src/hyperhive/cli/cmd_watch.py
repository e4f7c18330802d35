"""`hive watch`: the live terminal."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated

import typer

from hyperhive.cli import hive
from hyperhive.cli.options import Json, complete_agents
from hyperhive.cli.output import console, put_json, say
from hyperhive.cli.rows import rows
from hyperhive.cli.terminal import Terminal
from hyperhive.client import Client
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent


def run(
    name: Annotated[
        str | None, typer.Argument(help="An agent; without it, everything.", autocompletion=complete_agents)
    ] = None,
    history: Annotated[int, typer.Option(min=0, max=2000, help="How many earlier events to begin with.")] = 50,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Stay and show what happens.")] = True,
    json: Json = False,
) -> None:
    """Watch an agent, or all of them, think and act."""
    request = host.Watch(name=name, history=history, follow=follow)
    show = put_json if json else _rows_on(Terminal(console(), names=name is None))
    asyncio.run(_watch(hive.client(), request, show))


def _rows_on(terminal: Terminal) -> Callable[[HiveEvent], None]:
    def show(event: HiveEvent) -> None:
        for row in rows(event):
            terminal.show(event.agent, row)

    return show


async def _watch(client: Client, request: host.Watch, show: Callable[[HiveEvent], None]) -> None:
    async with aclosing(client.events(request, on_lost=say)) as events:
        async for event in events:
            show(event)
