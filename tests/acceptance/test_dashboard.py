"""The overview in a real browser, on a real hive with real containers; only the model is scripted."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, expect

import needs
from config_house import git
from dashboard_page import Dashboard, chromium
from hyperhive.protocol import host
from hyperhive.rehearsal.script import Call, Gate, Say, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.testing.model import ScriptedModel
from manager_house import asks, at_rest

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

SEND = "mcp__hyperhive__send"
MARKUP = """<img src=x onerror=alert(1)><script>alert(2)</script>"'></textarea><b>{{7*7}}</b>"""
NASTY = MARKUP + " \u202ehidden"
SEEN = MARKUP + " ⟨U+202E⟩hidden"
SCOUT = host.LifecycleScope(agent_names=["scout"])
MORE_MEMORY = '\n[limits]\nmemory = "8G"\n'


@dataclass(frozen=True)
class House:
    hive: HiveProcess
    model: ScriptedModel
    browser: Browser


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """One hive with an agent that works, `scout`, and one that never begins a turn, `still`."""
    needs.bwrap()
    needs.claude()
    needs.chromium()
    with running_hive(dashboard=True) as (hive, model):
        model.script(
            "scout",
            on("hello", Gate("answer"), Call(SEND, {"to": "operator", "body": "**found** it"}), Say("told")),
            on("linger", Gate("linger"), Say("over")),
        )
        for name in ("scout", "still"):
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


def asked(page: Dashboard, question: str, *options: str, multi: bool = False) -> int:
    answer = asks(
        page.hive, "still", "ask", mid=question[:40], question=question, options=list(options), multi=multi,
        ttl_seconds=3600, to=None,
    )  # fmt: skip
    number: int = answer["id"]
    return number


def proposed(page: Dashboard, more: str = MORE_MEMORY, description: str = "It needs more memory") -> host.Approval:
    base = page.ask(host.Config(name="still")).config
    assert isinstance(base, host.AgentConfig)
    text = base.text.replace(MORE_MEMORY, "") + more
    rows = page.ask(host.EditConfig(name="still", text=text, base=base.sha, description=description)).approvals
    assert isinstance(rows, list)
    return rows[0]


def decided(page: Dashboard, number: int) -> host.Approval:
    rows = page.ask(host.Pending()).approvals
    assert isinstance(rows, list)
    return next(row for row in rows if row.id == number)


def focused(page: Dashboard) -> str:
    return str(page.page.evaluate("document.activeElement.id"))


def state(page: Dashboard, name: str) -> Locator:
    return page.agent(name).locator(".state")


# mail


def test_a_message_goes_where_its_text_says_and_its_receipt_follows_it(house: House, page: Dashboard) -> None:
    page.page.fill("#compose-to", "still")
    page.page.click("#compose-body")
    page.page.keyboard.type("@sc")
    expect(page.page.locator("#names [role=option]:visible")).to_have_text(["@scout"])
    page.page.keyboard.press("Tab")
    page.page.keyboard.type("hello there")
    page.page.keyboard.press("Control+Enter")
    message = page.page.locator("#flow-list > li", has_text="hello there")
    expect(message.locator("b").last).to_have_text("scout")
    expect(page.page.locator("#compose-body")).to_have_value("")
    expect(message.locator(".receipt")).to_have_text("read")
    expect(state(page, "scout")).to_have_text("thinking")
    house.model.gate("answer").open()
    expect(message.locator(".receipt")).to_have_text("handled")
    letter = page.page.locator("#inbox .letter", has_text="found it")
    expect(letter.locator("strong")).to_have_text("found")
    expect(page.page).to_have_title(re.compile(r"^\(\d+\) hyperhive$"))
    letter.get_by_role("button", name="Mark read").click()
    expect(page.page.locator("#inbox > .letter")).to_have_count(0)


def test_mail_to_nobody_is_refused_in_words_and_the_text_is_kept(page: Dashboard) -> None:
    page.write("hello?", to="scuot")
    expect(page.alert()).to_contain_text("did you mean 'scout'")
    expect(page.page.locator("#compose-body")).to_have_value("hello?")
    page.complaints.clear()  # the browser notes every answer that is no success


# decisions


def test_a_change_is_approved_by_the_sha_that_is_shown(page: Dashboard) -> None:
    row = proposed(page)
    card = page.approval(row.id)
    expect(card.locator(".added", has_text='memory = "8G"')).to_be_visible()
    expect(card.locator(".warnings")).to_contain_text("limits.memory: 4G becomes 8G")
    assert isinstance(row.fetched_sha, str)
    card.get_by_role("button", name=f"Approve {row.fetched_sha[:12]}").click()
    expect(card).to_have_count(0)
    expect(page.page.locator(f"#decided-{row.id}")).to_contain_text("approved")
    config = page.ask(host.Config(name="still")).config
    assert isinstance(config, host.AgentConfig)


