"""A daemon's parts with their dashboard, as `hive serve` puts them together: `python -m bench.dashboard_server ROOT`.

Beside it, on a port of its own, what sse-starlette makes of the same rows: an EventSourceResponse for each browser,
with a queue of its own, behind one reader of the event log that draws each row once. It prints a link into the
dashboard, and the peer's address.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hyperhive.daemon import logs
from hyperhive.daemon.assembly import hive_at
from hyperhive.daemon.main import dashboard_of
from hyperhive.hub.hive import Hive
from hyperhive.protocol.events import HiveEvent
from hyperhive.testing.hive_process import paths_in
from hyperhive.web import frames
from hyperhive.web.serving import serving
from hyperhive.web.settings import WebSettings


class Peer:
    """Rows of the agent a0 for everybody who asks, each through a queue of their own."""

    def __init__(self, hive: Hive) -> None:
        self._hive = hive
        self._queues: set[asyncio.Queue[str]] = set()
        self._following: asyncio.Task[None] | None = None

    async def stream(self, _request: Request) -> Response:
        return EventSourceResponse(self._rows())

    async def _rows(self) -> AsyncIterator[dict[str, str]]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._queues.add(queue)
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        try:
            yield {"event": "begun", "data": ""}
            while True:
                yield {"event": "terminal", "data": await queue.get()}
        finally:
            self._queues.discard(queue)
            if not self._queues and self._following is not None:
                self._following.cancel()
                self._following = None

    async def _follow(self) -> None:
        with self._hive.fleet.chronicle.events.subscribe("a0") as events:
            while batch := await events.batch():
                told = [event for event in batch if isinstance(event, HiveEvent)]
                for drawn in await asyncio.to_thread(frames.draw_all, told):
                    for queue in self._queues:
                        queue.put_nowait(drawn.html)


async def main(root: Path) -> None:
    paths = paths_in(root)
    async with contextlib.AsyncExitStack() as stack:
        hive = await stack.enter_async_context(hive_at(paths, rehearsal=paths.rehearsal))
        await stack.enter_async_context(dashboard_of(hive, WebSettings(port=0)))
        app = Starlette(routes=[Route("/", Peer(hive).stream)])
        port = await stack.enter_async_context(serving(app, WebSettings(port=0)))
        print(await hive.doors.invite(), flush=True)
        print(f"http://127.0.0.1:{port}/", flush=True)
        await asyncio.Event().wait()  # until it is ended


if __name__ == "__main__":
    logs.configure("json")
    uvloop.run(main(Path(sys.argv[1])))
