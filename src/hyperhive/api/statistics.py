"""What agents' turns come to."""

from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def stats(hive: Hive, ask: host.Stats) -> Response:
    agent = None if ask.name is None else hive.fleet.get(ask.name).name
    counted = hive.budgets.rows(agent)[:1]
    return Response(stats=(await hive.turns.lately(agent, ask.window)).on_wire(), budgets=counted)
