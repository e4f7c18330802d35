"""What somebody at the port may try beyond the plain tricks: crooked requests, races, and values made for a log."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlencode

import pytest

from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, eventually, running_hive
from hyperhive.web.attempts import BURST
from hyperhive.web.route import Access, WebRoute, is_for_programs
from hyperhive.web.routes import ROUTES
from hyperhive.web.security import BODY_S, MAX_PATH
from web_visitor import FORM, Visitor, everything, link_into, token_of

NAMES = [
    "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "%0d%0aX-Evil:%201", "%ff%fe", "%ed%a0%80", "%E2%80%AE",
    "a" * 129, "*", "%3Cscript%3E", "operator", "%20", "-rf", "a%0ab", "system",
]  # fmt: skip
NUMBERS = ["0", "9223372036854775808", "9999999999999999999", "1e3", "-1", "%D9%A3", "1%00", "0x1"]


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    with running_hive(dashboard=True) as (hive, _):
        yield hive


@pytest.fixture
def visitor(hive: HiveProcess) -> Visitor:
    return Visitor.of(hive)


@pytest.fixture(scope="module")
def operator(hive: HiveProcess) -> Visitor:
    """One session for all: each test leaves it good."""
    return Visitor.of(hive).log_in(hive)


def head(visitor: Visitor, *more: str, method: str = "POST", path: str = "/login") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {visitor.host}", f"Origin: {visitor.origin}"]
    return "\r\n".join([*lines, f"Content-Type: {FORM}", *more, "", ""]).encode()


def answers(visitor: Visitor, request: bytes) -> list[bytes]:
    """The first line of each, when all that is said is the request."""
    with visitor.connect() as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        said = everything(connection)
    return [b"HTTP/1.1 " + part.partition(b"\r\n")[0] for part in said.split(b"HTTP/1.1 ")[1:]]


# whose name it is


@pytest.mark.parametrize(
    "name",
    [
        "localhost.", "LOCALHOST.evil.example", "127.0.0.1@evil.example", "evil.example@127.0.0.1", "127.0.0.1:7000:1",
        "[::1]evil", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "127.1", "2130706433", "0x7f.1", "127.0.0.1/",
        "localhost#", "127.0.0.1, evil.example", "loc\xe4lhost", "localhost:port", "[::1", "127.0.0.2",
    ],
)  # fmt: skip
def test_a_host_that_is_almost_ours_is_refused(operator: Visitor, name: str) -> None:
    said = f"GET / HTTP/1.1\r\nHost: {name}\r\nCookie: {operator.cookie}\r\nConnection: close\r\n\r\n"
    assert operator.raw(said.encode("latin-1")).partition(b" ")[2][:3] in (b"400", b"421")


@pytest.mark.parametrize("name", ["LOCALHOST", "localhost:1", "[::1]", "[::1]:7000", "127.0.0.1:65535"])
def test_our_own_names_are_answered_however_they_are_written(operator: Visitor, name: str) -> None:
    assert operator.get("/", Host=name).status == 200


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        ("GET / HTTP/1.1", ["127.0.0.1", "evil.example"]),
        ("GET / HTTP/1.1", ["evil.example", "127.0.0.1"]),
        ("GET / HTTP/1.1", []),
        ("GET / HTTP/1.0", []),
        ("GET http://127.0.0.1/ HTTP/1.1", ["evil.example"]),
        ("GET http://evil.example/ HTTP/1.1", ["127.0.0.1"]),
        ("GET //evil.example/ HTTP/1.1", ["127.0.0.1"]),
        ("CONNECT evil.example:80 HTTP/1.1", ["127.0.0.1"]),
        ("OPTIONS * HTTP/1.1", ["127.0.0.1"]),
        ("TRACE / HTTP/1.1", ["127.0.0.1"]),
    ],
)
def test_a_request_line_and_hosts_that_disagree_get_nothing(operator: Visitor, line: str, hosts: list[str]) -> None:
    headers = [*(f"Host: {name}" for name in hosts), f"Cookie: {operator.cookie}", "Connection: close"]
    said = operator.raw("\r\n".join([line, *headers, "", ""]).encode())
    assert said.partition(b" ")[2][:3] in (b"400", b"404", b"405", b"421"), said
    assert b"\r\nlocation:" not in said.lower()


# who says what of where it comes from


@pytest.mark.parametrize(
    "more",
    [
        ["Origin: http://evil.example"],
        ["Origin: {origin}.evil.example"],
        ["Origin: {origin}/"],
        ["Origin: {origin}@evil.example"],
        ["Origin: file://"],
        ["Origin: {origin}", "Origin: http://evil.example"],
        ["Origin: {origin}", "Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: none"],
        ["Referer: {origin}/"],
    ],
    ids=str,
)
def test_an_origin_that_is_almost_ours_changes_nothing(operator: Visitor, more: list[str]) -> None:
    said = [line.format(origin=operator.origin) for line in more]
    lines = ["POST /logout HTTP/1.1", f"Host: {operator.host}", f"Cookie: {operator.cookie}", f"Content-Type: {FORM}"]
    request = "\r\n".join([*lines, *said, "Content-Length: 0", "Connection: close", "", ""])
    assert b" 403 " in operator.raw(request.encode()).partition(b"\r\n")[0]
    assert operator.get("/").status == 200


def test_no_session_opens_what_skips_the_question_where_a_request_comes_from(operator: Visitor) -> None:
    """The API is asked from anywhere, for its token; so a cookie alone must never do there."""
    for row in ROUTES:
        assert not is_for_programs(row.path) or row.access in (Access.READ, Access.OPERATE)
    for path in ("/api/../logout", "/api/..%2flogout", "/api//logout", "//logout", "/API/v1/agents", "/api/v1/agents"):
        answer = operator.post(path, "{}", Origin="http://evil.example", Content_Type="application/json")
        assert answer.status >= 400
    assert operator.get("/").status == 200


# links and sessions


def test_of_many_who_come_with_one_link_at_once_one_gets_in(hive: HiveProcess, visitor: Visitor) -> None:
    for _ in range(3):
        token = token_of(link_into(hive))
        with ThreadPoolExecutor(BURST // 4 + 1) as pool:
            came = [pool.submit(visitor.enter, token) for _ in range(BURST // 4 + 1)]
        statuses = sorted(one.result().status for one in came)
        assert statuses.count(303) == 1
        assert set(statuses) <= {303, 403, 429}
        rows = hive.ask(host.WebSessions()).web_sessions
        assert isinstance(rows, list)
    assert visitor.enter(token).status in (403, 429)


def test_a_planted_cookie_beside_the_real_one_is_of_no_use(operator: Visitor, visitor: Visitor) -> None:
    planted = f"{operator.cookie.partition('=')[0]}=planted"
    visitor.cookie = f"{planted}; hive-1=x; {planted}; $Path=/"
    assert visitor.get("/").status == 401
    for cookie in (f"{operator.cookie}; {planted}", f"{planted}; {operator.cookie}"):
        visitor.cookie = cookie
        assert visitor.get("/").status in (200, 401)


@pytest.mark.parametrize("cookie", ["=", "a" * 20_000, "hive-0=\x01", ";;;;=;=", "\xff\xfe=\xff"], ids=repr)
def test_a_cookie_that_is_none_is_nobody(visitor: Visitor, cookie: str) -> None:
    visitor.cookie = cookie
    with contextlib.suppress(ValueError):  # some the client itself refuses to send
        assert visitor.get("/").status in (400, 401)


# paths and forms


@pytest.mark.parametrize(
    "row", [row for row in ROUTES if "{" in row.path], ids=lambda row: f"{row.methods} {row.path}"
)
def test_whatever_stands_in_a_path_is_answered_in_order(operator: Visitor, row: WebRoute) -> None:
    for value in NUMBERS if ":int}" in row.path else NAMES:
        place = re.sub(r"\{[^}]*\}", value, row.path)
        for method in row.methods:
            lines = [f"Cookie: {operator.cookie}", "Content-Length: 0", "Connection: close"]
            with operator.connect() as connection:
                connection.sendall(head(operator, *lines, method=method, path=place))
                said = connection.recv(65536)
            assert int(said.partition(b" ")[2][:3]) < 500, (method, place)
            assert b"\r\nX-Evil" not in said
    assert operator.get("/health").status == 200


@pytest.mark.parametrize("path", ["/" + "a" * MAX_PATH, "/messages/" + "9" * 5000, "/static/" + "../" * 3000])
def test_a_path_without_end_is_refused_at_the_door(hive: HiveProcess, visitor: Visitor, path: str) -> None:
    before = hive.log.read_text().count("Traceback")
    assert visitor.get(path).status == 414
    assert hive.log.read_text().count("Traceback") == before


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("=" * 4000, FORM),
        ("&" * 4000, FORM),
        ("to=%ff%fe%00&to=%ED%A0%80&body=x", FORM),
        ("link=x", "multipart/form-data"),
        ("link=x", "multipart/form-data; boundary="),
        ("--b\r\nContent-Disposition: form-data; name=link\r\n\r\nx", "multipart/form-data; boundary=b"),
        ("--b\r\n\r\n\r\n--b--", "multipart/form-data; boundary=b"),
        (
            '--b\r\nContent-Disposition: form-data; name=l; filename="x"\r\n\r\nx\r\n--b--',
            "multipart/form-data; boundary=b",
        ),
        ("link=x", f"{FORM}; charset=utf-7"),
    ],
)
def test_a_crooked_form_is_refused_and_fails_in_no_other_way(operator: Visitor, body: str, kind: str) -> None:
    assert operator.post("/messages", body, Content_Type=kind).status in (400, 404, 409)


def test_who_is_not_logged_in_has_no_long_form_read(visitor: Visitor) -> None:
    assert visitor.post("/login", urlencode({"link": "x" * 5000})).status == 413
    chunked = head(visitor, "Transfer-Encoding: chunked") + b"5\r\nlink=\r\n0\r\n\r\n"
    assert [line[:12] for line in answers(visitor, chunked)] == [b"HTTP/1.1 413"]


def test_what_no_text_can_hold_is_refused_in_words(hive: HiveProcess, operator: Visitor) -> None:
    for body in ("\ud800", "\x00", "a\x00b"):
        data = urlencode({"to": "operator", "body": body}, errors="surrogatepass")
        assert operator.post("/messages", data).status in (204, 400, 409)
    assert hive.ask(host.Inbox()).ok


# requests inside requests


SMUGGLED = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    "lengths",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Content-Length: 0", "Content-Length: 5"],
        ["Content-Length: 5, 0"],
        ["Content-Length: +0"],
        ["Content-Length: 0x0"],
        ["Content-Length: -1"],
        ["Content-Length:"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["X: y", " Transfer-Encoding: chunked"],
        ["X: y\rTransfer-Encoding: chunked", "Content-Length: 3"],
    ],
    ids=str,
)
def test_a_request_of_two_lengths_carries_no_other_inside(visitor: Visitor, lengths: list[str]) -> None:
    said = answers(visitor, head(visitor, *lengths) + b"0\r\n\r\n" + SMUGGLED)
    assert said
    assert all(b" 4" in line for line in said), said


def test_a_body_that_nobody_asked_for_is_no_request(visitor: Visitor) -> None:
    length = f"Content-Length: {len(SMUGGLED)}"
    for method, path in (("GET", "/health"), ("HEAD", "/health"), ("POST", "/nowhere"), ("DELETE", "/health")):
        assert len(answers(visitor, head(visitor, length, method=method, path=path) + SMUGGLED)) == 1


@pytest.mark.timeout(90)
def test_who_drips_is_cut_off_however_steadily(operator: Visitor) -> None:
    """Neither a byte now and then in the headers nor one in the body puts the end off."""
    with operator.connect() as header, operator.connect() as body:
        header.sendall(b"GET / HTTP/1.1\r\n")
        body.sendall(head(operator, f"Cookie: {operator.cookie}", "Content-Length: 4000", path="/messages"))
        said: dict[socket.socket, bytes] = {}
        for _ in range(int(3 * BODY_S * 4)):
            for dripping in {header, body} - said.keys():
                dripping.settimeout(0.25)  # the pace of the drops
                with contextlib.suppress(TimeoutError):
                    said[dripping] = _last_words(dripping)
            if len(said) == 2:
                break
    assert said[header] == b""
    assert b" 408 " in said[body].partition(b"\r\n")[0]


def _last_words(dripping: socket.socket) -> bytes:
    """Drop one byte and listen; raises TimeoutError while the other side waits for more."""
    try:
        dripping.sendall(b"x")
        return dripping.recv(65536)
    except ConnectionError:
        return b""


# what gets into the log


def test_no_request_writes_a_terminals_commands_or_lines_into_the_log(hive: HiveProcess, visitor: Visitor) -> None:
    nasty = "/\x1b[2J\x1b]0;owned\x07\n{}\r\u202e<b>"
    visitor.get(quote(nasty))
    eventually(lambda: "owned" in hive.log.read_text())  # behind the answer
    lines = [json.loads(line) for line in hive.log.read_text().splitlines() if "owned" in line]
    assert [line["path"] for line in lines] == ["/%1B%5B2J%1B%5D0;owned%07%0A%7B%7D%0D%E2%80%AE%3Cb%3E"]
