"""What a request must say of itself before a handler sees it."""

import pytest
from starlette.datastructures import Headers

from hand_clock import HandClock
from hyperhive.web.attempts import BURST, EVERY_S, MOST, Attempts
from hyperhive.web.security import CSP, MAX_BODY, RefusedError, check, host_name
from hyperhive.web.settings import WebSettings

SETTINGS = WebSettings(public_url="https://hive.example.org")
FORM = "application/x-www-form-urlencoded"
OURS = {"host": "127.0.0.1:7000", "origin": "http://127.0.0.1:7000", "content-type": FORM}
EVIL = "http://evil.example"


def status(method: str, headers: dict[str, str] | list[tuple[str, str]], scheme: str = "http", path: str = "/") -> int:
    """Of the refusal; 200 when there is none."""
    pairs = [*headers.items()] if isinstance(headers, dict) else headers
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]
    try:
        check(method, scheme, Headers(raw=raw), SETTINGS, path)
    except RefusedError as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7000", "127.0.0.1", "localhost:7000", "LOCALHOST:1", "[::1]:7000", "hive.example.org"]
)
def test_a_name_of_ours_is_answered_at_any_port(host: str) -> None:
    assert status("GET", {"host": host}) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:7000", "127.0.0.1.evil.example", "localhost.evil.example", "hive.example.org.",
        "evil@127.0.0.1", "127.0.0.1:7000@evil.example", "127.0.0.1/x", "127.0.0.1:x", "127.0.0.1#", "[::1", "[::1]x",
        "2130706433", "0x7f.1", "127.1", "0.0.0.0", "", " 127.0.0.1", "127.0.0.1\\evil", "l\xf6calhost",
    ],
)  # fmt: skip
def test_any_other_name_is_refused_even_when_it_leads_here(host: str) -> None:
    assert status("GET", {"host": host}) == 421


def test_a_request_without_a_host_or_with_two_is_refused() -> None:
    assert status("GET", {}) == 421
    assert status("GET", [("host", "127.0.0.1"), ("host", "evil.example")]) == 421
    assert status("GET", [("host", "127.0.0.1"), ("host", "127.0.0.1")]) == 421


@pytest.mark.parametrize(
    "said",
    [
        {"origin": "http://127.0.0.1:7000"},
        {"origin": "http://127.0.0.1:7000", "sec-fetch-site": "same-origin"},
        {"origin": "null", "sec-fetch-site": "same-origin"},  # a form, since our pages send no referrer
        {"origin": "", "sec-fetch-site": "same-origin"},
    ],
)
def test_a_change_is_taken_from_a_page_of_our_own(said: dict[str, str]) -> None:
    headers = {name: value for name, value in {**OURS, **said}.items() if value}
    assert status("POST", headers) == 200


@pytest.mark.parametrize(
    "said",
    [
        {"origin": ""},
        {"origin": "null"},
        {"origin": EVIL},
        {"origin": EVIL, "sec-fetch-site": "same-origin"},
        {"origin": "http://127.0.0.1:8000"},
        {"origin": "http://localhost:7000"},
        {"origin": "https://127.0.0.1:7000"},
        {"origin": "http://127.0.0.1:7000.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
    ],
)
def test_a_change_that_another_page_asks_for_or_nobody_says_who_is_refused(said: dict[str, str]) -> None:
    headers = {name: value for name, value in {**OURS, **said}.items() if value}
    assert status("POST", headers) == 403


def test_two_origins_are_refused() -> None:
    assert status("POST", [*OURS.items(), ("origin", EVIL)]) == 403


def test_behind_a_proxy_the_page_is_https_although_the_request_is_not() -> None:
    public = {**OURS, "host": "hive.example.org"}
    assert status("POST", {**public, "origin": "https://hive.example.org"}) == 200
    assert status("POST", {**public, "origin": "http://hive.example.org"}) == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "", f"text/plain;{FORM}"])
