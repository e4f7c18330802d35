"""The hive that a command talks to."""

import asyncio
import os

from hyperhive.cli.output import put, put_json, say, spinner
from hyperhive.client import Client
from hyperhive.config.paths import Paths
from hyperhive.protocol import host


def paths() -> Paths:
    """Of the hive that this user talks to; raises PathsError."""
    return Paths.for_client(os.environ, os.geteuid())


def client() -> Client:
    return Client(paths().host_socket)


def ask(request: host.AnyRequest, *, doing: str = "") -> host.Response:
    """The daemon's answer; `doing` is shown while it takes long. Raises as `Client.call`."""
    with spinner(doing):
        return asyncio.run(client().call(request))


def tell(answer: host.Response, done: str, *, json: bool) -> None:
    """Report an action: the answer itself, or its lines and warning and a sentence about what was done."""
    if json:
        put_json(answer)
        return
    if answer.warning:
        say(f"warning: {answer.warning}")
    for line in answer.messages or []:
        put(line)
    say(done)
