"""`python -m hyperhive.containers.check --json`: what this host gives containers, as JSON findings.

A program of its own, because clients do not import backends. Leaves nothing behind.
"""

import asyncio
import os
import sys
from dataclasses import replace

import msgspec

from hyperhive.containers.backend import Finding
from hyperhive.containers.bubblewrap import Bubblewrap
from hyperhive.containers.cgroups import find_limiter
from hyperhive.containers.host import read_host
from hyperhive.containers.nixos_host import read_nixos_host
from hyperhive.containers.nspawn import Nspawn


async def findings() -> list[Finding]:
    host = await read_host()
    of_nspawn = [_optional(found) for found in Nspawn(host).findings()]
    nixos = await read_nixos_host()
    of_nixos = nixos.findings() if nixos else ()
    return [*Bubblewrap(host).findings(), *of_nspawn, *of_nixos, await asyncio.to_thread(_limits)]


def _optional(found: Finding) -> Finding:
    """No agent needs it that has not chosen it."""
    return replace(found, name=f"nspawn: {found.name}", needed=False)


def _limits() -> Finding:
    limiter = find_limiter(f"hyperhive-check-{os.getpid()}")
    try:
        return limiter.finding()
    finally:
        limiter.release()


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(findings())) + b"\n")
