"""A row of the table of routes, and what its handler may ask for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from hyperhive.broker.web_sessions import SessionRow
from hyperhive.hub.hive import Hive
from hyperhive.web.settings import WebSettings

API: Final = "/api/v1"
Handler = Callable[[Request], Awaitable[Response]]


class Access(StrEnum):
    PUBLIC = "public"  #: anyone who gets as far as the port
    SESSION = "session"  #: who is logged in
    READ = "read"  #: a program with a token
    OPERATE = "operate"  #: a program with a token of that scope


@dataclass(frozen=True, kw_only=True)
class WebRoute:
    """A path and what answers it. Nothing is public that does not say so."""

    path: str
    handler: Handler
    methods: tuple[str, ...] = ("GET",)
    access: Access = Access.SESSION


class _Number(IntegerConvertor):
    """`{id:int}` in a path: what no number of ours can be is no such path."""

    regex = "[0-9]{1,19}"


register_url_convertor("int", _Number())


def hive_of(request: Request) -> Hive:
    return cast(Hive, request.app.state.hive)


def settings_of(request: Request) -> WebSettings:
    return cast(WebSettings, request.app.state.settings)


def number_in(text: str) -> int | None:
    """The number that a text is, in decimal digits; nothing when it is none, or more than any of ours."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def is_for_programs(path: str) -> bool:
    """Whether what is asked for is the API's, whose refusals are JSON, too."""
    return path.startswith("/api/")


def session_of(request: Request) -> SessionRow:
    """Whose request it is; only behind Access.SESSION."""
    return cast(SessionRow, request.state.session)
