"""A row of the table of routes, and what its handler may ask for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from hyperhive.broker.web_sessions import SessionRow
from hyperhive.hub.hive import Hive
from hyperhive.web.settings import WebSettings

Handler = Callable[[Request], Awaitable[Response]]


class Access(StrEnum):
    PUBLIC = "public"  #: anyone who gets as far as the port
    SESSION = "session"  #: who is logged in


@dataclass(frozen=True, kw_only=True)
class WebRoute:
    """A path and what answers it. Nothing is public that does not say so."""

    path: str
    handler: Handler
    methods: tuple[str, ...] = ("GET",)
    access: Access = Access.SESSION


def hive_of(request: Request) -> Hive:
    return cast(Hive, request.app.state.hive)


def settings_of(request: Request) -> WebSettings:
    return cast(WebSettings, request.app.state.settings)


def session_of(request: Request) -> SessionRow:
    """Whose request it is; only behind Access.SESSION."""
    return cast(SessionRow, request.state.session)
