"""Messages at set times."""

from hyperhive.api.answers import DONE, encoded_size
from hyperhive.api.batches import in_batches
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def schedules(hive: Hive, ask: host.Schedules) -> Response:
    rows = await hive.scheduling.of(ask.name)
    return Response(schedules=list(next(in_batches([row.on_wire() for row in rows], encoded_size), [])))


async def set_paused(hive: Hive, ask: host.SetSchedulePaused) -> Response:
    await hive.scheduling.set_paused(ask.name, ask.schedule, ask.paused)
    return DONE


async def fire(hive: Hive, ask: host.FireSchedule) -> Response:
    await hive.scheduling.fire(ask.name, ask.schedule)
    return DONE
