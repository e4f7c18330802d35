"""Coming in by a link, going out, and saying that somebody is at the door."""

from collections.abc import Mapping
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from hyperhive.protocol.faults import FaultError
from hyperhive.web.attempts import Attempts
from hyperhive.web.rendering import render
from hyperhive.web.route import hive_of, session_of
from hyperhive.web.sessions import LOGIN, give_cookie, session_in, take_cookie

_LONGEST_LINK: Final = 1024
_LONGEST_FORM: Final = 4096
"""Whoever gets as far as the port may have a form parsed: it is a short one."""


async def health(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


async def ask(_request: Request) -> Response:
    """The page that a link leads to. Its script hands over the token, which no browser sends of its own accord."""
    return _page()


async def enter(request: Request) -> Response:
    """A new session for a link that is good. The one that the browser had before ends."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > _LONGEST_FORM:
        return _page("That is no login link.", 413, {"Connection": "close"})
    form = await request.form(max_files=0, max_fields=4, max_part_size=_LONGEST_LINK)
    link = str(form.get("link", "")).strip().rpartition("#")[2]
    doors, former = hive_of(request).doors, await session_in(request)
    attempts = cast(Attempts, request.app.state.attempts)
    address = request.client.host if request.client else ""
    if (wait_s := attempts.wait_s(address)) and not await doors.expects(link):  # who guesses keeps nobody else out
        return _page(f"Too many attempts: try again in {wait_s} seconds.", 429, {"Retry-After": str(wait_s)})
    try:
        token = await doors.enter(link, address=address, browser=request.headers.get("user-agent", ""))
    except FaultError as fault:
        attempts.failed(address)
        return _page(fault.message, 403)
    if former is not None:
        await doors.end(former.id)
    response = RedirectResponse("/", 303)
    give_cookie(request, response, token)
    return response


async def leave(request: Request) -> Response:
    await hive_of(request).doors.end(session_of(request).id)
    response = RedirectResponse(LOGIN, 303)
    take_cookie(request, response)
    return response


def _page(error: str = "", status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return HTMLResponse(render("login.html", error=error), status, headers=headers)
