"""The pages that are read."""

from typing import Final

from hyperhive.web.route import WebRoute

PAGES: Final[tuple[WebRoute, ...]] = ()
