"""What a form of a page says, and what it is answered: nothing at all, a fragment of a page, or why not in words."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hyperhive.hub.hive import Hive
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.web.faults import status_of
from hyperhive.web.rendering import render
from hyperhive.web.route import WebRoute, hive_of, number_in
from hyperhive.web.sections import path_of

MAX_FIELDS: Final = 64
MAX_FIELD: Final = 1 << 18

Doing = Callable[[Hive, dict[str, Any], FormData], Awaitable[str | None]]
"""What is done with the path and the form. A text that it returns is HTML, rendered by a template."""


def post(path: str, doing: Doing) -> WebRoute:
    return WebRoute(path=path, handler=functools.partial(_answer, doing), methods=("POST",))


async def _answer(doing: Doing, request: Request) -> Response:
    async with request.form(max_files=0, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD) as form:
        try:
            said = await doing(hive_of(request), path_of(request), form)
        except FaultError as fault:
            return HTMLResponse(render("alert.html", text=fault.message), status_of(fault.kind))
    return Response(status_code=204) if said is None else HTMLResponse(said)


def text(form: FormData, name: str, limit: int = MAX_FIELD) -> str:
    """A field with the line ends of our world; browsers send their own. Raises FaultError when it is too long."""
    value = form.get(name, "")
    said = value.replace("\r\n", "\n") if isinstance(value, str) else ""
    if len(said) > limit:
        raise FaultError(FaultKind.INVALID_PARAMS, f"cannot take the {name}: it may have {limit} characters")
    return said


def number(form: FormData, name: str) -> int | None:
    return number_in(text(form, name))
