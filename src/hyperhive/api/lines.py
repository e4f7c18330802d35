"""Lines from a client that may write anything, or nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from hyperhive.protocol.framing import LineSplitter, Overlong

IDLE_S: Final = 300.0
_CHUNK: Final = 1 << 16


async def lines(reader: asyncio.StreamReader, *, idle_s: float = IDLE_S) -> AsyncIterator[bytes | Overlong]:
    """Every line until the client has closed, or has been silent for `idle_s` seconds. A cut last line is dropped."""
    splitter = LineSplitter()
    while True:
        try:
            async with asyncio.timeout(idle_s):
                data = await reader.read(_CHUNK)
        except (TimeoutError, ConnectionError):
            return
        if not data:
            return
        for line in splitter.feed(data):
            yield line
