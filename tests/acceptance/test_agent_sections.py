"""What stands beside an agent's terminal, and the pages of its config, logs, stats and history, in a real browser."""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

import needs
from dashboard_page import Dashboard, chromium
from hyperhive.containers.records import Place
from hyperhive.protocol import host
from hyperhive.rehearsal.script import Fail, Say, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.testing.model import ScriptedModel
from hyperhive.web.history_page import PER_PAGE
from manager_house import asks, at_rest
from scripted_login import CODE, LINK, SCRIPTED_LOGIN

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

MARKUP = """<img src=x onerror=alert(1)><script>alert(2)</script>"'></textarea><b>{{7*7}}</b>"""
NASTY = MARKUP + " \u202ehidden"
SEEN = MARKUP + " ⟨U+202E⟩hidden"
BOLD = "<b>\u202e<img src=x onerror=alert(1)>"
LOGIN_ENV = f"[env]\nHYPERHIVE_LOGIN_CMD = {json.dumps(SCRIPTED_LOGIN)}\n"  # TOML has JSON's strings


@dataclass(frozen=True)
class House:
    hive: HiveProcess
    model: ScriptedModel
    browser: Browser


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One hive with an agent that works, `scout`, one that is not logged in, `outsider`, and `still`, at rest."""
    needs.bwrap()
    needs.claude()
    needs.chromium()
    with running_hive(dashboard=True) as (hive, model):
        model.script("scout", on("fail", Fail(400, may_retry=False)), on("", Say("done")))
        model.script("outsider", on("hello", Fail(401, may_retry=False, times=1), Say("here I am")))
        hive.prepare("outsider", LOGIN_ENV)
        for name in ("scout", "outsider", "still"):
            hive.ask(host.Spawn(name=name))
        at_rest(hive, "still")
        with chromium() as browser:
            yield House(hive, model, browser)


@pytest.fixture
def page(house: House) -> Iterator[Dashboard]:
    """A browser that is logged in; nothing of it may have been refused by the pages' own policy."""
    dashboard = Dashboard(house.browser, house.hive, viewport={"width": 1400, "height": 1000})
    try:
        dashboard.log_in()
        yield dashboard
        assert dashboard.complaints == []
    finally:
        dashboard.close()


def opened(page: Dashboard, path: str) -> None:
    page.page.goto(f"{page.page.url.split('/', 3)[0]}//{page.page.url.split('/', 3)[2]}{path}")


def section(page: Dashboard, name: str) -> Locator:
    return page.page.locator(f"#agent_{name}")


def deployments(page: Dashboard, name: str) -> list[host.Deployment]:
    rows = page.ask(host.Deployments(name=name)).deployments
    assert isinstance(rows, list)
    return rows


def test_an_agent_is_logged_in_from_its_page_and_goes_on_by_itself(house: House, page: Dashboard) -> None:
    opened(page, "/agents/outsider")
    page.is_live()
    message = page.aside(page.hive.send, "outsider", "hello")
    login = section(page, "login")
    expect(login).to_contain_text("its login was refused")
    login.get_by_role("button", name="Log in").click()
    link = page.page.locator("#login-link")
    expect(link).to_have_attribute("href", LINK)
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    code = page.page.locator("#login-code")
    expect(code).to_have_attribute("type", "password")
    expect(code).to_have_attribute("autocomplete", "off")
    page.screenshot("agent-login")
    other = page.context.new_page()
    other.goto(page.page.url)  # whoever looks sees the same login
    expect(other.locator("#login-link")).to_have_attribute("href", LINK)
    code.fill("a-wrong-code#a-state")
    code.press("Enter")
    expect(login.locator(".problem")).to_contain_text("nobody knows [the code]")
    expect(other.locator("#agent_login .problem")).to_contain_text("nobody knows [the code]")
    login.get_by_role("button", name="Log in").click()
    page.page.get_by_role("button", name="Cancel the login").click()
    expect(login).to_contain_text("The login was cancelled")
    login.get_by_role("button", name="Log in").click()
    code.fill(CODE)
    code.press("Enter")
    expect(login).to_contain_text("The agent goes on by itself")
    expect(other.locator("#agent_login")).to_contain_text("The agent goes on by itself")
    expect(page.page.locator(f"#to-agent-{message} .receipt")).to_have_text(re.compile("handled"))
    assert CODE not in page.hive.log.read_text()
    assert "a-wrong-code" not in page.hive.log.read_text()


def test_a_link_that_is_not_claudes_is_no_link(page: Dashboard) -> None:
    for url in ("https://claude.ai.evil.example/x", "javascript:alert(1)", f"https://evil.example/{NASTY}"):
        asks(page.hive, "still", "report", login={"state": "waiting", "url": url, "note": NASTY})
        opened(page, "/agents/still")
        expect(page.page.locator("#login-text")).to_have_text(url.replace("\u202e", "⟨U+202E⟩"))
        expect(section(page, "login").locator("a")).to_have_count(0)
    asks(page.hive, "still", "report", login={"state": "failed", "url": "", "note": NASTY})
    expect(section(page, "login").locator(".problem")).to_contain_text(SEEN)


