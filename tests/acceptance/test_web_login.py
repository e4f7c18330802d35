"""Coming into the dashboard with a real browser, and what that browser refuses for us."""

import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

import needs
from dashboard_page import Dashboard, chromium
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, running_hive

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    needs.chromium()
    with running_hive(dashboard=True) as (hive, _):
        yield hive


@pytest.fixture(scope="module")
def browser(hive: HiveProcess) -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def window(browser: Browser, hive: HiveProcess) -> Iterator[Dashboard]:
    window = Dashboard(browser, hive)
    try:
        yield window
    finally:
        window.close()


def link(window: Dashboard) -> str:
    answer = window.ask(host.LoginLink()).login_link
    assert isinstance(answer, str)
    return answer


class OtherSite:
    """Another port of this machine, with one page."""

    def __init__(self, page: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(page.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://localhost:{self._server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_a_link_leads_to_the_overview_and_leaves_no_token_behind(window: Dashboard) -> None:
    used = link(window)
    window.page.goto(used)
    window.page.wait_for_url("**/")
    token = used.partition("#")[2]
    assert token not in window.page.content()
    assert window.page.evaluate("document.cookie") == ""  # no script can read the session
    assert token not in str(window.page.evaluate("navigation.entries().map((entry) => entry.url)"))
    window.page.go_back()
    assert token not in window.page.url
    assert window.complaints == []


def test_a_link_works_once_and_the_page_says_how_to_get_another(browser: Browser, window: Dashboard) -> None:
    used = link(window)
    window.page.goto(used)
    window.page.wait_for_url("**/")
    thief = Dashboard(browser, window.hive)
    try:
        thief.page.goto(used)
        expect(thief.page.get_by_role("alert")).to_contain_text("hive login")
        thief.page.goto(used.partition("login")[0])
        assert thief.page.url.endswith("/login")
    finally:
        thief.close()


def test_a_link_can_be_pasted(window: Dashboard) -> None:
    used = link(window)
    window.page.goto(used.partition("#")[0])
    window.page.get_by_label("Link").fill(used)
    window.page.keyboard.press("Enter")
    window.page.wait_for_url("**/")
    assert window.complaints == []


def test_whoever_logs_out_is_outside(window: Dashboard) -> None:
    window.log_in()
    window.page.get_by_role("button", name="Log out").click()
    window.page.wait_for_url("**/login")
    window.page.goto(window.page.url.removesuffix("login"))
    assert window.page.url.endswith("/login")


def test_a_session_that_is_revoked_ends_in_the_page_that_is_open(window: Dashboard) -> None:
    window.log_in()
    window.ask(host.RevokeWebSession(all=True))
    expect(window.page.locator("#logged-out")).to_be_visible()


def test_whoever_follows_a_link_from_another_page_is_still_logged_in(window: Dashboard) -> None:
    window.log_in()
    with OtherSite(f'<a href="{window.page.url}">the hive</a>') as elsewhere:
        window.page.goto(elsewhere)
        window.page.get_by_text("the hive").click()
        window.is_live()


@pytest.mark.parametrize("by", ["form", "fetch"])
def test_another_page_can_make_no_change_with_the_operators_browser(window: Dashboard, by: str) -> None:
    window.log_in()
    home = window.page.url
    form = f'<form method="post" action="{home}logout"><button>Win a prize</button></form>'
    with OtherSite(form) as elsewhere:
        window.page.goto(elsewhere)
        if by == "form":
            window.page.get_by_role("button").click()
            expect(window.page.locator("body")).to_contain_text("another site")
        else:
            options = "{method: 'POST', mode: 'no-cors', credentials: 'include'}"
            window.page.evaluate(f"fetch('{home}logout', {options}).catch(() => null)")
        window.page.goto(home)
        window.is_live()


def test_the_browser_runs_and_loads_nothing_that_is_not_the_hives(window: Dashboard) -> None:
    window.log_in()
    ran = window.page.evaluate(
        """async () => {
            const broken = [];
            const all = new Promise((done) => document.addEventListener("securitypolicyviolation", (event) => {
                broken.push(event.effectiveDirective);
                if (new Set(broken).size >= 7) done();
            }));
            const add = (name, values) => document.body.append(Object.assign(document.createElement(name), values));
            add("script", {textContent: "window.ran = true"});
            add("style", {textContent: "body {display: none}"});
            add("img", {src: "http://127.0.0.1:1/x.png"});
            add("iframe", {src: "https://evil.example/"});
            add("script", {src: "data:text/javascript,window.ran=true"});
            document.body.setAttribute("onclick", "window.ran = true");
            document.body.click();
            setTimeout("window.ran = true", 0);
            await fetch("http://127.0.0.1:1/").catch(() => null);
            await all;
            return [window.ran === undefined, getComputedStyle(document.body).display !== "none", broken];
        }"""
    )
    assert ran[:2] == [True, True]
    assert {"script-src-elem", "style-src-elem", "img-src", "connect-src", "script-src-attr", "script-src"} <= {
        *ran[2]
    }


def test_no_other_page_can_frame_it(window: Dashboard) -> None:
    window.log_in()
    with OtherSite(f'<iframe src="{window.page.url}login"></iframe>') as elsewhere:
        window.page.goto(elsewhere)
        expect(window.page.frame_locator("iframe").get_by_label("Link")).to_have_count(0)
    assert any("frame" in complaint for complaint in window.complaints)
