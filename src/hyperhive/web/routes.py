"""Everything that the dashboard answers, in one table."""

from typing import Final

from hyperhive.web import assets, login
from hyperhive.web.actions import ACTIONS
from hyperhive.web.agent_actions import AGENT_PAGE_ACTIONS
from hyperhive.web.agent_page import AGENT_PAGES
from hyperhive.web.agent_sections import AGENT_ACTIONS
from hyperhive.web.api.routes import API_ROUTES
from hyperhive.web.config_page import CONFIG_PAGES
from hyperhive.web.history_page import HISTORY_PAGES
from hyperhive.web.logs_page import LOGS_PAGES
from hyperhive.web.pages import PAGES
from hyperhive.web.palette import PALETTE_PAGES
from hyperhive.web.route import Access, WebRoute
from hyperhive.web.settings_page import SETTINGS_PAGES
from hyperhive.web.stats import STATS_PAGES
from hyperhive.web.terminal import TERMINAL_PAGES

PUBLIC: Final = Access.PUBLIC
ROUTES: Final[tuple[WebRoute, ...]] = (
    WebRoute(path="/health", handler=login.health, access=PUBLIC),
    WebRoute(path="/login", handler=login.ask, access=PUBLIC),
    WebRoute(path="/login", handler=login.enter, methods=("POST",), access=PUBLIC),
    WebRoute(path="/static/{name:path}", handler=assets.static, access=PUBLIC),  # the login page looks like the others
    WebRoute(path="/logout", handler=login.leave, methods=("POST",)),
    *PAGES,
    *PALETTE_PAGES,
    *ACTIONS,
    *AGENT_PAGES,
    *TERMINAL_PAGES,
    *AGENT_PAGE_ACTIONS,
    *AGENT_ACTIONS,
    *CONFIG_PAGES,
    *LOGS_PAGES,
    *STATS_PAGES,
    *HISTORY_PAGES,
    *SETTINGS_PAGES,
    *API_ROUTES,
)
