"""What the palette offers: everything that can be gone to or done, made when it is opened."""

import asyncio
import functools
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hyperhive.web.pages import THEMES
from hyperhive.web.rendering import render
from hyperhive.web.route import WebRoute, hive_of
from hyperhive.web.sections import agents


async def palette(request: Request) -> Response:
    """A list; it is sifted in the browser."""
    hive = hive_of(request)
    pending = await hive.shape.approvals.pending()
    values = {"agents": (await agents(hive))["agents"], "first": pending[0] if pending else None, "themes": THEMES}
    return HTMLResponse(await asyncio.to_thread(functools.partial(render, "palette.html", **values)))


PALETTE_PAGES: Final[tuple[WebRoute, ...]] = (WebRoute(path="/palette", handler=palette),)