def test_who_comes_too_late_with_a_decision_is_told_so(page: Dashboard) -> None:
    row = proposed(page, "\n# late\n")
    expect(page.approval(row.id)).to_be_visible()
    page.page.route("**/live*", lambda route: route.abort())
    page.page.goto(f"{page.page.url}approvals/{row.id}")
    page.ask(host.Deny(id=row.id, reason="no"))
    page.page.get_by_role("button", name="Approve").click()
    expect(page.alert()).to_have_text(re.compile("it is denied already"))
    page.complaints.clear()


def test_a_refusal_carries_its_reason(page: Dashboard) -> None:
    row = proposed(page, "\n# denied\n")
    page.approval(row.id).get_by_role("textbox").fill("not <b>today</b>")
    page.approval(row.id).get_by_role("button", name="Deny").click()
    expect(page.approval(row.id)).to_have_count(0)
    assert decided(page, row.id).note == "not <b>today</b>"


def test_the_keyboard_alone_approves(page: Dashboard) -> None:
    row = proposed(page, "\n# by hand\n")
    expect(page.approval(row.id)).to_be_visible()
    for _ in range(60):
        page.page.keyboard.press("Tab")
        if focused(page) == f"approve-{row.id}":
            break
    assert focused(page) == f"approve-{row.id}"
    page.page.keyboard.press("Enter")
    expect(page.approval(row.id)).to_have_count(0)
    assert decided(page, row.id).status == "approved"


# questions


def test_a_question_is_answered_by_its_options_and_in_free_words(page: Dashboard) -> None:
    one = asked(page, "Which branch?", "main", "next")
    page.question(one).get_by_label("next").check()
    expect(page.question(one).locator("time").last).to_have_text("in 59 min")
    page.question(one).get_by_role("button", name="Answer").click()
    expect(page.question(one)).to_have_count(0)
    several = asked(page, "Which colours?", "red", "green", "blue", multi=True)
    page.question(several).get_by_label("red").check()
    page.question(several).get_by_label("blue").check()
    page.question(several).get_by_role("textbox").fill("and a little grey")
    page.question(several).get_by_role("button", name="Answer").click()
    expect(page.question(several)).to_have_count(0)
    rows = page.ask(host.Questions(all=True)).questions
    assert isinstance(rows, list)
    answers = {row.id: row.answer for row in rows}
    assert (answers[one], answers[several]) == ("next", "red\nblue\nand a little grey")


# lives


def test_an_agent_is_stopped_started_and_paused_and_what_is_lost_is_said_first(page: Dashboard) -> None:
    page.page.locator("#spawning > summary").click()
    page.page.fill("#spawn-name", "brief")
    page.page.click("#spawn-send")
    expect(page.agent("brief")).to_be_visible()
    page.menu("brief", "Stop brief")
    assert "mail waits until it is started again" in page.question_asked()
    page.confirm(yes=False)
    page.menu("brief", "Stop brief")
    page.confirm()
    expect(state(page, "brief")).to_have_text("stopped")
    page.agent("brief").get_by_role("button", name="Start").click()
    expect(state(page, "brief")).to_have_text(re.compile("warm|dozing|thinking"))
    page.agent("brief").get_by_role("button", name="Pause").click()
    expect(state(page, "brief")).to_have_text("paused")
    page.menu("brief", "Destroy brief")
    assert "kept as a tombstone" in page.question_asked()
    page.confirm()
    expect(page.agent("brief")).to_have_count(0)
    page.page.locator("#tombstone-brief").get_by_role("button", name="Purge").click()
    assert "lost for good" in page.question_asked()
    page.confirm()
    expect(page.page.locator("#tombstone-brief")).to_have_count(0)


def test_what_an_agent_leaves_behind_waits_for_the_operator(page: Dashboard) -> None:
    page.ask(host.Spawn(name="doomed"))
    page.aside(at_rest, page.hive, "doomed")
    lost = page.aside(page.hive.send, "doomed", "never handled")
    page.ask(host.Destroy(name="doomed"))
    dead = page.page.locator(f"#dead-{lost}")
    expect(dead).to_contain_text("never handled")
    dead.get_by_role("button", name="Try again").click()
    expect(page.alert()).to_contain_text("cannot requeue")
    dead.get_by_role("button", name="Drop").click()
    assert "never be handled" in page.question_asked()
    page.confirm()
    expect(dead).to_have_count(0)
    page.page.locator("#tombstone-doomed").get_by_role("button", name="Revive").click()
    expect(page.agent("doomed")).to_be_visible()
    page.ask(host.Destroy(name="doomed", purge=True))
    page.complaints.clear()  # the browser notes every answer that is no success


