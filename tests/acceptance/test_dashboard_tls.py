"""A whole daemon whose dashboard other machines could reach: only with a certificate, and then with nothing else."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from dashboard_page import Dashboard, chromium
from hyperhive.cli import dashboard_checks
from hyperhive.testing.hive_process import HiveProcess, running_hive
from web_visitor import Visitor, link_into

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HiveProcess]:
    needs.program("openssl", "apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    with running_hive(dashboard=True) as (hive, _):
        hive.stop()
        hive.dashboard_arguments = ("--tls-cert", cert, "--tls-key", key)
        yield hive.start()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
def test_a_hive_that_others_could_reach_without_tls_does_not_start(tmp_path: Path, address: str) -> None:
    hive = HiveProcess(tmp_path)
    hive.dashboard = True
    hive.dashboard_arguments = ("--dashboard", address)
    assert hive.launch().wait(60) == 1
    assert "--tls-cert" in hive.log.read_text()


def test_nobody_is_answered_in_the_clear(hive: HiveProcess) -> None:
    assert link_into(hive).startswith("https://127.0.0.1:")
    assert b"HTTP" not in Visitor.of(hive).raw(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")


def test_the_doctors_attack_comes_to_nothing_over_tls_too(hive: HiveProcess) -> None:
    findings = dashboard_checks.attacked(link_into(hive), hive.process.pid if hive.process else 0)
    assert len(findings) == 7
    assert [finding for finding in findings if not finding.ok] == []


def test_a_browser_comes_in_and_sends_its_session_over_tls_alone(hive: HiveProcess) -> None:
    needs.chromium()
    with chromium() as browser:
        window = Dashboard(browser, hive, ignore_https_errors=True)
        try:
            window.log_in()
            [session] = [cookie for cookie in window.context.cookies() if "hive-" in cookie["name"]]
            assert session["name"].startswith("__Host-")
            assert session["secure"]
            assert session["httpOnly"]
            answer = window.page.reload()
            assert answer is not None
            assert answer.status == 200
            assert "strict-transport-security" not in answer.headers  # it would bind all ports of the name
        finally:
            window.close()
