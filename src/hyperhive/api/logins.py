"""Logins of claude's in the agents' containers."""

from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def begin(hive: Hive, ask: host.AgentLogin) -> Response:
    return Response(login=await hive.desk.login_start(ask.name))


async def take_code(hive: Hive, ask: host.AgentLoginCode) -> Response:
    return Response(login=await hive.desk.login_code(ask.name, ask.code))


async def cancel(hive: Hive, ask: host.AgentLoginCancel) -> Response:
    return Response(done=await hive.desk.login_cancel(ask.name))