def test_a_job_says_in_the_agents_row_what_it_is_at(page: Dashboard) -> None:
    page.page.evaluate("""() => { window.said = new Set();
      new MutationObserver(() => { const job = document.querySelector("#agent-still .job");
        if (job) window.said.add(job.textContent); }).observe(document.body, {subtree: true, childList: true,
        characterData: true}); }""")
    page.ask(host.Restart(name="still"))
    page.page.wait_for_function("[...window.said].some(said => said.startsWith('restart: '))")
    expect(page.agent("still").locator(".job")).to_have_count(0)
    job = page.page.locator("#jobs li", has_text="restart still").first
    job.locator("summary").click()
    expect(job.locator("pre.log")).to_be_visible()


def test_the_open_log_of_a_job_goes_on_with_it(house: House, page: Dashboard) -> None:
    page.write("linger", to="scout")
    expect(state(page, "scout")).to_have_text("thinking")
    stopping = threading.Thread(target=house.hive.ask, args=[host.Stop(scope=SCOUT, graceful=True)])
    stopping.start()
    job = page.page.locator("#jobs li", has_text="stop scout").first
    job.locator("summary").click()
    expect(job.locator("pre.log")).to_have_text(re.compile("waiting for its turn to end"))
    with page.page.expect_response("**/jobs/*/log"):
        house.model.gate("linger").open()
    expect(state(page, "scout")).to_have_text("stopped")
    expect(job.locator("pre.log")).to_have_text(re.compile("waiting for its turn to end"))
    stopping.join()
    page.ask(host.Start(scope=SCOUT))


# what an agent writes is text


def test_nothing_that_an_agent_writes_becomes_markup(page: Dashboard) -> None:
    page.page.evaluate("() => { window.alert = () => document.body.append('ATTACKED'); }")
    asks(page.hive, "still", "set_status", text=NASTY)
    asks(page.hive, "still", "send", mid="nasty", to="operator", body=NASTY, in_reply_to=None, turn=None)
    question = asked(page, NASTY, NASTY)
    repository = page.hive.paths.agent_config("still")
    (repository / f"{MARKUP.replace('/', '')[:80]}.md").write_text(NASTY + "\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "nasty")
    rows = page.ask(host.RequestApplyCommit(name="still", description=NASTY)).approvals
    assert isinstance(rows, list)
    spawned = page.ask(host.RequestSpawn(name="nasty", description=NASTY)).ids
    assert isinstance(spawned, list)
    expect(page.agent("still").locator(".doing")).to_contain_text(SEEN)
    expect(page.page.locator("#inbox .letter").first).to_contain_text(SEEN)
    expect(page.page.locator("#flow-list > li", has_text="hidden").first.locator(".body")).to_have_text(SEEN)
    expect(page.question(question).locator(".said")).to_have_text(SEEN)
    expect(page.question(question).locator("label.option")).to_have_text(SEEN)
    card = page.approval(rows[0].id)
    expect(card.locator(".said")).to_have_text(SEEN)
    expect(card.locator(".added").first).to_contain_text(SEEN)
    expect(card.locator("figcaption code").first).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.approval(spawned[0]).locator(".said")).to_have_text(SEEN)
    page.approval(spawned[0]).get_by_role("textbox").fill(NASTY)
    page.approval(spawned[0]).get_by_role("button", name="Deny").click()
    page.page.locator("#decided > summary").click()
    expect(page.page.locator(f"#decided-{spawned[0]}")).to_contain_text(SEEN)
    page.write("x", to=NASTY[:100])
    expect(page.alert()).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.page.locator("main img, main script, main b:text-is('49')").count() == 0
    expect(page.page.locator("body")).not_to_contain_text("ATTACKED")
    assert not [said for said in page.complaints if "409" not in said and "404" not in said], page.complaints
    page.complaints.clear()
    page.ask(host.Deny(id=rows[0].id))
    page.ask(host.CancelQuestion(id=question))


# staying


def test_typing_and_what_is_open_survive_fifty_events_a_second(page: Dashboard) -> None:
    page.ask(host.Deny(id=proposed(page, "\n# shut\n").id))
    row = proposed(page, "\n# open\n")
    question = asked(page, "While it rains?", "yes", "no")
    card = page.question(question)
    card.get_by_label("no").check()
    card.get_by_role("textbox").fill("half an ans")
    page.page.locator("#decided > summary").click()
    page.page.locator("#spawning > summary").click()
    page.page.fill("#spawn-name", "half")
    body = page.page.locator("#compose-body")
    body.click()
    text, status = page.type_in_the_rain("still")
    expect(page.agent("still").locator(".doing")).to_contain_text(status)
    expect(body).to_have_value(text)
    expect(body).to_be_focused()
    assert page.page.evaluate("document.getElementById('compose-body').selectionStart") == len(text)
    expect(card.get_by_label("no")).to_be_checked()
    expect(card.get_by_role("textbox")).to_have_value("half an ans")
    expect(page.page.locator("#decided")).to_have_attribute("open", "")
    expect(page.page.locator("#spawning")).to_have_attribute("open", "")
    expect(page.page.locator("#spawn-name")).to_have_value("half")
    page.ask(host.Deny(id=row.id))
    page.ask(host.CancelQuestion(id=question))


