"""Where the dashboard may listen, and by which names it is called."""

from pathlib import Path

import pytest

from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.web.settings import WebSettings

PEM = Path("/etc/some.pem")
URL = "https://hive.example.org"


def refusal(address: str = "127.0.0.1:7000", **more: object) -> str:
    with pytest.raises(FaultError) as refused:
        WebSettings.from_arg(address, **more)  # type: ignore[arg-type]  # what an operator may write
    assert refused.value.kind is FaultKind.BAD_CONFIG
    return refused.value.message


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:7000", "127.0.0.1", 7000), ("localhost:0", "127.0.0.1", 0), ("[::1]:80", "::1", 80),
        ("127.8.8.8:65535", "127.8.8.8", 65535),
    ],
)  # fmt: skip
def test_an_address_of_the_loopback_is_taken(address: str, host: str, port: int) -> None:
    settings = WebSettings.from_arg(address)
    assert (settings.host, settings.port, settings.tls) == (host, port, False)


@pytest.mark.parametrize(
    "address",
    [
        "", "7000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "example.org:80", "a b:1",
        "127.0.0.1:١",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    assert "cannot open the dashboard" in refusal(address)


@pytest.mark.parametrize("address", ["0.0.0.0:7000", "192.168.1.2:7000", "[::]:7000", "[2001:db8::1]:7000"])
def test_beyond_the_loopback_it_listens_only_with_a_certificate(address: str) -> None:
    assert "TLS" in refusal(address, public_url=URL)
    assert WebSettings.from_arg(address, tls_cert=PEM, tls_key=PEM, public_url=URL).tls


def test_a_certificate_needs_its_key_and_a_key_its_certificate() -> None:
    assert "--tls-key" in refusal(tls_cert=PEM)
    assert "--tls-cert" in refusal(tls_key=PEM)


def test_where_all_addresses_are_listened_at_the_browsers_one_must_be_said() -> None:
    assert "--dashboard-url" in refusal("0.0.0.0:7000", tls_cert=PEM, tls_key=PEM)


@pytest.mark.parametrize(
    "url",
    ["hive.example.org", "http://hive.example.org", "https://u:p@hive.example.org", URL + "/path", "javascript:1"],
)
def test_a_public_address_is_https_and_has_no_path(url: str) -> None:
    assert "--dashboard-url" in refusal(public_url=url)


def test_it_is_called_by_the_names_of_the_loopback_its_address_and_its_public_name() -> None:
    assert WebSettings().names == {"localhost", "127.0.0.1", "::1"}
    settings = WebSettings.from_arg("192.168.1.2:7000", tls_cert=PEM, tls_key=PEM, public_url=URL + ":7000")
    assert settings.names == {"localhost", "127.0.0.1", "::1", "192.168.1.2", "hive.example.org"}


def test_links_lead_to_where_a_browser_finds_it() -> None:
    assert WebSettings(port=0).url(4711) == "http://127.0.0.1:4711"
    assert WebSettings(host="::1").url(7000) == "http://[::1]:7000"
    assert WebSettings(tls_cert=PEM, tls_key=PEM).url(7000) == "https://127.0.0.1:7000"
    assert WebSettings.from_arg("127.0.0.1:7000", public_url=URL + "/").url(7000) == URL


def test_a_cookie_is_secure_where_the_browser_speaks_tls() -> None:
    behind_a_proxy = WebSettings(public_url=URL)
    assert behind_a_proxy.is_secure("hive.example.org")
    assert not behind_a_proxy.is_secure("127.0.0.1")
    assert WebSettings(tls_cert=PEM, tls_key=PEM).is_secure("127.0.0.1")
