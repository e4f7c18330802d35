"""`hive job`: one piece of work on containers."""

import asyncio
from contextlib import aclosing
from typing import Annotated

import typer

from hyperhive.cli import hive, job_rows
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.cli.output import put, put_json, say
from hyperhive.client import Client
from hyperhive.protocol import host

JobId = Annotated[int, typer.Argument(metavar="ID", help="As `hive jobs` shows it.")]


def log(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until it has ended.")] = False,
    json: Json = False,
) -> None:
    """Show what a job wrote, and how it is."""
    asyncio.run(_log(hive.client(), host.JobLog(id=job, follow=follow), json=json))


async def _log(client: Client, request: host.JobLog, *, json: bool) -> None:
    async with aclosing(client.stream(request)) as answers:
        async for answer in answers:
            if json:
                put_json(answer)
                continue
            for line in answer.messages or []:
                put(line)
            for job in answer.jobs or []:
                say(job_rows.sentence(job))


def cancel(job: JobId, json: Json = False) -> None:
    """Cancel a job that has not ended: one that waits is dropped, one that runs is stopped and undone."""
    tell(ask(host.CancelJob(id=job)), f"cancelled job {job}", json=json)
