"""Attacks on the dashboard of a real daemon, over its own port."""

import contextlib
import json
import socket
from collections.abc import Iterator

import pytest

from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, eventually, running_hive
from hyperhive.web.attempts import BURST
from hyperhive.web.forms import MAX_FIELD, MAX_FIELDS
from hyperhive.web.route import Access, WebRoute
from hyperhive.web.routes import ROUTES
from hyperhive.web.security import HEADERS, MAX_BODY
from web_visitor import FORM, Answer, Visitor, everything, link_into, token_of

EVIL = "http://evil.example"
PUBLIC = {"/health", "/login", "/static/{name:path}"}
PAGES = [row for row in ROUTES if row.access in (Access.PUBLIC, Access.SESSION)]


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    with running_hive(dashboard=True) as (hive, _):
        yield hive


@pytest.fixture
def visitor(hive: HiveProcess) -> Visitor:
    return Visitor.of(hive)


@pytest.fixture
def operator(hive: HiveProcess) -> Visitor:
    return Visitor.of(hive).log_in(hive)


def log_of(hive: HiveProcess) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in hive.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "web"]


def path_of(pattern: str) -> str:
    """One that the pattern takes."""
    path = pattern.replace("{name:path}", "hive.css").replace("{id:int}", "1").replace("{name}", "nobody")
    path = path.replace("{schedule}", "daily")
    assert "{" not in path, f"say here what {pattern} takes"
    return path


# the table


def test_nothing_is_public_but_the_way_in() -> None:
    assert {row.path for row in ROUTES if row.access is Access.PUBLIC} == PUBLIC


def test_changes_are_asked_for_by_post_alone() -> None:
    assert {method for row in PAGES for method in row.methods} == {"GET", "POST"}


@pytest.mark.parametrize("row", PAGES, ids=lambda row: f"{'/'.join(row.methods)} {row.path}")
def test_without_a_session_only_the_way_in_answers(row: WebRoute, visitor: Visitor) -> None:
    for method in row.methods:
        for cookie in ("", f"hive-{visitor.address[1]}=stolen", f"hive-{visitor.address[1]}="):
            visitor.cookie = cookie
            answer = visitor.get(path_of(row.path)) if method == "GET" else visitor.post(path_of(row.path))
            if row.access is Access.SESSION:
                assert answer.status == 401
                assert b"log in" in answer.body
            else:
                assert answer.status in (200, 403)


def test_a_browser_without_a_session_is_led_to_the_login_and_htmx_too(visitor: Visitor) -> None:
    page = visitor.get("/", Accept="text/html")
    assert (page.status, page.headers["location"]) == (303, "/login")
    part = visitor.get("/", HX_Request="true")
    assert (part.status, part.headers["hx-redirect"]) == (401, "/login")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_answer_carries_the_headers_and_pages_are_not_kept(method: str, operator: Visitor) -> None:
    for path in ("/", "/login", "/nowhere", "/static/login.js", "/static/nothing"):
        answer = operator.ask(method, path, {})
        assert {name: answer.headers[name.lower()] for name in HEADERS} == HEADERS
        assert "server" not in answer.headers
        assert "unsafe" not in answer.headers["content-security-policy"]
        if not path.startswith("/static"):
            assert answer.headers["cache-control"] == "no-store"


# coming in


def test_a_session_is_in_a_cookie_that_scripts_and_other_sites_do_not_get(hive: HiveProcess, visitor: Visitor) -> None:
    answer = visitor.enter(token_of(link_into(hive)))
    assert (answer.status, answer.headers["location"]) == (303, "/")
    flags = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    assert not any(flag.startswith("domain") for flag in flags)
    visitor.cookie = answer.cookie
    assert visitor.get("/").status == 200


def test_a_link_that_was_used_or_seen_by_somebody_else_is_worth_nothing(hive: HiveProcess, visitor: Visitor) -> None:
    token = token_of(link_into(hive))
    assert visitor.enter(token).status == 303
    again = visitor.enter(token)
    assert again.status == 403
    assert "set-cookie" not in again.headers
    assert b"hive login" in again.body


def test_opening_the_login_page_does_not_use_a_link_up(hive: HiveProcess, visitor: Visitor) -> None:
    token = token_of(link_into(hive))
    for path in ("/login", f"/login?link={token}", f"/login?token={token}"):
        assert "set-cookie" not in visitor.get(path).headers
    assert visitor.enter(token).status == 303


