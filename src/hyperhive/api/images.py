"""What containers of the nspawn backend are made from."""

from collections.abc import AsyncIterator, Sequence

from hyperhive.api.answers import encoded_size
from hyperhive.api.batches import in_batches
from hyperhive.broker.jobs import JobDraft, JobKind
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response
from hyperhive.protocol.ids import OPERATOR


async def build(hive: Hive, _: host.BuildImage) -> Response:
    """A job like any other: it goes on when the client leaves, and its log is there to follow."""
    draft = JobDraft(agent="", kind=JobKind.BUILD_IMAGE, source="operator", requester=OPERATOR)
    row = await hive.queue.done(draft)
    return Response(queued_dags=[row.id])


async def images(hive: Hive, _: host.Images) -> AsyncIterator[Response]:
    for answer in _answers(await hive.fleet.house.images.all()):
        yield answer


async def verify(hive: Hive, ask: host.VerifyImages) -> AsyncIterator[Response]:
    for answer in _answers(await hive.fleet.house.images.verify(ask.ids)):
        yield answer


async def collect(hive: Hive, _: host.CollectImages) -> AsyncIterator[Response]:
    for answer in _answers(await hive.fleet.house.images.collect()):
        yield answer


def _answers(found: Sequence[host.Image]) -> list[Response]:
    """At least one, each of which fits into a line."""
    return [Response(images=batch) for batch in in_batches(found, encoded_size)] or [Response(images=[])]
