"""The operator is told outside of the dashboard: a real hive, real services on loopback."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dashboard_page import Dashboard, chromium
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.testing.hive_process import HiveProcess, running_hive
from notify_receiver import SECRET, Receiver, receiver

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    with running_hive(dashboard=True) as (hive, _):
        yield hive


@pytest.fixture
def service(hive: HiveProcess) -> Iterator[Receiver]:
    with receiver() as it:
        yield it
    for target in rows(hive):
        hive.ask(host.RemoveNotifyTarget(name=target.name))


def rows(hive: HiveProcess) -> list[host.NotifyTarget]:
    targets = hive.ask(host.NotifyTargets()).notify_targets
    assert isinstance(targets, list)
    return targets


def test_an_approval_reaches_the_operators_telephone_and_not_what_waited_before(
    hive: HiveProcess, service: Receiver
) -> None:
    hive.ask(host.RequestSpawn(name="early", description="was there before"))
    hive.ask(host.AddNotifyTarget(url=service.ntfy_url, name="phone"))
    hive.ask(host.RequestSpawn(name="scout", description="please *read* http://evil.example @all"))
    told = service.next()
    assert told.json["topic"] == SECRET
    assert told.json["title"] == "hyperhive: An approval waits"
    assert "spawn of scout, asked for by operator" in told.text
    assert "early" not in told.text
    assert "“please ∗read∗ http：⁄⁄evil․example ＠all”" in told.text
    place = str(hive.ask(host.LoginLink()).login_link).partition("/login")[0]
    assert told.text.splitlines()[-1] == f"The dashboard: {place}"


def test_a_test_says_what_became_of_it(hive: HiveProcess, service: Receiver) -> None:
    hive.ask(host.AddNotifyTarget(url=service.json_url))
    assert hive.ask(host.TestNotifyTarget()).notify_tests == [host.NotifyTest(name="json", ok=True)]
    assert service.next().json["title"] == "hyperhive: a test"
    service.status = 403
    error = "the target answered with status 403"
    assert hive.ask(host.TestNotifyTarget(name="json")).notify_tests == [
        host.NotifyTest(name="json", ok=False, error=error)
    ]
    assert (rows(hive)[0].error, rows(hive)[0].sent) == (error, 1)


def test_a_hive_that_rehearses_tells_nobody_beyond_loopback(hive: HiveProcess, service: Receiver) -> None:
    for url in ("json://192.0.2.1/x", "ntfy://topic-of-a-cloud", "json://nobody.example/x"):
        hive.ask(host.AddNotifyTarget(url=url, name="far"))
        tests = hive.ask(host.TestNotifyTarget(name="far")).notify_tests
        assert isinstance(tests, list)
        assert "only this machine's loopback" in tests[0].error
        hive.ask(host.RemoveNotifyTarget(name="far"))


@pytest.mark.parametrize("url", ["nonsense://x", "/etc/passwd", "file:///etc/passwd", "http://", "json://"])
def test_a_url_that_apprise_does_not_know_is_refused(hive: HiveProcess, service: Receiver, url: str) -> None:
    with pytest.raises(FaultError, match="none that apprise knows") as refused:
        hive.ask(host.AddNotifyTarget(url=url))
    assert refused.value.kind == FaultKind.INVALID_PARAMS


def test_a_targets_secret_is_in_its_file_alone_and_lasts(hive: HiveProcess, service: Receiver) -> None:
    answers = [
        hive.ask(host.AddNotifyTarget(url=service.json_url, name="a")),
        hive.ask(host.AddNotifyTarget(url=service.ntfy_url, name="b")),
    ]
    service.status = 500
    answers += [hive.ask(host.TestNotifyTarget()), hive.ask(host.NotifyTargets())]
    with pytest.raises(FaultError) as taken:
        hive.ask(host.AddNotifyTarget(url=service.json_url, name="a"))
    assert SECRET not in str((answers, taken.value))
    hive.kill()
    hive.start()
    assert [(target.name, target.url) for target in rows(hive)] == [
        ("a", "json://127.0.0.1/…"),
        ("b", "ntfy://127.0.0.1/…"),
    ]
    holding = [path for path in files_of(hive) if SECRET.encode() in path.read_bytes()]
    assert holding == [hive.paths.notify]
    assert stat.S_IMODE(hive.paths.notify.stat().st_mode) == 0o600


def files_of(hive: HiveProcess) -> list[Path]:
    """All that the hive writes, its log included."""
    trees = [hive.log.parent, hive.paths.state_dir, hive.paths.runtime_dir]
    return sorted({path for tree in trees for path in tree.rglob("*") if path.is_file() and not path.is_symlink()})


def test_the_dashboard_adds_tries_and_removes_a_target(hive: HiveProcess, service: Receiver) -> None:
    with chromium() as browser, contextlib.closing(Dashboard(browser, hive)) as dashboard:
        dashboard.log_in()
        dashboard.go("/settings")
        page = dashboard.page
        page.fill("#target-url", "nonsense://x")
        page.click("#target-add")
        expect(page.locator("#target-result")).to_contain_text("none that apprise knows")
        page.fill("#target-url", service.json_url)
        page.fill("#target-name", "phone")
        page.click("#target-add")
        expect(page.locator("#target-result")).to_have_text("phone is told from now on.")
        expect(page.locator("#target-phone code")).to_have_text("json://127.0.0.1/…")
        page.click("#test-phone")
        expect(page.locator("#target-result")).to_have_text("phone took the message.")
        assert service.next().json["title"] == "hyperhive: a test"
        service.status = 500
        page.click("#test-phone")
        expect(page.locator("#target-result")).to_contain_text("answered with status 500")
        expect(page.locator("#target-phone .problem")).to_contain_text("answered with status 500")
        page.reload()
        assert SECRET not in page.content()
        dashboard.screenshot("settings")
        page.click("#remove-phone")
        page.click("#confirm-yes")
        expect(page.locator("#targets")).to_have_text("Nowhere yet.")
        assert [said for said in dashboard.complaints if "status of 4" not in said] == []
    assert rows(hive) == []
