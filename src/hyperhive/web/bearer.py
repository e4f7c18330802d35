"""The token of a program, and the door between it and a handler. Cookies are not looked at."""

import asyncio
import functools
from typing import Any, Final, cast

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from hyperhive.broker.api_tokens import TokenRow
from hyperhive.hub.background import Background
from hyperhive.web.attempts import Attempts
from hyperhive.web.route import Access, Handler, hive_of
from hyperhive.web.security import RefusedError

AT_ONCE: Final = 16
"""Requests of one token: one that has many answers waited for keeps no connection from the others."""
REALM: Final = 'Bearer realm="hive"'
_HOW: Final = "`hive token create NAME` makes one; send it as `Authorization: Bearer TOKEN`"


def behind_token(handler: Handler, access: Access) -> Handler:
    """The handler for who shows a token that is good for it."""
    return functools.partial(_answer, handler, access)


async def _answer(handler: Handler, access: Access, request: Request) -> Response:
    """Raises RefusedError; also when the token is revoked while the answer is waited for."""
    row = await _who(request)
    request.state.token = row
    if access is Access.OPERATE and row.scope != Access.OPERATE:
        challenge = f'{REALM}, error="insufficient_scope", scope="{access}"'
        raise RefusedError(
            403, f"the token {row.name!r} may only look; this takes one made with --scope {access}", challenge
        )
    if hive_of(request).tokens.open.count(row.id) >= AT_ONCE:
        raise RefusedError(429, f"{AT_ONCE} requests of the token {row.name!r} are under way; wait for one", wait_s=1)
    await request.body()  # all of it: what comes after it is the end of the connection
    return await _while_good(handler, row, request)


async def _who(request: Request) -> TokenRow:
    token = _shown(request.headers)
    if not token:
        raise RefusedError(401, f"this takes a token: {_HOW}", REALM)
    attempts = cast(Attempts, request.app.state.token_attempts)
    address = request.client.host if request.client else ""
    row = await hive_of(request).tokens.who(token)
    if row is None:  # who guesses keeps nobody else out
        if wait_s := attempts.wait_s(address):
            text = f"too many wrong tokens came from there; try again in {wait_s} seconds"
            raise RefusedError(429, text, wait_s=wait_s)
        attempts.failed(address)
        raise RefusedError(
            401, f"the token is wrong, revoked or has expired: {_HOW}", f'{REALM}, error="invalid_token"'
        )
    return row


def _shown(headers: Headers) -> str:
    said = headers.getlist("authorization")
    scheme, _, token = said[0].partition(" ") if len(said) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _while_good(handler: Handler, row: TokenRow, request: Request) -> Response:
    """The handler's answer. What only looks ends when its client has gone, or its token was revoked; what changes
    something is done to its end, for half of it would leave the hive at odds with itself."""
    looks = request.method in ("GET", "HEAD")
    changes = cast(Background, request.app.state.changes)
    with hive_of(request).tokens.open.inside(row.id) as ended:
        doing = _done(handler, request)
        work = asyncio.create_task(doing) if looks else changes.begin(doing)
        gone = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait((work, ended, gone) if looks else (work, ended), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
        finally:
            over: list[asyncio.Future[Any]] = [gone, *([work] if looks else [])]
            for task in over:
                task.cancel()
            await asyncio.gather(*over, return_exceptions=True)
    if hive_of(request).tokens.open.has_ended(row.id):
        raise RefusedError(401, "the token was revoked meanwhile", f'{REALM}, error="invalid_token"')
    raise RefusedError(503, "the daemon is stopping; try again")


async def _done(handler: Handler, request: Request) -> Response:
    return await handler(request)
