"""The answers of host.sock: how they are given, and the one that only says yes."""

from collections.abc import AsyncIterator, Awaitable
from typing import Final

import msgspec

from hyperhive.protocol.host import Response

Answer = Awaitable[Response] | AsyncIterator[Response]
DONE: Final = Response()


def encoded_size(row: object) -> int:
    """Bytes that it takes in an answer."""
    return len(msgspec.json.encode(row))
