"""An agent against the operator's browser, on every page; another site's name in that browser, too."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

import needs
from config_house import git
from dashboard_page import ARGUMENTS, Dashboard, chromium
from hyperhive.protocol import agent, host
from hyperhive.protocol.events import Outcome
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.web.route import Access, WebRoute
from hyperhive.web.routes import ROUTES
from manager_house import asks, at_rest
from outsider import Outsider

pytestmark = [pytest.mark.container, pytest.mark.timeout(180)]

VIPER = "viper"
VENOM = (
    """"'><img src=//evil.example/x onerror=__xss()><svg onload=__xss()></textarea></script><script>__xss()</script>"""
    """{{__xss()}}[c](javascript:__xss())<i hx-on:load=__xss() hx-get=/ hx-trigger=load>"""
)
"""In whatever an agent writes: it would run as text between tags, in an attribute, in markdown, or by htmx."""
MARK = "onerror=__xss()"
PROBE = "window.__xss = () => { window.__ran = true; };"
LOOK = """() => {
  const found = [];
  if (window.__ran) found.push("it ran");
  for (const element of document.querySelectorAll("*")) {
    for (const name of element.getAttributeNames()) {
      const value = element.getAttribute(name);
      if (/^(on|hx-on|data-hx-on)/.test(name)) found.push(`${element.tagName} ${name}`);
      if (/^(href|src|action|formaction|srcdoc)$/.test(name) && /^\\s*(javascript|data|vbscript):/i.test(value))
        found.push(`${element.tagName} ${name}=${value}`);
    }
    if (element.tagName === "SCRIPT" && !element.src) found.push("a script without a file");
  }
  return found;
}"""
"""What must not be there, whoever wrote it."""
NO_PAGES = {"/live", "/agents/{name}/live", "/agents/{name}/logs/live", "/agents/{name}/logs/text"}
"""Streams, and what the browser only saves."""
WALKED = [row for row in ROUTES if "GET" in row.methods and row.access is Access.SESSION and row.path not in NO_PAGES]


@dataclass(frozen=True)
class Nest:
    """A hive with an agent that has put venom into all that it can."""

    hive: HiveProcess
    browser: Browser
    approval: int
    message: int
    job: int

    def path(self, row: WebRoute) -> str:
        number = {"approvals": self.approval, "messages": self.message, "jobs": self.job}.get(
            row.path.split("/")[1], 1
        )
        return row.path.replace("{name}", VIPER).replace("{id:int}", str(number))


@pytest.fixture(scope="module")
def nest() -> Iterator[Nest]:
    needs.bwrap()
    needs.chromium()
    with running_hive(dashboard=True) as (hive, _):
        hive.ask(host.Spawn(name=VIPER))
        at_rest(hive, VIPER)
        approval = bitten(hive)
        hive.ask(host.Stop(scope=host.LifecycleScope(agent_names=[VIPER])))
        rows, jobs = hive.ask(host.Inbox()).inbox, hive.ask(host.Jobs()).jobs
        assert isinstance(rows, list)
        assert isinstance(jobs, list)
        with Outsider(hive.paths.agent_socket(VIPER)) as runner, chromium() as browser:
            hissed(runner)
            yield Nest(hive=hive, browser=browser, approval=approval, message=rows[-1].id, job=jobs[0].id)


def bitten(hive: HiveProcess) -> int:
    """What an agent writes for people; the approval of a config full of it."""
    asks(hive, VIPER, "set_status", text=VENOM)
    asks(hive, VIPER, "send", mid="venom", to="operator", body=VENOM, in_reply_to=None, turn=None)
    for multi in (False, True):
        asks(
            hive, VIPER, "ask", mid=f"venom {multi}", question=VENOM, options=[VENOM[:199], VENOM[40:]], multi=multi,
            ttl_seconds=3600, to=None,
        )  # fmt: skip
    asks(hive, VIPER, "remind", mid="venom", message=VENOM, delay_seconds=3600, at=None)
    repository = hive.paths.agent_config(VIPER)
    (repository / f"{VENOM.replace('/', '')[:120]}.md").write_text(VENOM + "\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", VENOM)
    rows = hive.ask(host.RequestApplyCommit(name=VIPER, description=VENOM)).approvals
    hive.ask(host.RequestSpawn(name="nestling", description=VENOM))
    asks(hive, VIPER, "set_status", text=VENOM)
    assert isinstance(rows, list)
    return rows[0].id


