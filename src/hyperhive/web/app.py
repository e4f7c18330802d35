"""The dashboard as one ASGI application."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from hyperhive.hub.background import Background
from hyperhive.hub.doors import Doors
from hyperhive.hub.hive import Hive
from hyperhive.web import agent_page, assets, sessions
from hyperhive.web.attempts import Attempts
from hyperhive.web.live import Live
from hyperhive.web.routes import ROUTES
from hyperhive.web.security import Guard, refused
from hyperhive.web.settings import WebSettings


def create_app(hive: Hive, doors: Doors, settings: WebSettings) -> Starlette:
    """Answers the table of routes and nothing else. Serve it with `serving`."""

    @contextlib.asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(assets.assets)
        async with Live(hive, of_agent=agent_page.sections_of) as app.state.live:
            try:
                yield
            finally:
                await app.state.changes.close()

    app = Starlette(
        lifespan=life,
        routes=[Route(row.path, sessions.handler(row), methods=[*row.methods]) for row in ROUTES],
        middleware=[
            Middleware(Guard, settings=settings),
            Middleware(
                GZipMiddleware, minimum_size=1000, compresslevel=4
            ),  # no page holds a secret to be guessed by size
        ],
        exception_handlers={HTTPException: _unknown},
    )
    app.router.redirect_slashes = False
    app.state.hive, app.state.doors, app.state.settings = hive, doors, settings
    app.state.attempts, app.state.token_attempts = Attempts(), Attempts()
    app.state.changes = Background()
    return app


async def _unknown(request: Request, error: Exception) -> Response:
    """A path or a method that is not in the table, or a form that is not read."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return refused(request.url.path, 404, "there is no such path", {})
    if error.status_code != 405:
        return refused(request.url.path, error.status_code, f"cannot read the form: {error.detail}", {})
    found = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    methods = sorted({method for route in found for method in route.methods})
    reason = f"the path has other methods: {', '.join(methods)}"
    return refused(request.url.path, 405, reason, {"Allow": ", ".join(methods)})
