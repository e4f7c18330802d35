"""Where the API is."""

from typing import Final

from hyperhive.web.api.openapi import description
from hyperhive.web.api.operations import OPERATIONS, route_of
from hyperhive.web.metrics import metrics
from hyperhive.web.route import API, Access, WebRoute

API_ROUTES: Final[tuple[WebRoute, ...]] = (
    *map(route_of, OPERATIONS),
    WebRoute(path=f"{API}/openapi.json", handler=description, access=Access.READ),
    WebRoute(path="/metrics", handler=metrics, access=Access.READ),
)
