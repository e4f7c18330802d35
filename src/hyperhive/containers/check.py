"""`python -m hyperhive.containers.check --json`: what this host gives containers, as JSON findings.

A program of its own, because clients do not import backends. Leaves nothing behind.
"""

import asyncio
import os
import sys

import msgspec

from hyperhive.containers.backend import Finding
from hyperhive.containers.bubblewrap import Bubblewrap
from hyperhive.containers.cgroups import find_limiter
from hyperhive.containers.host import read_host
from hyperhive.containers.nixos_host import read_nixos_host


async def findings() -> list[Finding]:
    backend = Bubblewrap(await read_host())
    nixos = await read_nixos_host()
    return [*backend.findings(), await asyncio.to_thread(_limits), *(nixos.findings() if nixos else ())]


def _limits() -> Finding:
    limiter = find_limiter(f"hyperhive-check-{os.getpid()}")
    try:
        return limiter.finding()
    finally:
        limiter.release()


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(findings())) + b"\n")
