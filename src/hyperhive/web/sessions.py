"""The cookie of a session, and the door between a request and a handler."""

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse

from hyperhive.broker.web_sessions import LASTS_S, SessionRow
from hyperhive.hub.doors import Doors
from hyperhive.web.bearer import behind_token
from hyperhive.web.rendering import render
from hyperhive.web.route import Access, Handler, WebRoute, hive_of, settings_of

LOGIN: Final = "/login"


def handler(route: WebRoute) -> Handler:
    """The route's handler as the world meets it: behind the login, unless it is public or for programs."""
    match route.access:
        case Access.PUBLIC:
            return route.handler
        case Access.SESSION:
            return functools.partial(_behind_login, route.handler)
        case Access.READ | Access.OPERATE:
            return behind_token(route.handler, route.access)


async def _behind_login(handler: Handler, request: Request) -> Response:
    session = await session_in(request)
    if session is None:
        return _turned_away(request)
    request.state.session = session
    response = await handler(request)
    if isinstance(response, StreamingResponse):
        response.body_iterator = _while_inside(hive_of(request).doors, session.id, aiter(response.body_iterator))
    return response


async def _while_inside(doors: Doors, session: int, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The chunks, until there are no more or the session is ended."""
    with doors.inside(session) as ended:
        while True:
            step = asyncio.ensure_future(anext(chunks))
            try:
                await asyncio.wait((step, ended), return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not step.done():
                    step.cancel()
                    await asyncio.gather(step, return_exceptions=True)
            if ended.done():
                return
            try:
                yield step.result()
            except StopAsyncIteration:
                return


async def session_in(request: Request) -> SessionRow | None:
    """The living session that the request's cookie belongs to."""
    token = request.cookies.get(cookie_name(request))
    return await hive_of(request).doors.who(token) if token else None


def cookie_name(request: Request) -> str:
    """Cookies are shared by all ports of a host: the name tells two hives apart."""
    server = request.scope.get("server") or ("", 0)
    prefix = "__Host-" if is_secure(request) else ""
    return f"{prefix}hive-{server[1]}"


def give_cookie(request: Request, response: Response, token: str) -> None:
    response.set_cookie(
        cookie_name(request), token, max_age=LASTS_S, httponly=True, samesite="strict", secure=is_secure(request)
    )


def take_cookie(request: Request, response: Response) -> None:
    response.delete_cookie(cookie_name(request), httponly=True, samesite="strict", secure=is_secure(request))


def is_secure(request: Request) -> bool:
    return settings_of(request).is_secure(request.url.hostname or "")


def _turned_away(request: Request) -> Response:
    if "HX-Request" in request.headers:
        return PlainTextResponse("you are logged out", 401, headers={"HX-Redirect": LOGIN})
    if request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", ""):
        if request.headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
            return HTMLResponse(
                render("again.html")
            )  # a link on another site's page: the browser kept the cookie back
        return RedirectResponse(LOGIN, 303)
    return PlainTextResponse("log in first: `hive open`, or `hive login` for a link\n", 401)
