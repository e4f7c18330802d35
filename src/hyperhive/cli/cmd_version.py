"""`hive version`: of this program and of the daemon."""

import asyncio

import msgspec

from hyperhive import __version__
from hyperhive.cli import hive
from hyperhive.cli.options import Json
from hyperhive.cli.output import put, put_json
from hyperhive.client import ClientError
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError


class Versions(msgspec.Struct, kw_only=True):
    version: str
    daemon: str | None  #: None when none answers


def run(json: Json = False) -> None:
    """Show the versions of this program and of the daemon."""
    versions = Versions(version=__version__, daemon=_daemon())
    if json:
        put_json(versions)
    else:
        put(f"hive {versions.version} (daemon: {versions.daemon or 'not running'})")


def _daemon() -> str | None:
    try:
        answer = asyncio.run(hive.client().call(host.Hello(), timeout_s=2))
    except (ClientError, FaultError):
        return None
    return answer.hive.version if answer.hive else "unknown"