def test_a_hive_that_is_killed_and_comes_back_finds_the_page_where_it_was(house: House, page: Dashboard) -> None:
    house.hive.dashboard_port = urlsplit(page.page.url).port or 0
    page.page.fill("#compose-body", "half a thought")
    before = page.aside(house.hive.send, "still", "before")
    expect(page.message(before)).to_be_visible()
    page.aside(house.hive.kill)
    expect(page.page.locator("#offline")).to_be_visible()
    page.aside(house.hive.start)
    after = page.aside(house.hive.send, "still", "after")
    expect(page.message(after)).to_be_visible()
    page.is_live()
    expect(page.page.locator("#offline")).to_be_hidden()
    expect(page.page.locator("#compose-body")).to_have_value("half a thought")
    ids = page.page.locator("#flow-list > li").evaluate_all("rows => rows.map(row => row.id)")
    assert len(ids) == len(set(ids))
    assert {f"message-{before}", f"message-{after}"} <= set(ids)
    page.complaints.clear()  # the browser notes that nobody answered


def test_whoever_is_logged_out_elsewhere_is_told_and_keeps_what_was_typed(page: Dashboard) -> None:
    page.page.fill("#compose-body", "half a thought")
    rows = page.ask(host.WebSessions()).web_sessions
    assert isinstance(rows, list)
    page.ask(host.RevokeWebSession(id=rows[0].id))
    expect(page.page.locator("#logged-out")).to_be_visible()
    expect(page.page.locator("#compose-body")).to_have_value("half a thought")
    page.complaints.clear()  # the browser notes that it was turned away


def test_all_of_a_long_message_is_fetched_and_stays_while_others_come(page: Dashboard) -> None:
    number = page.aside(page.hive.send, "still", "word " * 500 + "the end")
    more = page.message(number).locator("details.more")
    more.locator("summary").click()
    expect(more.locator(".body")).to_contain_text("the end")
    other = page.aside(page.hive.send, "still", "another")
    expect(page.message(other)).to_be_visible()
    expect(more.locator(".body")).to_contain_text("the end")


def test_a_change_is_compared_with_other_commits_and_approved_against_what_is_deployed(page: Dashboard) -> None:
    first = proposed(page, "\n# first\n")
    second = proposed(page, "\n# first\n# second\n")
    page.approval(second.id).get_by_role("link", name="compare").click()
    expect(page.page.locator(".diff .added")).to_have_count(3)
    page.page.get_by_role("link", name="the proposal before").click()
    expect(page.page.locator(".diff .added")).to_have_text(re.compile("# second"))
    expect(page.page.get_by_role("button", name="Approve")).to_have_count(0)
    page.page.get_by_role("link", name="what is deployed").last.click()
    page.page.get_by_role("button", name="Approve").click()
    page.is_live()
    expect(page.approval(second.id)).to_have_count(0)
    assert decided(page, second.id).status == "approved"
    page.ask(host.Deny(id=first.id))


# how it looks


@pytest.mark.parametrize("theme", ["light", "dark", "vibec0re"])
def test_every_text_stands_out_from_its_ground(page: Dashboard, theme: str) -> None:
    page.page.select_option("#theme", theme)
    page.page.reload()
    page.is_live()
    assert page.page.locator("html").get_attribute("data-theme") == theme
    assert page.page.evaluate(FAINT) == []


def test_a_phone_shows_all_of_it_without_scrolling_sideways(house: House) -> None:
    page = Dashboard(house.browser, house.hive, viewport={"width": 390, "height": 844}, has_touch=True)
    try:
        page.log_in()
        page.write("from the phone", to="still")
        expect(page.page.locator("#flow-list > li", has_text="from the phone")).to_be_visible()
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
    finally:
        page.close()


FAINT = """() => {
  const part = value => { const c = value / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const colour = text => text.match(/[\\d.]+/g).map(Number);
  const ground = element => { for (let e = element; e; e = e.parentElement) {
    const c = colour(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; }
    return [255, 255, 255]; };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const [a, b] = [light(colour(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${element.className} ${element.textContent.slice(0, 30)} ${ratio}`);
  }
  return faint;
}"""
"""Texts with less than 4.5:1 between them and what is behind them."""
