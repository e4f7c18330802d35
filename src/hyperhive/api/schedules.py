"""Messages at set times."""

from msgspec import UNSET

from hyperhive.api.answers import DONE, encoded_size
from hyperhive.api.batches import in_batches
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def schedules(hive: Hive, ask: host.Schedules) -> Response:
    rows = [row.on_wire() for row in await hive.scheduling.of(ask.name)]
    shown = next(in_batches(rows, encoded_size), [])
    cut = f"{len(rows) - len(shown)} more do not fit; ask for those of one agent"
    return Response(schedules=shown, warning=UNSET if len(shown) == len(rows) else cut)


async def set_paused(hive: Hive, ask: host.SetSchedulePaused) -> Response:
    await hive.scheduling.set_paused(ask.name, ask.schedule, ask.paused)
    return DONE


async def fire(hive: Hive, ask: host.FireSchedule) -> Response:
    await hive.scheduling.fire(ask.name, ask.schedule)
    return DONE
