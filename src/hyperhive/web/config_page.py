"""Another agent.toml, written by the operator: a proposal like any other."""

from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from hyperhive.hub.hive import Hive
from hyperhive.protocol.faults import FaultError
from hyperhive.web.forms import post, text
from hyperhive.web.pages import page
from hyperhive.web.rendering import render, seen
from hyperhive.web.route import WebRoute, hive_of
from hyperhive.web.sections import path_of

MAX_WHY: Final = 2000
_ROWS: Final = (12, 40)
"""Of the place to write in, at least and at most."""


async def config(request: Request) -> Response:
    hive, name = hive_of(request), path_of(request)["name"]
    try:
        agent = hive.fleet.get(name)
        written = await hive.shape.configs.text(agent.name, agent.row.deployed_sha)
    except FaultError as fault:
        return await page(request, "gone.html", 404, text=fault.message)
    rows = min(max(written.count("\n") + 3, _ROWS[0]), _ROWS[1])
    return await page(
        request, "config.html", name=agent.name, sha=agent.row.deployed_sha, text=written, rows=rows,
        marked=seen(written) != written, problem=agent.config.problem,
    )  # fmt: skip


async def propose(hive: Hive, path: dict[str, Any], form: FormData) -> str:
    """Nothing is deployed by it; what is wrong with the text is told with its line."""
    name, why = hive.fleet.get(path["name"]).name, text(form, "description", MAX_WHY).strip()
    row = await hive.shape.edit_config(name, text(form, "text"), text(form, "base", 64) or None, why)
    return render("proposed.html", row=row)


CONFIG_PAGES: Final[tuple[WebRoute, ...]] = (
    WebRoute(path="/agents/{name}/config", handler=config),
    post("/agents/{name}/config", propose),
)
