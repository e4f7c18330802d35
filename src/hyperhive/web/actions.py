"""What the operator does by a page."""

from typing import Final

from hyperhive.web.route import WebRoute

ACTIONS: Final[tuple[WebRoute, ...]] = ()