def test_a_body_that_is_no_form_is_refused(kind: str) -> None:
    assert status("POST", {name: value for name, value in {**OURS, "content-type": kind}.items() if value}) == 415


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), "9" * 40, "-1", "1e3", "١"])
def test_a_body_that_says_that_it_is_too_long_is_refused_unread(length: str) -> None:
    raw = [(name.encode(), value.encode()) for name, value in {**OURS, "content-length": length}.items()]
    with pytest.raises(RefusedError) as refused:
        check("POST", "http", Headers(raw=raw), SETTINGS)
    assert refused.value.status == 413


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "post"])
def test_other_methods_are_not_answered(method: str) -> None:
    assert status(method, OURS) == 405


def test_names_are_read_out_of_a_host_header_in_small_letters() -> None:
    assert host_name("hive.example.org:443") == "hive.example.org"
    assert host_name("[::1]:7000") == "::1"


def test_the_policy_of_pages_lets_nothing_in_that_is_not_the_hives_own() -> None:
    assert "unsafe" not in CSP
    assert "default-src 'none'" in CSP
    assert "frame-ancestors 'none'" in CSP
    assert set(CSP.replace(";", "").split()) - {"'self'", "'none'"} == {
        word for word in CSP.replace(";", "").split() if word.endswith(("-src", "-action", "-uri", "-ancestors"))
    }


# attempts


def test_after_some_failures_an_address_waits_and_others_do_not() -> None:
    clock = HandClock()
    attempts = Attempts(clock)
    for _ in range(BURST):
        assert attempts.wait_s("10.0.0.1") == 0
        attempts.failed("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") == EVERY_S
    assert attempts.wait_s("10.0.0.2") == 0
    clock.advance(EVERY_S)
    assert attempts.wait_s("10.0.0.1") == 0
    attempts.failed("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") == EVERY_S


def test_a_failure_is_forgotten_in_time() -> None:
    clock = HandClock()
    attempts = Attempts(clock)
    for _ in range(BURST):
        attempts.failed("10.0.0.1")
    clock.advance(BURST * EVERY_S)
    for _ in range(BURST - 1):
        attempts.failed("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") == 0


def test_a_flood_of_addresses_takes_no_more_memory() -> None:
    attempts = Attempts(HandClock())
    for number in range(3 * MOST):
        attempts.failed(f"address {number}")
    assert len(attempts) == MOST


JSON = {"host": "127.0.0.1:7000", "content-type": "application/json", "content-length": "2"}


@pytest.mark.parametrize(
    "headers",
    [
        JSON,
        {"host": "127.0.0.1"},  # nothing to read
        {"host": "127.0.0.1", "content-length": "0", "content-type": "text/plain"},
        {**JSON, "content-type": "Application/JSON; charset=utf-8"},
        {**JSON, "origin": EVIL, "sec-fetch-site": "cross-site"},  # it has no token, which is the next door's business
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_the_api_reads_json_from_wherever_it_comes(method: str, headers: dict[str, str]) -> None:
    assert status(method, headers, path="/api/v1/agents") == 200


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({**JSON, "host": "evil.example"}, 421),
        ({**JSON, "content-type": FORM}, 415),
        ({**JSON, "content-type": "text/plain"}, 415),
        ({"host": "127.0.0.1", "transfer-encoding": "chunked"}, 415),
        ({**JSON, "content-length": str(MAX_BODY + 1)}, 413),
        ({**JSON, "content-length": "-1"}, 413),
    ],
    ids=str,
)
def test_the_api_refuses_other_names_and_what_is_no_json(headers: dict[str, str], refusal: int) -> None:
    assert status("POST", headers, path="/api/v1/agents") == refusal


@pytest.mark.parametrize("path", ["/api", "/apix/v1", "/", "//api/v1/agents", "/agents"])
def test_only_the_api_is_asked_without_an_origin(path: str) -> None:
    assert status("POST", JSON, path=path) == 403
