"""The dashboard as one ASGI application."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from hyperhive.hub.doors import Doors
from hyperhive.hub.hive import Hive
from hyperhive.web import agent_page, assets, sessions
from hyperhive.web.attempts import Attempts
from hyperhive.web.live import Live
from hyperhive.web.routes import ROUTES
from hyperhive.web.security import Guard
from hyperhive.web.settings import WebSettings


def create_app(hive: Hive, doors: Doors, settings: WebSettings) -> Starlette:
    """Answers the table of routes and nothing else. Serve it with `serving`."""

    @contextlib.asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(assets.assets)
        async with Live(hive, of_agent=agent_page.sections_of) as app.state.live:
            yield

    app = Starlette(
        lifespan=life,
        routes=[Route(row.path, sessions.handler(row), methods=[*row.methods]) for row in ROUTES],
        middleware=[Middleware(Guard, settings=settings)],
    )
    app.state.hive, app.state.doors, app.state.settings, app.state.attempts = hive, doors, settings, Attempts()
    return app
