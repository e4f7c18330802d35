"""Who may come into the dashboard."""

from hyperhive.api.answers import DONE
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Response


async def login_link(hive: Hive, _ask: host.LoginLink) -> Response:
    return Response(login_link=await hive.doors.invite())


async def web_sessions(hive: Hive, _ask: host.WebSessions) -> Response:
    return Response(web_sessions=[session.on_wire() for session in await hive.doors.sessions()])


async def revoke_web_session(hive: Hive, ask: host.RevokeWebSession) -> Response:
    if ask.all == (ask.id is not None):
        raise FaultError(FaultKind.INVALID_PARAMS, "cannot revoke: give one of id and all")
    if ask.id is None:
        await hive.doors.end_all()
    else:
        await hive.doors.end(ask.id)
    return DONE
