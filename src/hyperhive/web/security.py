"""What every request passes before a handler sees it, and what every answer carries."""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hyperhive.web.faults import as_json, kind_of
from hyperhive.web.route import is_for_programs
from hyperhive.web.settings import WebSettings

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
MAX_PATH: Final = 2048
MAX_BODY: Final = 1 << 20
BODY_S: Final = 15.0
"""How long the body of a request may take."""
FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")

log = structlog.get_logger(__name__)


class RefusedError(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, reason: str, challenge: str = "", wait_s: int = 0) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = {"WWW-Authenticate": challenge, "Retry-After": str(wait_s or "")}


def check(method: str, scheme: str, headers: Headers, settings: WebSettings, path: str = "/") -> None:
    """Raises RefusedError: for another host than ours, and for a change that one of our own pages did not ask for.

    The API is asked by programs, which show a token in a header that no browser adds by itself: from where is nothing
    to them, and it has methods of its own.
    """
    _check_shape(path, headers)
    host = _host(headers)
    name = host_name(host)
    if name not in settings.names:
        raise RefusedError(
            421, "this is not the host that you asked for; open the dashboard by the address of `hive open`"
        )
    if method in SAFE_METHODS:
        return
    if is_for_programs(path):
        _check_json(headers)
        return
    if method != "POST":
        raise RefusedError(405, "only GET, HEAD and POST are answered")
    scheme = "https" if settings.is_secure(name) else scheme
    if not is_of_our_own(headers, f"{scheme}://{host}"):
        raise RefusedError(403, "the request comes from another site's page, or says from none")
    _check_body(headers)


def _check_shape(path: str, headers: Headers) -> None:
    """A proxy in between could take one of two lengths and we the other: then it smuggles a request of somebody's."""
    if len(path) > MAX_PATH:
        raise RefusedError(414, f"an address may have {MAX_PATH} characters")
    if "content-length" in headers and "transfer-encoding" in headers:
        raise RefusedError(400, "the request says in two ways how long it is")


def is_of_our_own(headers: Headers, origin: str) -> bool:
    """Whether a browser says that a page of this origin sent it. What says nothing of where it comes from is refused.

    `Origin: null` comes from our own forms, too, since our pages send no referrer; then `Sec-Fetch-Site` must speak.
    """
    said, site = headers.getlist("origin"), headers.getlist("sec-fetch-site")
    if len(said) > 1 or len(site) > 1 or site not in ([], ["same-origin"]):
        return False
    return said == [origin] or (said in ([], ["null"]) and site == ["same-origin"])


def host_name(host: str) -> str:
    """The name in a Host header, without its port; empty when it is none."""
    found = _HOST.fullmatch(host)
    return found[1].strip("[]") if found else ""


def _host(headers: Headers) -> str:
    given = headers.getlist("host")
    return given[0].lower() if len(given) == 1 else ""


def _check_body(headers: Headers) -> None:
    if _type(headers) not in FORMS:
        raise RefusedError(415, "only forms are read")
    _check_length(headers)


def _check_json(headers: Headers) -> None:
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if has_body and _type(headers) != "application/json":
        raise RefusedError(415, "only JSON is read: send it as `Content-Type: application/json`")
    _check_length(headers)


def _type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _check_length(headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:12]) > MAX_BODY:
        raise RefusedError(413, f"a request may have {MAX_BODY} bytes")


def refused(path: str, status: int, reason: str, headers: Mapping[str, str]) -> Response:
    """In the form that whoever asks for the path reads."""
    if is_for_programs(path):
        return Response(as_json(kind_of(status), reason), status, headers, "application/json")
    return PlainTextResponse(f"{reason}\n", status, headers)


class Guard:
    """The outermost layer: refuses, bounds, adds the headers, writes the access log."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            check(scope["method"], scope["scheme"], Headers(scope=scope), self._settings, scope["path"])
            await self._app(scope, _Body(receive).receive, answer.send)
        except RefusedError as refusal:
            await answer.refuse(scope, receive, refusal)
        except ClientDisconnect:
            pass  # it went before it had said all: nobody is left to be answered
        except Exception:  # the boundary of a request: the browser gets an answer, the log the reason
            log.exception("a request failed", path=_loggable(scope["path"]))
            await answer.refuse(
                scope, receive, RefusedError(500, "it failed in an unexpected way; the daemon's log has why")
            )
        finally:
            answer.log(scope)


class _Body:
    """Bounds what a request's body may take, in bytes and in time; raises RefusedError."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = MAX_BODY
        self._until = asyncio.get_running_loop().time() + BODY_S
        self._more = True

    async def receive(self) -> Message:
        if not self._more:
            return await self._receive()  # for the end of the connection, however long that takes
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise RefusedError(408, "the request took too long to arrive") from None
        self._more = bool(message.get("more_body", False))
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise RefusedError(413, f"a request may have {MAX_BODY} bytes")
        return message


class _Answer:
    """Sends with our headers, and knows what was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 0
        self._began = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            _complete(MutableHeaders(scope=message), HEADERS)
        await self._send(message)

    async def refuse(self, scope: Scope, receive: Receive, refusal: RefusedError) -> None:
        """Once an answer has begun it can only be cut off, which the server does."""
        if not self._status:
            said = {name: value for name, value in refusal.headers.items() if value}
            headers = {**said, "Connection": "close"}  # what is left of the request is not read
            await refused(scope["path"], refusal.status, refusal.reason, headers)(scope, receive, self.send)

    def log(self, scope: Scope) -> None:
        """Without the query, in which nothing secret stands, but which is not ours to repeat."""
        client = scope.get("client") or ("", 0)
        state = scope.get("state", {})
        session, token = state.get("session"), state.get("token")
        log.info(
            "web", method=scope["method"], path=_loggable(scope["path"]), status=self._status, client=client[0],
            session=session and session.id, token=token and token.id,
            ms=round((time.monotonic() - self._began) * 1000),
        )  # fmt: skip


def _loggable(path: str) -> str:
    """As it was asked for: what a terminal would act on stays encoded."""
    return quote(path[:200], safe="/:@!$&'()*+,;=~")


def _complete(headers: MutableHeaders, more: Mapping[str, str]) -> None:
    for name, value in more.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store")
