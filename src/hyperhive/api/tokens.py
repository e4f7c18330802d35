"""Programs that may use the dashboard's API."""

from hyperhive.api.answers import DONE
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def create_token(hive: Hive, ask: host.CreateToken) -> Response:
    token, row = await hive.tokens.create(ask.name, ask.scope, ask.days)
    return Response(token=token, tokens=[row.on_wire()])


async def tokens(hive: Hive, _: host.Tokens) -> Response:
    return Response(tokens=[row.on_wire() for row in await hive.tokens.alive()])


async def revoke_token(hive: Hive, ask: host.RevokeToken) -> Response:
    await hive.tokens.revoke(ask.id)
    return DONE
