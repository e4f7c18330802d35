"""`hive logs`: what an agent's container wrote."""

import asyncio
from contextlib import aclosing
from typing import Annotated, Literal, cast

import typer

from hyperhive.cli import hive
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import CliError, put, put_json
from hyperhive.client import Client
from hyperhive.protocol import host


def run(
    name: Agent,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=5000, help="How many, the newest.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and show what is written.")] = False,
    unit: Annotated[
        str, typer.Option(help="`harness` or `container`, where they are two; else what is usually wanted.")
    ] = "",
    boot: Annotated[bool, typer.Option("--boot", "-b", help="Only what was written since its latest start.")] = False,
    json: Json = False,
) -> None:
    """Show what an agent's container wrote."""
    asyncio.run(
        _logs(hive.client(), host.Logs(name=name, lines=lines, follow=follow, unit=_unit(unit), boot=boot), json=json)
    )


async def _logs(client: Client, request: host.Logs, *, json: bool) -> None:
    async with aclosing(client.stream(request)) as answers:
        async for answer in answers:
            if json:
                put_json(answer)
            for line in [] if json else answer.messages or []:
                put(line)
            if not request.follow:
                return


def _unit(word: str) -> Literal["", "harness", "container"]:
    if word not in ("", "harness", "container"):
        raise CliError(f"there is no log of {word!r}; there are: harness, container")
    return cast("Literal['', 'harness', 'container']", word)
