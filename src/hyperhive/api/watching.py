"""What happens, as it happens; what a container wrote; and a harness at work."""

import asyncio
from collections.abc import AsyncIterator

from msgspec import UNSET

from hyperhive.api.answers import encoded_size
from hyperhive.api.batches import in_batches
from hyperhive.hub import way_in
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.host import Response


async def watch(hive: Hive, ask: host.Watch) -> AsyncIterator[Response]:
    """First what was kept, then what happens; without a gap between the two."""
    if ask.name is not None:
        hive.fleet.get(ask.name)
    async for batch in hive.desk.watch(ask.name, since=ask.since, history=ask.history, follow=ask.follow):
        for events in in_batches(batch, _event_size) if batch else [[]]:
            yield Response(events=events)


async def logs(hive: Hive, ask: host.Logs) -> AsyncIterator[Response]:
    house, agent = hive.fleet.house, hive.fleet.get(ask.name)
    async for batch in way_in.logs(house, agent, lines=ask.lines, follow=ask.follow, unit=ask.unit, boot=ask.boot):
        for lines in in_batches(batch, encoded_size) if batch else [[]]:
            yield Response(messages=lines)


def _event_size(event: HiveEvent) -> int:
    return len(memoryview(event.payload)) + 200


async def set_model(hive: Hive, ask: host.SetModel) -> Response:
    chosen = await hive.desk.set_model(ask.name, ask.model)
    return Response(model=chosen.model, warning=chosen.warning or UNSET)


async def cancel(hive: Hive, ask: host.Cancel) -> Response:
    return Response(done=await hive.desk.cancel(ask.name))


async def new_session(hive: Hive, ask: host.NewSession) -> Response:
    return Response(done=await hive.desk.new_session(ask.name))


async def compact(hive: Hive, ask: host.Compact) -> Response:
    return Response(done=await hive.desk.compact(ask.name, ask.instructions))


async def shell(hive: Hive, ask: host.Shell) -> Response:
    return Response(shell=way_in.shell(hive.fleet.house, hive.fleet.get(ask.name)))


async def attach(hive: Hive, ask: host.Attach) -> AsyncIterator[Response]:
    """One answer; then the connection is the lease of the conversation, until the client has gone."""
    async with hive.desk.attached(ask.name, interrupt=ask.interrupt) as command:
        yield Response(shell=command)
        await asyncio.get_running_loop().create_future()
