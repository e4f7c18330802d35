"""Tells a service manager that we are alive, where one asks for it: one that hears nothing starts us anew."""

import asyncio
import socket
from collections.abc import Mapping


async def run(environ: Mapping[str, str]) -> None:
    """Until cancelled; ends at once where nobody asks."""
    address, within = environ.get("NOTIFY_SOCKET", ""), environ.get("WATCHDOG_USEC", "")
    if not address.startswith(("/", "@")) or not within.isdecimal() or int(within) == 0:
        return
    while True:
        _tell("\0" + address[1:] if address.startswith("@") else address)
        await asyncio.sleep(int(within) / 3_000_000)


def _tell(address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as told:
        try:
            told.sendto(b"WATCHDOG=1", address)
        except OSError:
            return  # it asks again by ending us
