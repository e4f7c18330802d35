"""The doctor's attack on the dashboard: what it says of ours, of one that is open to everything, and of none."""

import asyncio
import http.server
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from hyperhive.cli import checks, dashboard_checks, listening
from hyperhive.cli.finding import Finding
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, running_hive


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    with running_hive(dashboard=True) as (hive, _):
        yield hive


def found(hive: HiveProcess) -> list[Finding]:
    findings = asyncio.run(checks.all_of_them(hive.paths, hive.paths, {}))
    return [finding for finding in findings if finding.name.startswith("dashboard")]


def sessions(hive: HiveProcess) -> list[int]:
    rows = hive.ask(host.WebSessions()).web_sessions
    assert isinstance(rows, list)
    return [row.id for row in rows]


def test_the_hives_own_dashboard_withstands_it(hive: HiveProcess) -> None:
    before = sessions(hive)
    findings = found(hive)
    assert [finding for finding in findings if not finding.ok] == []
    assert [finding.name.partition(", ")[2] for finding in findings] == [
        "reach", "other names", "without a login", "files", "headers", "session", "other sites",
    ]  # fmt: skip
    assert "listens on 127.0.0.1" in findings[0].detail
    assert sessions(hive) == before


def test_a_dashboard_that_is_off_is_not_attacked_and_is_no_fault() -> None:
    with running_hive() as (hive, _):
        [finding] = found(hive)
    assert finding.ok
    assert "--no-dashboard" in finding.detail


class Open(http.server.BaseHTTPRequestHandler):
    """Answers everybody everything, and its cookie is for all."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(303 if self.path == "/login" and self.command == "POST" else 200)
        self.send_header("Set-Cookie", "session=1; Domain=example.org; SameSite=None")
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 (the server's name for it)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_every_hole_of_an_open_one_is_named() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Open) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            link = f"http://127.0.0.1:{server.server_port}/login#token"
            findings = dashboard_checks.attacked(link, os.getpid())
        finally:
            server.shutdown()
            thread.join()
    said = {finding.name.partition(", ")[2]: finding.detail for finding in findings if not finding.ok}
    assert "evil.example" in said["other names"]
    assert "GET / was answered" in said["without a login"]
    assert "/static/../app.py" in said["files"]
    assert "scripts of anybody may run" in said["headers"]
    assert "once more" in said["session"]
    assert "evil.example" in said["other sites"]
    assert all(finding.needed and finding.remedy for finding in findings if not finding.ok)


@pytest.mark.parametrize(
    ("cookie", "secure", "holes"),
    [
        ("hive-1=x; HttpOnly; Path=/; SameSite=strict", False, 0),
        ("__Host-hive-1=x; HttpOnly; Path=/; SameSite=strict; Secure", True, 0),
        ("hive-1=x; HttpOnly; Path=/; SameSite=strict; Secure", True, 1),
        ("hive-1=x; Path=/; SameSite=lax", False, 2),
        ("no cookie", False, 1),
    ],
)
def test_a_cookie_is_looked_at_flag_by_flag(cookie: str, secure: bool, holes: int) -> None:
    door = dashboard_checks.Door.of(f"http{'s' if secure else ''}://localhost:1/login#x")
    entered = dashboard_checks.Reply(status=303, headers={}, cookies=(cookie,))
    refused = dashboard_checks.Reply(status=403, headers={})
    finding = dashboard_checks.cookie(door, entered, refused)
    assert (finding.ok, len(finding.detail.split("; ")) if holes else 0) == (not holes, holes)


@pytest.mark.parametrize(
    ("link", "listening_at", "ok"),
    [
        ("http://127.0.0.1:1/", ["127.0.0.1", "::1"], True),
        ("http://127.0.0.1:1/", ["127.0.0.1", "0.0.0.0"], False),
        ("https://hive.example.org/", ["0.0.0.0"], True),
        ("http://192.0.2.1:1/", [], False),
        ("http://localhost:1/", [], True),
    ],
)
def test_who_can_reach_it_without_tls_is_told(link: str, listening_at: list[str], ok: bool) -> None:
    assert dashboard_checks.reach(dashboard_checks.Door.of(link), listening_at).ok is ok


def test_a_dashboard_that_does_not_answer_is_a_warning() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        [finding] = dashboard_checks.attacked(f"http://127.0.0.1:{taken.getsockname()[1]}/login#x", os.getpid())
    assert (finding.ok, finding.needed) == (False, False)


def test_where_a_process_listens_is_read_from_the_kernel() -> None:
    before = listening.addresses(os.getpid())
    with socket.create_server(("127.0.0.9", 0)), socket.create_server(("::1", 0), family=socket.AF_INET6):
        assert listening.addresses(os.getpid()) == sorted({*before, "127.0.0.9", "::1"})
    assert listening.addresses(2**31 - 1) == []