def hissed(runner: Outsider) -> None:
    """What a harness tells of its agent's turns and of itself."""
    welcome = runner.call(agent.HELLO.name, boot_id="a-boot-of-venom")
    told: list[dict[str, Any]] = [
        {"kind": "turn_start", "turn": "1", "from": "operator", "body": VENOM},
        {"kind": "tool_call", "tool": VENOM, "input": {VENOM: VENOM, "command": VENOM}},
        {"kind": "tool_call", "tool": "Bash", "input": {"command": VENOM, "description": VENOM}},
        {"kind": "tool_call", "tool": "Edit", "input": {"file_path": VENOM, "old_string": VENOM, "new_string": VENOM}},
        {"kind": "stream", "value": said("assistant", [{"type": "text", "text": VENOM}])},
        {"kind": "stream", "value": said("assistant", [{"type": "thinking", "thinking": VENOM}])},
        {"kind": "stream", "value": said("assistant", [{"type": "tool_use", "id": "t", "name": "Write", "input": {
            "file_path": f"/state/{VENOM}", "content": VENOM}}])},
        {"kind": "stream", "value": said("user", [{"type": "tool_result", "tool_use_id": "t", "content": VENOM}])},
        {"kind": "note", "text": VENOM, "level": "error"},
        {"kind": "status_changed", "text": VENOM},
        {"kind": "model_changed", "model": VENOM},
        {"kind": "turn_end", "turn": "1", "ok": False, "outcome": Outcome.FAILED, "note": VENOM},
        {"kind": VENOM[:60], "text": VENOM},
    ]  # fmt: skip
    first = welcome["events_seen"] + 1
    records = [{"seq": first + n, "ts": 1.5, "kind": one["kind"], "payload": one} for n, one in enumerate(told)]
    assert runner.call(agent.EVENTS.name, records=records)["seq"] == first + len(told) - 1
    login = {"state": "waiting", "url": "javascript:__xss()//https://claude.ai/", "note": VENOM}
    runner.call(
        agent.REPORT.name, turn_state=VENOM[:60], rest=VENOM[:60], model=VENOM[:200], session_id=VENOM[:200],
        needs_login=True, login=login,
    )  # fmt: skip


def said(kind: str, content: list[dict[str, object]]) -> dict[str, object]:
    return {"type": kind, "message": {"id": "m", "role": kind, "content": content}, "session_id": "s"}


@pytest.fixture
def page(nest: Nest) -> Iterator[Dashboard]:
    """A browser that is logged in, with a probe; what it asked of others is in `abroad`."""
    dashboard = Dashboard(nest.browser, nest.hive, viewport={"width": 1400, "height": 1000})
    dashboard.context.add_init_script(PROBE)
    try:
        dashboard.log_in()
        yield dashboard
    finally:
        dashboard.close()


@contextlib.contextmanager
def nothing_runs(page: Dashboard) -> Iterator[None]:
    own, abroad = urlsplit(page.page.url).netloc, list[str]()

    def note(url: str) -> None:
        if urlsplit(url).netloc != own:
            abroad.append(url)

    page.page.on("request", lambda request: note(request.url))
    page.complaints.clear()
    yield
    assert page.page.evaluate(LOOK) == []
    assert abroad == []
    assert [said for said in page.complaints if "Content Security Policy" in said] == []


@pytest.mark.parametrize("row", WALKED, ids=lambda row: row.path)
def test_nothing_that_an_agent_writes_runs_on_any_page(nest: Nest, page: Dashboard, row: WebRoute) -> None:
    with nothing_runs(page):
        page.page.goto(urlsplit(page.page.url)._replace(path=nest.path(row), query="").geturl(), wait_until="load")
        for details in page.page.locator("details:not([open]) > summary:visible").all()[:30]:
            with contextlib.suppress(Exception):  # it was replaced meanwhile, or stands under another
                details.click(timeout=500)
        page.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize("path", ["/", f"/agents/{VIPER}"])
def test_what_comes_to_a_page_that_is_open_does_not_run_either(nest: Nest, page: Dashboard, path: str) -> None:
    page.page.goto(urlsplit(page.page.url)._replace(path=path).geturl())
    page.is_live()
    expect(page.page.locator("body")).to_contain_text(MARK)
    with nothing_runs(page):
        body = f"{VENOM} once more on {path}"
        page.aside(lambda: asks(nest.hive, VIPER, "send", mid=body[-40:], to="operator", body=body, in_reply_to=None,
                                turn=None))  # fmt: skip
        page.aside(lambda: asks(nest.hive, VIPER, "set_status", text=f"{VENOM} anew"))
        if path == "/":
            expect(page.page.locator("#flow-list > li", has_text=f"once more on {path}").first).to_be_visible()
        else:
            expect(page.page.locator("body")).to_contain_text(MARK)


def test_the_probe_sees_what_would_run(page: Dashboard) -> None:
    """Without this the tests above could be green for nothing."""
    page.page.evaluate("venom => document.body.insertAdjacentHTML('beforeend', `<div>${venom}</div>`)", VENOM)
    assert "IMG onerror" in page.page.evaluate(LOOK)
    page.page.wait_for_function("() => true")


# other names


def test_a_name_that_somebody_points_to_this_machine_shows_nothing(nest: Nest, page: Dashboard) -> None:
    port = urlsplit(page.page.url).port
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    kind = nest.browser.browser_type
    with contextlib.closing(kind.launch(executable_path=needs.chromium(), args=[*ARGUMENTS, rules])) as browser:
        window = browser.new_page()
        for path in ("/", "/login", "/health", "/static/hive.js", "/api/v1/agents"):
            answer = window.goto(f"http://evil.example:{port}{path}")
            assert answer is not None
            assert answer.status == 421