def test_an_edit_with_faults_is_refused_with_their_lines_and_a_good_one_becomes_a_proposal(page: Dashboard) -> None:
    opened(page, "/agents/still")
    section(page, "config").get_by_role("link", name="Edit agent.toml").click()
    text = page.page.locator("#edit-text")
    before = text.input_value()
    text.fill(before + "\n[limits]\nmemory = 7\nnonsense = true\n")
    page.page.click("#edit-send")
    result = page.page.locator("#edit-result")
    line = before.count("\n") + 3
    expect(result).to_contain_text(f"line {line}: ")
    expect(result).to_contain_text(f"line {line + 1}: ")
    page.complaints.clear()  # the browser notes every answer that is no success
    text.fill(before + '\n[limits]\nmemory = "5G"\n')
    page.page.fill("#edit-why", NASTY)
    page.page.click("#edit-send")
    expect(result).to_contain_text("nothing changes before you approve it")
    result.get_by_role("link").click()
    expect(page.page.locator(".added", has_text='memory = "5G"')).to_be_visible()
    number = int(page.page.url.rpartition("/")[2])
    opened(page, "/agents/still")
    page.is_live()
    pending = page.page.locator(f"#config-pending-{number}")
    expect(pending).to_contain_text(SEEN)
    expect(page.page.locator(f"#end-approval-{number}")).to_contain_text(SEEN)
    page.ask(host.Approve(id=number))
    expect(pending).to_have_count(0)
    expect(section(page, "config").locator("tr", has_text="limits.memory")).to_contain_text('"5G"')
    expect(page.page.locator(f"#deployment-{number}")).to_contain_text("is live")
    expect(page.page.locator(f"#deployment-{number}")).to_contain_text(SEEN)
    expect(page.page.locator(f"#deployment-{number} a")).to_have_attribute("href", f"/approvals/{number}")
    page.screenshot("agent-config")
    page.page.locator("#deployment-0").get_by_role("button", name="Roll back to this").click()
    asked = page.question_asked()
    assert "Roll still back to deployed/0? A job makes its container anew" in asked
    page.confirm(yes=False)
    assert deployments(page, "still")[0].id == number
    page.page.locator("#deployment-0").get_by_role("button", name="Roll back to this").click()
    page.confirm()
    newest = section(page, "config").locator("#config-history li").first
    expect(newest).to_contain_text("rollback to deployed/0")
    expect(newest).to_contain_text("is live")
    expect(section(page, "config").locator("tr", has_text="limits.memory")).not_to_contain_text('"5G"')


def test_mail_questions_and_reminders_of_an_agent_show_as_they_come_and_go(page: Dashboard) -> None:
    opened(page, "/agents/still")
    page.is_live()
    long = f"{NASTY} {'word ' * 200} the end of it"
    number = page.aside(page.hive.send, "still", long)
    row = page.page.locator(f"#to-agent-{number}")
    expect(row.locator(".receipt")).to_have_text("sent")
    expect(row.locator(".body").first).to_contain_text(SEEN)
    row.locator("summary").click()
    expect(row.locator(".fetched")).to_contain_text("the end of it")
    asked = asks(page.hive, "still", "ask", mid="q1", question=NASTY, options=[], multi=False, ttl_seconds=60, to=None)
    expect(page.page.locator(f"#end-question-{asked['id']}")).to_contain_text(SEEN)
    reminder = asks(page.hive, "still", "remind", mid="r1", message=NASTY, delay_seconds=3600)
    shown = page.page.locator(f"#end-reminder-{reminder['id']}")
    expect(shown).to_contain_text(SEEN)
    shown.get_by_role("button", name="Cancel").click()
    assert "still will not be reminded" in page.question_asked()
    page.confirm()
    expect(shown).to_have_count(0)


def writes(hive: HiveProcess, name: str, text: str) -> None:
    """As the hive keeps what the container writes."""
    with Place(hive.paths.containers, f"h-{name}").log.open("a") as log:
        log.write(text)


def test_the_log_is_followed_and_only_ever_shown_as_text(page: Dashboard) -> None:
    writes(page.hive, "still", f"first {NASTY}\n")
    opened(page, "/agents/still/logs?lines=50")
    log = page.page.locator("#log")
    expect(log).to_contain_text(f"first {SEEN}")
    page.page.check("#log-follow")
    page.page.click("#log-show")
    page.is_live()
    expect(log).to_contain_text(f"first {SEEN}")
    writes(page.hive, "still", f"bell \a escape \033[31m {MARKUP}\n")
    expect(log).to_contain_text(f"bell ␇ escape ␛[31m {MARKUP}")
    assert log.evaluate("element => element.querySelectorAll('*').length") == 0
    page.page.uncheck("#wrap")
    assert log.evaluate("element => getComputedStyle(element).whiteSpace") == "pre"
    page.page.check("#wrap")
    log.evaluate("element => { element.dataset.most = 100; }")
    writes(page.hive, "still", "".join(f"line {number}\n" for number in range(3000)))
    expect(log).to_contain_text("line 2999")
    assert log.evaluate("element => element.textContent").startswith("line 2900\n")
    assert log.evaluate("element => element.scrollHeight - element.scrollTop - element.clientHeight") < 2
    page.screenshot("logs")
    with page.page.expect_download() as download:
        page.page.get_by_role("link", name="Download as text").click()
    assert download.value.suggested_filename == "still-container.log"
    assert "bell ␇ escape ␛[31m" in download.value.path().read_text()
    for path in ("/agents/still/logs?unit=kernel", "/agents/nobody/logs"):
        opened(page, path)
        expect(page.page.locator("#main h1")).to_have_text("Not here")
    expect(page.page.locator("#main")).to_contain_text("nobody")
    page.complaints.clear()  # the browser notes every answer that is no success


