"""`hive jobs`: the work on containers."""

import asyncio
from contextlib import aclosing
from typing import Annotated

import typer

from hyperhive.cli import hive, job_rows
from hyperhive.cli.options import Json, complete_agents
from hyperhive.cli.output import put, put_json, put_table, say
from hyperhive.client import Client
from hyperhive.protocol import host


def run(
    name: Annotated[
        str | None, typer.Argument(help="Of one agent; without it, all.", autocompletion=complete_agents)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many, the newest.")] = 30,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay and show each job that changes.")] = False,
    json: Json = False,
) -> None:
    """Show the work on containers: what waits, what runs, how it ended."""
    asyncio.run(_jobs(hive.client(), host.Jobs(name=name, limit=limit, follow=follow), json=json))


async def _jobs(client: Client, request: host.Jobs, *, json: bool) -> None:
    first = True
    async with aclosing(client.stream(request)) as answers:
        async for answer in answers:
            if json:
                put_json(answer)
            else:
                _show(answer.jobs or [], listed=first)
            first = False
            if not request.follow:
                return


def _show(jobs: list[host.Job], *, listed: bool) -> None:
    if not listed:
        for job in jobs:
            put(job_rows.sentence(job))
    elif jobs:
        put_table(job_rows.COLUMNS, [job_rows.cells(job) for job in jobs])
    else:
        say("no jobs yet")
