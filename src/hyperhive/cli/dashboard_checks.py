"""What `hive doctor` finds when it attacks the dashboard of its own hive.

It logs in by a link of its own, tries what another site's page, a stranger and a thief would try, and logs out again.
Nothing else is changed: what is asked for is refused, or there is a hole.
"""

import contextlib
import http.client
import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import urlencode, urlsplit

from hyperhive.cli.finding import Finding
from hyperhive.cli.listening import addresses

ANSWER_S: Final = 5.0
MAX_ANSWER: Final = 1 << 16
FORM: Final = "application/x-www-form-urlencoded"
REMEDY: Final = (
    "if a reverse proxy stands before it, look there first; else close it (hive serve --no-dashboard) and report it"
)
EVIL: Final = "http://evil.example"
PAGES: Final = ("/", "/live", "/approvals/1", "/messages/1", "/jobs/1/log", "/agents/nobody", "/api/v1/agents")
CHANGES: Final = (
    "/messages",
    "/agents",
    "/agents/nobody/destroy",
    "/approvals/0/approve",
    "/inbox/handled",
    "/logout",
)
FILES: Final = (
    "/static/../app.py", "/static/..%2f..%2fcli%2fmain.py", "/static/%2e%2e/templates/base.html",
    "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/..\\app.py", "/static/%00",
)  # fmt: skip
FORMS: Final[tuple[Mapping[str, str], ...]] = (
    {"Origin": EVIL},
    {"Origin": "null"},
    {},
    {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://localhost:1"},
)


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: Mapping[str, str]  #: by lower-case name
    cookies: tuple[str, ...] = ()  #: as they were set


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where the dashboard is said to be. Raises OSError or http.client.HTTPException when nobody answers."""

    scheme: str
    host: str
    port: int
    shown: str  #: the host and port that a browser would send

    @classmethod
    def of(cls, link: str) -> "Door":
        parts = urlsplit(link)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(scheme=parts.scheme, host=parts.hostname or "", port=port, shown=parts.netloc)

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.shown}"

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        with contextlib.closing(self._connection()) as connection:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": self.shown, **headers}.items():
                connection.putheader(name, value)
            if method == "POST":
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            got = connection.getresponse()
            kept = {name.lower(): value for name, value in got.getheaders()}
            return Reply(status=got.status, headers=kept, cookies=tuple(got.headers.get_all("set-cookie") or ()))

    def _connection(self) -> http.client.HTTPConnection:
        if self.scheme != "https":
            return http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_S)
        context = ssl.create_default_context()
        context.check_hostname = False  # whether a browser believes the certificate is seen in the browser
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(self.host, self.port, timeout=ANSWER_S, context=context)


def attacked(link: str, daemon: int) -> list[Finding]:
    """What became of the attacks on the dashboard that the one-time link leads to. Blocks for some seconds at most."""
    door = Door.of(link)
    try:
        return [reach(door, addresses(daemon)), *_attacks(door, urlsplit(link).fragment)]
    except (OSError, http.client.HTTPException) as error:
        return [
            Finding(
                name="dashboard",
                ok=False,
                detail=f"{door.origin} cannot be attacked from here: {error or type(error).__name__}",
                remedy="look at the address of --dashboard and at --dashboard-url",
                needed=False,
            )
        ]


def _attacks(door: Door, token: str) -> Iterator[Finding]:
    yield other_names(door)
    yield without_login(door)
    yield files(door)
    yield headers(door)
    entered = door.ask("POST", "/login", {"Origin": door.origin, "Content-Type": FORM}, _form(token))
    again = door.ask("POST", "/login", {"Origin": door.origin, "Content-Type": FORM}, _form(token))
    yield cookie(door, entered, again)
    session = {"Cookie": "; ".join(said.partition(";")[0] for said in entered.cookies)}
    try:
        yield other_sites(door, session)
    finally:
        door.ask("POST", "/logout", {**session, "Origin": door.origin, "Content-Type": FORM})


def reach(door: Door, listening: list[str]) -> Finding:
    """Whether other machines come by without TLS. `listening` is empty where the daemon is somebody else's process."""
    beyond = [address for address in listening or [door.host] if not _is_loopback(address)]
    return _finding(
        "reach",
        f"listens on {', '.join(listening)}" if listening else f"is at {door.origin}",
        [f"{address} can be reached from other machines, and there is no TLS" for address in beyond]
        if door.scheme != "https"
        else [],
    )


def other_names(door: Door) -> Finding:
    """A name of somebody else's may lead to our address: what it asks for must not be answered."""
    names = (
        "evil.example",
        f"evil.example:{door.port}",
        f"{door.host}.evil.example",
        "localhost.",
        f"evil@{door.host}",
    )
    holes = [
        f"a request for {name} was answered ({reply.status})"
        for name in names
        if (reply := door.ask("GET", "/health", {"Host": name})).status < 400
    ]
    return _finding("other names", f"{len(names)} names that are not the hive's were refused", holes)


def without_login(door: Door) -> Finding:
    made_up = {"Cookie": f"hive-{door.port}=made-up; __Host-hive-{door.port}=made-up"}
    headers = {"Origin": door.origin, "Content-Type": FORM, "Accept": "text/html"}
    tries = [("GET", path) for path in PAGES] + [("POST", path) for path in CHANGES]
    holes = [
        f"{method} {path} was answered without a login ({reply.status})"
        for method, path in tries
        for session in ({}, made_up)
        if not _is_refused(reply := door.ask(method, path, headers | session))
    ]
    return _finding("without a login", f"{len(tries)} pages and changes were refused", holes)


def files(door: Door) -> Finding:
    holes = [
        f"{path} was answered ({reply.status})" for path in FILES if (reply := door.ask("GET", path, {})).status < 400
    ]
    return _finding("files", f"{len(FILES)} ways out of the static files lead nowhere", holes)


def headers(door: Door) -> Finding:
    """What tells a browser to run nothing else, to be framed by nobody and to keep nothing."""
    said = door.ask("GET", "/login", {}).headers
    policy = {part.split()[0]: part.split()[1:] for part in said.get("content-security-policy", "").split(";") if part}
    scripts = policy.get("script-src", policy.get("default-src"))
    holes = [
        hole
        for hole, is_open in {
            "scripts of anybody may run": scripts is None or not set(scripts) <= {"'self'", "'none'"},
            "other sites may frame it": policy.get("frame-ancestors") != ["'none'"],
            "a browser may take a file for something else": said.get("x-content-type-options") != "nosniff",
            "addresses are told to other sites": said.get("referrer-policy") != "no-referrer",
            "pages are kept by the browser": "no-store" not in said.get("cache-control", ""),
        }.items()
        if is_open
    ]
    return _finding("headers", "the browser is told to run, frame and keep nothing else", holes)


def cookie(door: Door, entered: Reply, again: Reply) -> Finding:
    """Of the session, that a link gives once."""
    holes = [] if entered.status == 303 else [f"a good link did not let in ({entered.status})"]
    if again.status < 400 or again.cookies:
        holes.append("a link that was used let in once more")
    holes += [hole for said in entered.cookies for hole in _faults(said, secure=door.scheme == "https")]
    return _finding("session", "one link lets in once; scripts and other sites get no cookie", holes)


def other_sites(door: Door, session: Mapping[str, str]) -> Finding:
    """Forms of other sites' pages, sent with the operator's session: each asks for its end."""
    tries = [{"Content-Type": FORM, **form} for form in FORMS]
    tries += [{"Origin": door.origin, "Content-Type": kind} for kind in ("text/plain", "application/json")]
    holes = [
        f"a change was made for {form} ({reply.status})"
        for form in tries
        if (reply := door.ask("POST", "/logout", {**form, **session})).status < 400
    ]
    if door.ask("GET", "/approvals/0", {**session, "Accept": "text/html"}).status in (303, 401):
        holes.append("another site's form ended the session")
    return _finding("other sites", f"{len(tries)} forms that were not the hive's own were refused", holes)


def _faults(said: str, *, secure: bool) -> list[str]:
    try:
        [(name, morsel)] = SimpleCookie(said).items()
    except (CookieError, ValueError):
        return ["the session's cookie cannot be read"]
    wrong = {
        "scripts can read the session": not morsel["httponly"],
        "other sites' pages use the session": morsel["samesite"].lower() != "strict",
        "other hosts get the session": bool(morsel["domain"]),
        "the session goes without TLS, too": secure and not (morsel["secure"] and name.startswith("__Host-")),
    }
    return [hole for hole, is_open in wrong.items() if is_open]


def _is_refused(reply: Reply) -> bool:
    return reply.status in (401, 403, 404, 405) or (reply.status == 303 and reply.headers.get("location") == "/login")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _form(token: str) -> bytes:
    return urlencode({"link": token}).encode()


def _finding(about: str, detail: str, holes: list[str]) -> Finding:
    shown = holes[:3] + ([f"and {len(holes) - 3} more"] if len(holes) > 3 else [])
    return Finding(name=f"dashboard, {about}", ok=not holes, detail="; ".join(shown) or detail, remedy=REMEDY)
