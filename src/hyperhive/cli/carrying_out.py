"""Requests that lead to a job: the answer is waited for, and what the job writes is shown meanwhile."""

import asyncio
import sys
from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Final

from hyperhive.cli import hive
from hyperhive.cli.job_rows import LIVE
from hyperhive.cli.output import QUIET_S, say, spinner
from hyperhive.cli.safe import exact
from hyperhive.client import Client, ClientError
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError

LAST_LINES_S: Final = 5.0
"""How long a log may take to end after its job has."""


def carry_out(request: host.AnyRequest, names: Iterable[str], *, doing: str) -> host.Response:
    """The answer. On a terminal, what jobs of these agents write is shown when it takes longer than a moment."""
    agents = frozenset(names)
    if not sys.stderr.isatty():
        return hive.ask(request)
    return _watched(request, lambda job: job.state in LIVE and (not agents or job.agent in agents), doing, QUIET_S)


def carry_out_approval(request: host.Approve, *, doing: str) -> host.Response:
    """The answer; what its job writes is shown from the beginning, on a terminal or not."""
    return _watched(request, lambda job: job.state in LIVE and job.approval == request.id, doing, 0)


def carry_out_job(request: host.AnyRequest, kind: str, *, doing: str) -> host.Response:
    """The same, of a job of this kind."""
    return _watched(request, lambda job: job.state in LIVE and job.kind == kind, doing, 0)


def _watched(
    request: host.AnyRequest, is_ours: Callable[[host.Job], bool], doing: str, after_s: float
) -> host.Response:
    client = hive.client()
    with spinner(doing):
        return asyncio.run(_call(client, request, JobLines(client, is_ours, after_s=after_s)))


async def _call(client: Client, request: host.AnyRequest, lines: "JobLines") -> host.Response:
    calling, showing = asyncio.create_task(client.call(request)), asyncio.create_task(lines.show())
    try:
        await asyncio.wait({calling})
        if lines.are_coming:
            await asyncio.wait({showing}, timeout=LAST_LINES_S)
        return await calling
    except asyncio.CancelledError:
        say("the hive goes on with it; `hive jobs` shows how far it is, `hive job cancel ID` may end it")
        raise
    finally:
        calling.cancel()
        showing.cancel()
        await asyncio.gather(calling, showing, return_exceptions=True)


class JobLines:
    """The logs of those jobs that are ours, on stderr, as they are written."""

    def __init__(self, client: Client, is_ours: Callable[[host.Job], bool], *, after_s: float) -> None:
        self._client = client
        self._is_ours = is_ours
        self._after_s = after_s
        self._shown: set[int] = set()
        self.are_coming = False  #: a log is being shown

    async def show(self) -> None:
        """Goes on until it is cancelled. A hive that cannot tell is no error: the request's own answer counts."""
        await asyncio.sleep(self._after_s)
        try:
            async with aclosing(self._client.stream(host.Jobs(follow=True))) as answers:
                async for answer in answers:
                    for job in answer.jobs or []:
                        if job.id not in self._shown and self._is_ours(job):
                            await self._log(job.id)
        except (ClientError, FaultError):
            return

    async def _log(self, job: int) -> None:
        self._shown.add(job)
        self.are_coming = True
        async with aclosing(self._client.stream(host.JobLog(id=job, follow=True))) as answers:
            async for answer in answers:
                for line in answer.messages or []:
                    say(f"  {exact(line)}")
        self.are_coming = False
