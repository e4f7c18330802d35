"""The job queue."""

from collections.abc import AsyncIterator

from hyperhive.api.answers import encoded_size
from hyperhive.api.batches import in_batches, newest_within
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def jobs(hive: Hive, ask: host.Jobs) -> AsyncIterator[Response]:
    with hive.queue.changes.subscribe() as changes:
        rows = await hive.queue.jobs.newest(ask.limit, ask.name)
        yield Response(jobs=newest_within([row.on_wire() for row in reversed(rows)], encoded_size)[::-1])
        while ask.follow:
            for number in await changes.batch():
                row = await hive.queue.jobs.get(int(number))
                if row is not None and ask.name in (None, row.agent):
                    yield Response(jobs=[row.on_wire()])


async def job_log(hive: Hive, ask: host.JobLog) -> AsyncIterator[Response]:
    async for lines, row in hive.queue.log(ask.id, follow=ask.follow):
        for batch in in_batches(lines, encoded_size) if lines else []:
            yield Response(messages=batch)
        if row is not None:
            yield Response(jobs=[row.on_wire()])


async def cancel_job(hive: Hive, ask: host.CancelJob) -> Response:
    return Response(jobs=[(await hive.queue.cancel(ask.id)).on_wire()])