def test_a_session_that_an_attacker_planted_is_not_taken_on(hive: HiveProcess, visitor: Visitor) -> None:
    planted = f"hive-{visitor.address[1]}=planted-by-somebody"
    visitor.cookie = planted
    answer = visitor.enter(token_of(link_into(hive)))
    assert answer.status == 303
    assert answer.cookie != planted
    assert visitor.get("/").status == 401


def test_logging_in_again_ends_the_session_before(hive: HiveProcess, operator: Visitor) -> None:
    before = operator.cookie
    answer = operator.enter(token_of(link_into(hive)))
    operator.cookie = before
    assert operator.get("/").status == 401
    operator.cookie = answer.cookie
    assert operator.get("/").status == 200


def test_logging_out_ends_the_session_on_the_hive_too(operator: Visitor) -> None:
    answer = operator.post("/logout")
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert operator.get("/").status == 401


def test_a_session_is_listed_and_revoked_with_the_stream_that_it_has_open(
    hive: HiveProcess, operator: Visitor
) -> None:
    sessions = hive.ask(host.WebSessions()).web_sessions
    assert sessions
    with operator.connect() as stream:
        stream.sendall(f"GET /live HTTP/1.1\r\nHost: {operator.host}\r\nCookie: {operator.cookie}\r\n\r\n".encode())
        assert b" 200 OK" in stream.recv(65536)
        hive.ask(host.RevokeWebSession(id=sessions[0].id))
        stream.shutdown(socket.SHUT_WR)
        everything(stream)
    assert operator.get("/").status == 401
    after = hive.ask(host.WebSessions()).web_sessions
    assert isinstance(after, list)
    assert sessions[0].id not in [session.id for session in after]


def test_guessing_is_slowed_down_and_keeps_out_nobody_with_a_link(hive: HiveProcess) -> None:
    with running_hive(dashboard=True) as (other, _):
        visitor = Visitor.of(other)
        token = token_of(link_into(other))
        answers = [visitor.enter(f"guess {number}") for number in range(BURST + 3)]
        assert [answer.status for answer in answers] == [403] * BURST + [429] * 3
        assert int(answers[-1].headers["retry-after"]) > 0
        assert visitor.enter(token).status == 303
        assert visitor.enter(token).status == 429


def test_no_token_gets_into_the_log(hive: HiveProcess, visitor: Visitor) -> None:
    token = token_of(link_into(hive))
    visitor.get(f"/login?token={token}")
    visitor.enter("wrong-token-that-somebody-tried")
    visitor.cookie = visitor.enter(token).cookie
    visitor.get("/?secret=of-the-query")
    written = hive.log.read_text()
    for secret in (token, visitor.cookie.partition("=")[2], "wrong-token-that-somebody-tried", "of-the-query"):
        assert secret not in written
    assert {line["path"] for line in log_of(hive)} >= {"/", "/login"}


# other people's pages


def assert_unchanged(hive: HiveProcess, operator: Visitor, answer: Answer, status: int) -> None:
    assert answer.status == status, answer.body
    assert operator.get("/").status == 200  # it was /logout that was asked for


@pytest.mark.parametrize("name", ["evil.example", "evil.example:7000", "127.0.0.1.evil.example", ""])
def test_a_name_that_was_pointed_to_the_loopback_is_refused(hive: HiveProcess, operator: Visitor, name: str) -> None:
    assert operator.get("/", Host=name).status in (400, 421)
    answer = operator.post("/logout", Host=name, Origin=f"http://{name}")
    assert_unchanged(hive, operator, answer, 421 if name else answer.status)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "", "Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://127.0.0.1:1"},
    ],
    ids=str,
)
def test_a_form_on_another_page_changes_nothing(hive: HiveProcess, operator: Visitor, headers: dict[str, str]) -> None:
    assert_unchanged(hive, operator, operator.post("/logout", "a=b", **headers), 403)


def test_what_is_no_form_changes_nothing(hive: HiveProcess, operator: Visitor) -> None:
    for kind in ("text/plain", "application/json", ""):
        assert_unchanged(hive, operator, operator.post("/logout", "{}", Content_Type=kind), 415)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(hive: HiveProcess, operator: Visitor, method: str) -> None:
    assert_unchanged(hive, operator, operator.ask(method, "/logout", {"Origin": operator.origin}), 405)


