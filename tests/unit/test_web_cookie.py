"""The session's cookie, by how the browser reaches the dashboard."""

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from hyperhive.web.sessions import give_cookie
from hyperhive.web.settings import WebSettings


def cookie(settings: WebSettings, host: str) -> str:
    app = Starlette()
    app.state.settings = settings
    headers = [(b"host", host.encode())]
    scope = {
        "type": "http", "app": app, "headers": headers, "server": ("127.0.0.1", 7000), "scheme": "http", "path": "/",
        "query_string": b"",
    }  # fmt: skip
    response = Response()
    give_cookie(Request(scope), response, "token")
    return response.headers["set-cookie"]


PROXIED = WebSettings(public_url="https://hive.example.org")


def test_over_tls_the_cookie_is_sent_over_tls_alone_and_to_this_host_alone() -> None:
    given = cookie(PROXIED, "hive.example.org")
    assert given.startswith("__Host-hive-7000=token;")
    assert "; Secure" in given
    assert "; Path=/" in given
    assert "Domain" not in given


@pytest.mark.parametrize("host", ["127.0.0.1:7000", "localhost:7000"])
def test_on_the_loopback_it_is_a_plain_one_named_by_the_port(host: str) -> None:
    given = cookie(PROXIED, host)
    assert given.startswith("hive-7000=token;")
    assert "Secure" not in given