def test_turns_are_counted_on_the_agents_page_and_for_all(page: Dashboard) -> None:
    opened(page, "/agents/scout")
    page.is_live()
    for body in ("one", "fail", "two"):
        page.aside(page.hive.send, "scout", body)
    stats = section(page, "stats")
    expect(stats.locator(".shares")).to_contain_text(re.compile(r"[12] ok"))
    expect(stats.locator(".shares")).to_contain_text("failed")
    expect(stats.locator("svg[role=img] rect").first).to_be_attached()
    assert stats.locator("svg").get_attribute("aria-labelledby")
    page.screenshot("agent-stats")
    opened(page, "/stats?window=7d")
    expect(page.page.locator("tr", has_text="scout").first).to_be_visible()
    expect(page.page.locator("svg rect.not-ok").first).to_be_attached()
    page.page.locator("#stats-parts summary").click()
    expect(page.page.locator("#stats-parts tbody tr")).to_have_count(28)
    page.screenshot("stats")
    page.page.get_by_role("link", name="scout").first.click()
    expect(page.page.locator("h1")).to_have_text("Turns of scout")
    shown = page.ask(host.Stats(name="scout", window="7d")).stats
    assert isinstance(shown, host.TurnStats)
    assert {each.name for each in shown.outcomes} >= {"ok", "failed"}
    assert page.aside(page.hive.status, "scout").cost_today_usd


def test_a_harness_can_say_what_it_likes_of_its_turns(page: Dashboard) -> None:
    asks(page.hive, "still", "report", model=f"{BOLD} model")
    events: list[dict[str, Any]] = [
        {"kind": "turn_start", "turn": "t1", "from": f"{BOLD} cause", "body": NASTY},
        {
            "kind": "turn_end", "turn": "t1", "ok": False, "outcome": f"{BOLD} outcome", "note": NASTY,
            "duration_ms": 10**40, "cost_usd": 1e308, "input_tokens": 2**80, "output_tokens": -5, "tool_calls": 2**63,
        },
    ]  # fmt: skip
    now = time.time() - 1
    records = [{"seq": 10**6 + at, "ts": now, "kind": each["kind"], "payload": each} for at, each in enumerate(events)]
    asks(page.hive, "still", "events", records=records)
    opened(page, "/agents/still/stats")
    for word in ("model", "cause", "outcome"):
        expect(page.page.locator("#stats")).to_contain_text(f"{BOLD} {word}".replace("\u202e", "⟨U+202E⟩"))
    expect(page.page.locator("#stats")).to_contain_text("$1000.00")
    opened(page, "/agents/still")
    expect(section(page, "stats")).to_contain_text("168.0 h")
    expect(page.page.locator("#agent_stats b, #agent_stats img")).to_have_count(0)


def test_history_has_who_decided_what_and_pages_back_to_the_first(page: Dashboard) -> None:
    row = page.ask(host.RequestSpawn(name="phantom", description=NASTY)).approvals
    number = max(each.id for each in (page.ask(host.Pending()).approvals or []) if each.agent == "phantom")
    assert row is not None
    page.ask(host.Deny(id=number, reason=NASTY))
    opened(page, "/history")
    denied = page.page.locator(f"#approval-{number}")
    expect(denied).to_contain_text("denied")
    expect(denied).to_contain_text("the operator decided")
    expect(denied.locator(".body").last).to_contain_text(SEEN)
    job = page.page.locator("#history-jobs li", has_text="spawn still")
    expect(job).to_contain_text("by operator")
    job.locator("summary").click()
    expect(job.locator(".log")).not_to_be_empty()
    page.screenshot("history")
    for count in range(PER_PAGE):
        page.ask(host.RequestSpawn(name=f"phantom-{count}"))
    page.page.reload()
    expect(denied).to_have_count(0)
    page.page.click("#older-approvals")
    expect(denied).to_contain_text("denied")
    expect(page.page.locator("#older-approvals")).to_have_count(0)


def test_of_an_agent_that_is_gone_nothing_is_offered_any_more(page: Dashboard) -> None:
    opened(page, "/agents/outsider")
    page.is_live()
    expect(section(page, "config")).to_be_visible()
    page.ask(host.Destroy(name="outsider"))
    for name in ("login", "inbox", "ends", "config", "stats"):
        expect(section(page, name)).to_be_hidden()
    assert "a section could not be drawn" not in page.hive.log.read_text()