def test_a_change_is_not_made_by_get(hive: HiveProcess, operator: Visitor) -> None:
    for row in PAGES:
        if "GET" not in row.methods and not any(other.path == row.path and "GET" in other.methods for other in ROUTES):
            assert operator.get(path_of(row.path)).status in (404, 405)
    assert operator.get("/").status == 200


# what is too much, or crooked


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/%2e%2e/broker/database.py", "/static//etc/passwd",
        "/static/%2fetc%2fpasswd", "/static/vendor/../../templates/login.html", "/static/", "/static/%00", "/static/.",
        "/static/vendor/.integrity", "/static/..\\app.py",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_static_files(visitor: Visitor, path: str) -> None:
    assert visitor.get(path).status == 404


def test_a_static_file_is_kept_under_its_version_alone(visitor: Visitor) -> None:
    fresh = visitor.get("/static/login.js")
    etag = fresh.headers["etag"]
    assert "max-age=0" in fresh.headers["cache-control"]
    assert visitor.get("/static/login.js", If_None_Match=etag).status == 304
    assert "immutable" in visitor.get("/static/login.js?v=" + etag.strip('"')).headers["cache-control"]


def test_no_header_is_written_by_what_is_asked_for(operator: Visitor) -> None:
    for path in ("/%0d%0aSet-Cookie:%20x=y", "/static/%0d%0aX-Evil:%201", "/login?x=%0d%0aX-Evil:%201"):
        answer = operator.get(path)
        assert "x-evil" not in answer.headers
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("form", ["body=" + "x" * (MAX_FIELD + 1), "&".join(f"f{n}=" for n in range(MAX_FIELDS + 1))])
def test_a_form_that_is_too_large_is_refused_with_the_reason(operator: Visitor, form: str) -> None:
    answer = operator.post("/messages", form)
    assert answer.status == 400
    assert answer.body.startswith(b"cannot read the form: ")


def test_a_request_of_ten_megabytes_is_refused_before_it_is_sent(visitor: Visitor) -> None:
    head = (
        f"POST /login HTTP/1.1\r\nHost: {visitor.host}\r\nOrigin: {visitor.origin}\r\nContent-Type: {FORM}\r\n"
        f"Content-Length: {10 << 20}\r\n\r\n"
    )
    assert b" 413 " in visitor.raw(head.encode()).partition(b"\r\n")[0]


def test_a_request_that_does_not_say_how_long_it_is_ends_at_the_limit(visitor: Visitor) -> None:
    head = (
        f"POST /login HTTP/1.1\r\nHost: {visitor.host}\r\nOrigin: {visitor.origin}\r\nContent-Type: {FORM}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with visitor.connect() as connection:
        connection.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(2 * MAX_BODY // 65536):
                connection.sendall(chunk)
        assert b" 303 " not in everything(connection)
    assert visitor.get("/health").status == 200


def test_who_goes_in_the_middle_of_a_request_is_no_mistake_of_the_hives(hive: HiveProcess, visitor: Visitor) -> None:
    before = len(log_of(hive))
    with visitor.connect() as connection:
        head = f"POST /login HTTP/1.1\r\nHost: {visitor.host}\r\nOrigin: {visitor.origin}\r\nContent-Type: {FORM}\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\nlink=".encode())
    eventually(lambda: any(line["status"] == 0 for line in log_of(hive)[before:]))
    assert "a request failed" not in hive.log.read_text()


def test_a_header_without_end_is_refused(visitor: Visitor) -> None:
    with visitor.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (1 << 20))
        assert b" 200 " not in everything(connection)
    assert visitor.get("/health").status == 200


@pytest.mark.parametrize(
    "bytes_",
    [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"\0" * 100 + b"\r\n\r\n"],
)
def test_what_is_no_http_is_refused(visitor: Visitor, bytes_: bytes) -> None:
    with visitor.connect() as connection:
        connection.sendall(bytes_)
        connection.shutdown(socket.SHUT_WR)
        assert b" 200 " not in everything(connection)
    assert visitor.get("/health").status == 200


@pytest.mark.timeout(90)
def test_who_sends_a_request_byte_by_byte_or_none_is_cut_off(visitor: Visitor) -> None:
    with visitor.connect() as silent, visitor.connect() as slow, visitor.connect() as half:
        slow.sendall(b"GET / HTTP/1.1\r\nHo")
        half.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /health HT")
        assert b" 200 OK" in half.recv(65536)
        for connection in (silent, slow, half):
            assert b"HTTP" not in everything(connection)
