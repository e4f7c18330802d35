"""Attacks on the API of a real daemon, and what must be true of each of its operations."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from api_program import Program
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.web.api.operations import NOT_HERE, OPERATIONS
from hyperhive.web.api.routes import API_ROUTES
from hyperhive.web.attempts import BURST
from hyperhive.web.route import API, Access, WebRoute
from hyperhive.web.routes import ROUTES
from hyperhive.web.security import HEADERS, MAX_BODY
from web_visitor import Visitor, everything

EVIL = "http://evil.example"
LOOKS = "/agents"
CHANGES = "/agents/nobody/restart"


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    with running_hive(dashboard=True) as (hive, _):
        yield hive


@pytest.fixture(scope="module")
def reader(hive: HiveProcess) -> Program:
    return Program.of(hive, "read")


@pytest.fixture(scope="module")
def operator(hive: HiveProcess) -> Program:
    return Program.of(hive, "operate")


@pytest.fixture
def stranger(hive: HiveProcess) -> Program:
    return Program(Visitor.of(hive), "")


def path_of(row: WebRoute) -> str:
    return "/" + row.path.replace("{id:int}", "1").replace("{name}", "nobody").replace("{schedule}", "daily")


def id_of(row: WebRoute) -> str:
    return f"{row.methods[0]} {row.path}"


every_route = pytest.mark.parametrize("row", API_ROUTES, ids=id_of)


# the table


def test_every_verb_of_host_sock_is_an_operation_or_is_left_out_for_a_reason() -> None:
    there = {operation.takes for operation in OPERATIONS}
    assert {*host.REQUESTS} - there == {*NOT_HERE}
    assert all(NOT_HERE.values())


def test_only_looking_takes_no_more_than_the_scope_to_read() -> None:
    assert {row.access for row in API_ROUTES if row.methods == ("GET",)} == {Access.READ}
    assert {row.access for row in API_ROUTES if row.methods != ("GET",)} == {Access.OPERATE}
    assert {row for row in ROUTES if row.path.startswith("/api") or row.access in (Access.READ, Access.OPERATE)} == {
        *API_ROUTES
    }


@every_route
def test_nothing_is_answered_without_a_token_not_even_to_the_operators_browser(
    row: WebRoute, hive: HiveProcess, stranger: Program
) -> None:
    stranger.visitor.log_in(hive)
    (method,) = row.methods
    for headers in ({}, {"Authorization": "Basic aGl2ZTpoaXZl"}, {"Authorization": "Bearer"}):
        answer = stranger.ask(method, path_of(row), **headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="hive"'
        assert b"hive token create" in answer.body


@every_route
def test_nothing_is_answered_under_a_name_that_was_pointed_to_the_loopback(row: WebRoute, operator: Program) -> None:
    for name in ("evil.example", "127.0.0.1.evil.example"):
        assert operator.ask(row.methods[0], path_of(row), Host=name).status == 421


@every_route
def test_a_token_that_may_look_changes_nothing(row: WebRoute, reader: Program) -> None:
    answer = reader.ask(row.methods[0], path_of(row))
    if row.access is Access.OPERATE:
        assert answer.status == 403
        assert 'error="insufficient_scope", scope="operate"' in answer.headers["www-authenticate"]
    else:
        assert answer.status in (200, 404)


@every_route
def test_no_other_sites_page_may_read_an_answer(row: WebRoute, reader: Program) -> None:
    answer = reader.ask(row.methods[0], path_of(row), Origin=EVIL, Sec_Fetch_Site="cross-site")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert {name: answer.headers[name.lower()] for name in HEADERS} == HEADERS
    assert answer.headers["cache-control"] == "no-store"
    asked = reader.ask(
        "OPTIONS", path_of(row), Origin=EVIL, Access_Control_Request_Method=row.methods[0],
        Access_Control_Request_Headers="authorization",
    )  # fmt: skip
    assert asked.status == 405
    assert not [name for name in asked.headers if name.startswith("access-control")]


# tokens


def test_a_wrong_token_lets_nobody_in_however_it_is_written(operator: Program, stranger: Program) -> None:
    good = operator.token
    for wrong in (good[:-1], good + "x", good.upper(), f"{good} {good}", f'"{good}"'):
        answer = stranger.ask("GET", LOOKS, Authorization=f"Bearer {wrong}")
        assert answer.status == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    for path in (f"{LOOKS}?token={good}", f"{LOOKS}?access_token={good}"):
        assert stranger.ask("GET", path).status == 401
    assert stranger.ask("GET", LOOKS, Cookie=f"hive-{stranger.visitor.address[1]}={good}").status == 401
    two = f"GET {API}{LOOKS} HTTP/1.1\r\nHost: {stranger.visitor.host}\r\nConnection: close\r\n" + 2 * (
        f"Authorization: Bearer {good}\r\n"
    )
    assert b" 401 " in stranger.visitor.raw(f"{two}\r\n".encode()).partition(b"\r\n")[0]
    assert stranger.ask("GET", LOOKS, Authorization=f"bearer  {good}").status == 200


def test_guessing_is_slowed_down_and_locks_out_neither_programs_nor_browsers() -> None:
    with running_hive(dashboard=True) as (hive, _):
        known, fresh = Program.of(hive, "read"), Program.of(hive, "read")
        assert known.ask("GET", LOOKS).status == 200
        guesser = Program(known.visitor, "")
        answers = [guesser.ask("GET", LOOKS, Authorization=f"Bearer guess-{number}") for number in range(BURST + 3)]
        assert [answer.status for answer in answers] == [401] * BURST + [429] * 3
        assert int(answers[-1].headers["retry-after"]) > 0
        assert known.ask("GET", LOOKS).status == 200
        assert fresh.ask("GET", LOOKS).status == 200
        assert Visitor.of(hive).log_in(hive).get("/").status == 200


def test_a_token_is_shown_once_and_never_written(hive: HiveProcess, operator: Program) -> None:
    made = hive.ask(host.CreateToken(name="once", scope="operate"))
    token = str(made.token)
    program = Program(operator.visitor, token)
    answers = [program.ask(row.methods[0], path_of(row)).body for row in API_ROUTES if row.access is Access.READ]
    answers.append(program.ask("GET", f"/agents?token={token}").body)
    answers.append(program.ask("GET", f"/{token}").body)
    answers.append(program.ask("POST", "/agents/nobody/restart").body)
    listed = hive.ask(host.Tokens())
    assert "once" in repr(listed)
    assert token not in repr(listed)
    assert not [body for body in answers if token.encode() in body]
    written = [line for line in hive.log.read_text().splitlines() if f'"{API}/{token}"' not in line]
    assert len(written) < len(hive.log.read_text().splitlines())  # a path is logged: whoever writes one there...
    assert not [line for line in written if token in line]
    assert {json.loads(line)["token"] for line in written if '"path": "/metrics"' in line} >= {made.tokens[0].id}  # type: ignore[index]


def test_a_revoked_token_stops_at_once_with_what_it_has_open(hive: HiveProcess, stranger: Program) -> None:
    made = hive.ask(host.CreateToken(name="to be revoked", scope="operate"))
    assert made.tokens
    sent = hive.send("operator", "is anybody there?")
    head = f"GET {API}/messages/{sent}/reply?timeout_seconds=600 HTTP/1.1\r\nHost: {stranger.visitor.host}\r\n"
    with stranger.visitor.connect() as waiting:
        waiting.sendall(f"{head}Authorization: Bearer {made.token}\r\n\r\n".encode())
        assert stranger.ask("GET", LOOKS, Authorization=f"Bearer {made.token}").status == 200
        hive.ask(host.RevokeToken(id=made.tokens[0].id))
        got = everything(waiting)
    assert b" 401 " in got.partition(b"\r\n")[0]
    assert stranger.ask("GET", LOOKS, Authorization=f"Bearer {made.token}").status == 401


def test_what_waits_ends_with_the_daemon_and_the_token_is_good_in_the_next() -> None:
    with running_hive(dashboard=True) as (hive, _):
        program = Program.of(hive, "read")
        sent = hive.send("operator", "is anybody there?")
        head = f"GET {API}/messages/{sent}/reply HTTP/1.1\r\nHost: {program.visitor.host}\r\n"
        with program.visitor.connect() as waiting:
            waiting.sendall(f"{head}Authorization: Bearer {program.token}\r\n\r\n".encode())
            assert program.ask("GET", LOOKS).status == 200
            assert hive.stop() == 0
            assert b" 503 " in everything(waiting).partition(b"\r\n")[0]
        hive.start()
        assert Program(Visitor.of(hive), program.token).get(LOOKS) == {"agent_statuses": []}


# requests


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", ""])
def test_a_body_that_is_no_json_is_not_read(kind: str, operator: Program) -> None:
    answer = operator.refusal("POST", "/messages", b'{"to": "operator", "body": "x"}', Content_Type=kind)
    assert answer == (415, "malformed")


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b'"x"', b"{}{}", b"\xff", b'{"to": "\xed\xa0\x80", "body": "x"}', b"[" * 500_000,
        b'{"to":' * 100_000, b'{"body":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"{'to': 1}", b"NaN", b"\0",
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_a_crooked_body_is_refused(body: bytes, operator: Program) -> None:
    assert operator.refusal("POST", "/messages", body)[0] == 400
    assert operator.ask("GET", LOOKS).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/messages", {}),
        ("POST", "/messages", {"to": 1, "body": "x"}),
        ("POST", "/messages", {"to": "operator", "body": "x", "in_reply_to": "1"}),
        ("POST", "/inbox/handled", {"ids": [2**63]}),
        ("POST", "/start", {"scope": {}}),
        ("GET", "/inbox?limit=0", None),
        ("GET", "/inbox?limit=many", None),
        ("GET", "/inbox?limit=1&limit=2", None),
        ("GET", "/questions?all=perhaps", None),
        ("GET", "/messages/9999999999999999999", None),
        ("POST", "/agents/%2e%2e/restart", None),
        ("POST", "/requests/spawn", {"name": "Not A Name"}),
    ],
    ids=str,
)
def test_what_is_not_right_is_refused_in_words(
    method: str, path: str, body: dict[str, object] | None, operator: Program
) -> None:
    assert operator.refusal(method, path, body) in [(400, "invalid_params"), (400, "bad_name"), (404, "unknown_agent")]


def test_what_a_verb_does_not_know_is_ignored_as_on_host_sock(operator: Program) -> None:
    sent = operator.post("/messages", {"to": "operator", "body": "to myself", "colour": "blue", "cmd": "destroy"})
    assert operator.get(f"/messages/{sent['ids'][0]}?colour=blue")["inbox"][0]["body"] == "to myself"
    assert operator.refusal("POST", "/agents/nobody/pause", {"paused": False, "name": "x"}) == (404, "unknown_agent")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/agents/", "//api/v2/agents", "/agents/x/y/z", "/messages/-1", "//api/"]
)
def test_a_path_that_is_not_there_is_not_found(path: str, operator: Program) -> None:
    assert operator.refusal("GET", path)[0] == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_is_not_there_is_answered_with_those_that_are(method: str, operator: Program) -> None:
    answer = operator.ask(method, "/agents/nobody")
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, HEAD")


def test_a_number_that_is_longer_than_any_is_no_mistake_of_ours(hive: HiveProcess, operator: Program) -> None:
    browser = Visitor.of(hive).log_in(hive)
    for number in ("9" * 19, "9" * 20, "9" * 5000):
        assert operator.ask("GET", f"/messages/{number}").status in (400, 404, 414)
        assert browser.get(f"/messages/{number}").status in (404, 414)


def test_a_body_over_a_mebibyte_is_refused_also_when_it_does_not_say_so(operator: Program) -> None:
    visitor = operator.visitor
    head = (
        f"POST {API}/messages HTTP/1.1\r\nHost: {visitor.host}\r\nAuthorization: Bearer {operator.token}\r\n"
        "Content-Type: application/json\r\n"
    )
    said = visitor.raw(f"{head}Content-Length: {MAX_BODY + 1}\r\n\r\n".encode())
    assert b" 413 " in said.partition(b"\r\n")[0]
    with visitor.connect() as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(2 * MAX_BODY // 65536):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert b" 200 " not in everything(connection)
    assert operator.ask("GET", LOOKS).status == 200


def test_a_long_wait_ends_when_its_program_has_gone(hive: HiveProcess, reader: Program) -> None:
    sent = hive.send("operator", "is anybody there?")
    head = f"GET {API}/messages/{sent}/reply HTTP/1.1\r\nHost: {reader.visitor.host}\r\n"
    with reader.visitor.connect() as waiting:
        waiting.sendall(f"{head}Authorization: Bearer {reader.token}\r\n\r\n".encode())
        assert reader.ask("GET", LOOKS).status == 200
    while f"{API}/messages/{sent}/reply" not in hive.log.read_text():
        assert reader.ask("GET", LOOKS).status == 200


def test_a_read_has_no_body_with_head(reader: Program) -> None:
    answer = reader.ask("HEAD", LOOKS)
    assert (answer.status, answer.body) == (200, b"")


def test_an_approval_is_found_however_many_came_after_it(operator: Program) -> None:
    rows = [operator.post("/requests/spawn", {"name": f"later-{number}"})["approvals"][0] for number in range(102)]
    for row in rows:
        operator.post(f"/approvals/{row['id']}/deny")
    oldest = rows[0]["id"]
    assert oldest not in [row["id"] for row in operator.get("/approvals")["approvals"]]
    (found,) = operator.get(f"/approvals/{oldest}")["approvals"]
    assert (found["agent"], found["status"]) == ("later-0", "denied")
    assert operator.refusal("GET", "/approvals/999999") == (404, "unknown_approval")
