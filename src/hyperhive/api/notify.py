"""Where the operator is told outside of the dashboard."""

from hyperhive.api.answers import DONE
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def add(hive: Hive, ask: host.AddNotifyTarget) -> Response:
    return Response(notify_targets=[await hive.notifications.add(ask.url, ask.kinds, ask.name)])


async def targets(hive: Hive, _: host.NotifyTargets) -> Response:
    return Response(notify_targets=hive.notifications.targets())


async def remove(hive: Hive, ask: host.RemoveNotifyTarget) -> Response:
    await hive.notifications.remove(ask.name)
    return DONE


async def test(hive: Hive, ask: host.TestNotifyTarget) -> Response:
    return Response(notify_tests=await hive.notifications.test(ask.name))
