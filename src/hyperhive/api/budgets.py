"""What may be spent."""

import msgspec
from msgspec import UNSET

from hyperhive.broker.budgets import Amount
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def budgets(hive: Hive, ask: host.Budgets) -> Response:
    return Response(budgets=hive.budgets.rows(ask.name))


async def top_up(hive: Hive, ask: host.TopUp) -> Response:
    return Response(budgets=await hive.budgets.top_up(ask.name, Amount(ask.usd, ask.tokens)))


async def set_hive(hive: Hive, ask: host.SetHiveBudget) -> Response:
    wanted = {name: value for name in ask.__struct_fields__ if (value := getattr(ask, name)) is not UNSET}
    return Response(budgets=await hive.budgets.set_whole(msgspec.structs.replace(hive.budgets.whole, **wanted)))


async def reserve(hive: Hive, ask: host.Reserve) -> Response:
    if ask.percent is not None:
        await hive.limits.set_reserve(ask.percent)
    return Response(reserve=hive.limits.reserve)
