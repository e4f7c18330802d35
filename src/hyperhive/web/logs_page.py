"""What an agent's container wrote: to be read, followed and kept."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hyperhive.containers.keeper import LogUnit, no_such_log
from hyperhive.containers.logs import MAX_LINES
from hyperhive.hub import way_in
from hyperhive.hub.agents import Agent
from hyperhive.hub.hive import Hive
from hyperhive.protocol.faults import FaultError
from hyperhive.web.live import PING_S, streaming
from hyperhive.web.pages import page
from hyperhive.web.rendering import seen
from hyperhive.web.route import WebRoute, hive_of, number_in
from hyperhive.web.sections import path_of

UNITS: Final[Mapping[str, str]] = {
    LogUnit.HARNESS: "what the harness wrote",
    LogUnit.CONTAINER: "what the container wrote",
}
"""Those that there may be; a backend has one of them or both."""
LINES: Final = 200
TICK_S: Final = 0.1
BATCH: Final = 1000
"""Lines of one event; there is one in a tick, however fast a container writes."""


class _Asked(NamedTuple):
    agent: Agent
    units: Mapping[str, str]  #: there are
    unit: str
    boot: bool
    lines: int
    follow: bool


async def _asked(request: Request) -> _Asked:
    """Raises FaultError when there is no such thing."""
    fleet = hive_of(request).fleet
    agent = fleet.get(path_of(request)["name"])
    asked = request.query_params
    there = await way_in.log_units(fleet.house, agent)
    unit = asked.get("unit") or there[0]
    if unit not in there:
        raise no_such_log(agent.name, unit[:64], there)
    lines = number_in(asked.get("lines", ""))
    count = LINES if lines is None else lines
    units = {str(one): UNITS[one] for one in there}
    return _Asked(
        agent, units, unit, asked.get("boot") == "1", min(max(count, 1), MAX_LINES), asked.get("follow") == "1"
    )


async def logs(request: Request) -> Response:
    try:
        asked = await _asked(request)
        lines = await _tail(hive_of(request), asked)
    except FaultError as fault:
        return await page(request, "gone.html", 404, text=fault.message)
    return await page(
        request, "logs.html", name=asked.agent.name, asked=asked, units=asked.units, lines=lines, most=MAX_LINES,
        choices=sorted({LINES, 1000, MAX_LINES, asked.lines}),
    )  # fmt: skip


async def text(request: Request) -> Response:
    """The same as a file. Characters that are not seen are marks in it, too: terminals act on them."""
    try:
        asked = await _asked(request)
        lines = await _tail(hive_of(request), asked)
    except FaultError as fault:
        return PlainTextResponse(f"{fault.message}\n", 404)
    headers = {"Content-Disposition": f'attachment; filename="{asked.agent.name}-{asked.unit}.log"'}
    return PlainTextResponse(await asyncio.to_thread(_readable, lines), headers=headers)


async def follow(request: Request) -> Response:
    """The stream of the page: first the newest lines anew, then those that come."""
    try:
        asked = await _asked(request)
    except FaultError as fault:
        return PlainTextResponse(f"{fault.message}\n", 404)
    return streaming(request, _events(_written(hive_of(request), asked, follow=True)))


def _readable(lines: list[str]) -> str:
    return "".join(f"{seen(line)}\n" for line in lines)


async def _tail(hive: Hive, asked: _Asked) -> list[str]:
    return [line async for batch in _written(hive, asked, follow=False) for line in batch]


def _written(hive: Hive, asked: _Asked, *, follow: bool) -> AsyncIterator[list[str]]:
    house = hive.fleet.house
    return way_in.logs(house, asked.agent, lines=asked.lines, follow=follow, unit=asked.unit, boot=asked.boot)


async def _events(lines: AsyncIterator[list[str]]) -> AsyncGenerator[bytes, None]:
    yield _event("reset", [])
    try:
        async for batch in _batches(lines):
            yield await asyncio.to_thread(_event, "lines", batch) if batch else b""
            await asyncio.sleep(TICK_S)
    except OSError as error:  # it was never started, or the machine's watches are used up
        yield _event("lines", [f"It cannot be followed: {error}. Load the page anew to try again."])
        while True:  # an end would bring the browser back at once
            await asyncio.sleep(PING_S)
            yield b""


async def _batches(lines: AsyncIterator[list[str]]) -> AsyncGenerator[list[str], None]:
    """What came within TICK_S, at most BATCH lines or a little more; nothing when none came for PING_S.

    A reader that is slow holds up the reading of the log, which is a file: nothing is kept for it.
    """
    coming: asyncio.Future[Any] | None = None
    clock = asyncio.get_running_loop().time
    try:
        while True:
            batch: list[str] = []
            until = clock() + PING_S
            while len(batch) < BATCH:
                coming = coming or asyncio.ensure_future(anext(lines, None))
                await asyncio.wait((coming,), timeout=max(0.0, until - clock()))
                if not coming.done():
                    break
                if (more := coming.result()) is None:
                    yield batch
                    return
                until = until if batch else clock() + TICK_S
                batch += more
                coming = None
            yield batch
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        if isinstance(lines, AsyncGenerator):
            await lines.aclose()


def _event(kind: str, lines: list[str]) -> bytes:
    """As the pages' script hands it to that of the log: what it is, then the lines as they are to be shown."""
    data = [f"data: {line}" for line in (kind, *map(seen, lines))]
    return "\n".join(["event: terminal", *data, "", ""]).encode()


LOGS_PAGES: Final[tuple[WebRoute, ...]] = (
    WebRoute(path="/agents/{name}/logs", handler=logs),
    WebRoute(path="/agents/{name}/logs/text", handler=text),
    WebRoute(path="/agents/{name}/logs/live", handler=follow),
)
