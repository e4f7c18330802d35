"""The hive's own credential for claude: in by `set_credential`, and never out."""

from msgspec import UNSET

from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def show(hive: Hive, _: host.Credential) -> Response:
    return Response(credential=hive.credentials.shown() or UNSET, accounts=hive.credentials.accounts() or UNSET)


async def set_credential(hive: Hive, ask: host.SetCredential) -> Response:
    return Response(credential=await hive.credentials.set(ask.secret, ask.env_file) or UNSET)


async def unset(hive: Hive, _: host.UnsetCredential) -> Response:
    return Response(done=await hive.credentials.unset())
