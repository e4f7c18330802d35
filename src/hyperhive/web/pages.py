"""The pages that are read, and the parts of them that are fetched when they are opened."""

import asyncio
import functools
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hyperhive.protocol.faults import FaultError
from hyperhive.web.live import Live, live
from hyperhive.web.rendering import render
from hyperhive.web.route import WebRoute, hive_of
from hyperhive.web.sections import diff, path_of

THEMES: Final = ("auto", "light", "dark", "vibec0re")
THEME_COOKIE: Final = "hive-theme"
BASES: Final = {"deployed": "what is deployed", "approved": "the last approved", "queued": "the proposal before"}
MAX_DIFF_LINES: Final = 100_000
"""More than the limits of a repository allow to be read by anybody."""
MAX_LOG_LINES: Final = 500


async def overview(request: Request) -> Response:
    following: Live = request.app.state.live
    board = following.overview
    return await page(request, "overview.html", sections=await board.frames(), position=board.position)


async def approval(request: Request) -> Response:
    """One approval with its whole diff, against the base that was asked for."""
    number, base = path_of(request)["id"], request.query_params.get("base", "deployed")
    try:
        row = await hive_of(request).shape.approval(number)
        shown = await diff(hive_of(request), number, base if base in BASES else "deployed", MAX_DIFF_LINES)
    except FaultError as fault:
        return await page(request, "gone.html", 404, text=fault.message)
    return await page(request, "approval.html", row=row, diff=shown, base=base, bases=BASES)


async def message(request: Request) -> Response:
    """The whole body of a message."""
    try:
        row = await hive_of(request).mailbox.message(path_of(request)["id"])
    except FaultError as fault:
        return HTMLResponse(render("alert.html", text=fault.message), 404)
    return HTMLResponse(render("message.html", row=row))


async def job_log(request: Request) -> Response:
    lines: list[str] = []
    try:
        async for more, _ in hive_of(request).queue.log(path_of(request)["id"], follow=False):
            lines += more
    except FaultError as fault:
        return HTMLResponse(render("alert.html", text=fault.message), 404)
    left_out = max(0, len(lines) - MAX_LOG_LINES)
    return HTMLResponse(render("job_log.html", lines=lines[left_out:], left_out=left_out))


async def page(request: Request, name: str, status: int = 200, /, **values: Any) -> Response:
    """A template of a whole page, in the theme that the browser asks for."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    theme = chosen if chosen in THEMES else THEMES[0]
    html = await asyncio.to_thread(functools.partial(render, name, theme=theme, themes=THEMES, **values))
    return HTMLResponse(html, status)


PAGES: Final[tuple[WebRoute, ...]] = (
    WebRoute(path="/", handler=overview),
    WebRoute(path="/live", handler=live),
    WebRoute(path="/approvals/{id:int}", handler=approval),
    WebRoute(path="/messages/{id:int}", handler=message),
    WebRoute(path="/jobs/{id:int}/log", handler=job_log),
)
