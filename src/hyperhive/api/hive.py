"""What every handler of host.sock is given, and the answer that only says yes."""

from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Final

import msgspec

from hyperhive.broker.mailbox import Mailbox
from hyperhive.hub.asking import Asking
from hyperhive.hub.desk import Desk
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.queue import JobQueue
from hyperhive.hub.shape import Shape
from hyperhive.protocol.host import Response

Answer = Awaitable[Response] | AsyncIterator[Response]
DONE: Final = Response()


@dataclass(frozen=True, kw_only=True)
class Hive:
    """What the handlers ask."""

    fleet: Fleet
    desk: Desk
    mailbox: Mailbox
    shape: Shape
    queue: JobQueue
    asking: Asking


def encoded_size(row: object) -> int:
    """Bytes that it takes in an answer."""
    return len(msgspec.json.encode(row))
