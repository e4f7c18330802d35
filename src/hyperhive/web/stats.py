"""Turns in numbers and bars: of one agent or of all, in the last day, week or month."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hyperhive.broker.turns import WINDOWS
from hyperhive.protocol.faults import FaultError
from hyperhive.web.charts import bars
from hyperhive.web.pages import page
from hyperhive.web.route import WebRoute, hive_of
from hyperhive.web.sections import path_of


async def of_all(request: Request) -> Response:
    return await _stats(request, None)


async def of_agent(request: Request) -> Response:
    try:
        agent = hive_of(request).fleet.get(path_of(request)["name"])
    except FaultError as fault:
        return await page(request, "gone.html", 404, text=fault.message)
    return await _stats(request, agent.name)


async def _stats(request: Request, name: str | None) -> Response:
    window = request.query_params.get("window", "24h")
    summary = await hive_of(request).turns.lately(name, window if window in WINDOWS else "24h")
    return await page(
        request,
        "stats.html",
        summary=summary,
        charts=bars(summary),
        name=name,
        window=window,
        windows=WINDOWS,
        budget=hive_of(request).budgets.rows(name)[0],
    )


STATS_PAGES: Final[tuple[WebRoute, ...]] = (
    WebRoute(path="/stats", handler=of_all),
    WebRoute(path="/agents/{name}/stats", handler=of_agent),
)
