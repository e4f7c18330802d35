"""What makes the pages good to live in, in a real browser: the palette, notifications, any screen, any hands."""

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, expect

import dashboard_scene as scene
import needs
from axe import violations
from dashboard_page import Dashboard, chromium
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, running_hive
from web_visitor import Visitor

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

DESK = {"width": 1440, "height": 1000}
PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 700}
PAGES = {"overview": "/", "approval": "/approvals/1", "agent": "/agents/scout", "logs": "/agents/scout/logs",
         "history": "/history", "stats": "/stats", "settings": "/settings"}  # fmt: skip
RECORD = """
window.told = [];
window.Notification = class extends Notification {
  constructor(title, options) { super(title, options); window.told.push(this); }
};
"""
"""Keeps every notification that a page makes."""
ALONE = "async () => { const {held, pending} = await navigator.locks.query(); return held.length && !pending.length; }"
"""Whether the page is the one that announces: it has waited for the others to close."""


@dataclass(frozen=True)
class House:
    hive: HiveProcess
    browser: Browser


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    needs.bwrap()
    needs.claude()
    needs.chromium()
    with running_hive(manager=True, dashboard=True) as (hive, _):
        scene.furnish(hive)
        with chromium() as browser:
            yield House(hive, browser)


@pytest.fixture
def visit(house: House) -> Iterator[Callable[..., Dashboard]]:
    """Browsers, each logged in; the pages' own policy may have refused nothing of them."""
    open_ones: list[Dashboard] = []

    def come(**options: object) -> Dashboard:
        dashboard = Dashboard(house.browser, house.hive, **{"viewport": DESK, **options})
        open_ones.append(dashboard)
        dashboard.log_in()
        return dashboard

    try:
        yield come
        assert [dashboard.complaints for dashboard in open_ones] == [[] for _ in open_ones]
    finally:
        for dashboard in open_ones:
            dashboard.close()


@pytest.fixture
def page(visit: Callable[..., Dashboard]) -> Dashboard:
    return visit()


def asked(page: Dashboard, text: str) -> int:
    return page.aside(scene.question, page.hive, "scout", text)


def find(page: Dashboard, words: str) -> None:
    """By the palette, with the keyboard."""
    page.page.keyboard.press("Control+k")
    expect(page.page.locator("#palette-entries li").first).to_be_visible()
    page.page.keyboard.type(words)


# the palette and the shortcuts


def test_the_palette_does_what_is_found_and_asks_before_something_is_lost(page: Dashboard) -> None:
    page.page.get_by_role("button", name="Go to").click()
    expect(page.page.locator("#palette-filter")).to_be_focused()
    expect(page.page.get_by_role("link", name="History").last).to_be_visible()
    page.screenshot("palette")
    page.page.keyboard.press("Escape")
    find(page, "stop scout")
    page.page.keyboard.press("Enter")
    assert "A turn under way is broken off" in page.question_asked()
    page.confirm(yes=False)
    expect(page.page.locator("#palette")).to_be_hidden()
    find(page, "write reviewer")
    page.page.keyboard.press("Enter")
    expect(page.page.locator("#compose-body")).to_be_focused()
    expect(page.page.locator("#compose-to")).to_have_value("reviewer")
    find(page, "theme")
    expect(page.page.locator("#palette-entries li:visible")).to_have_count(4)
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
        page.page.keyboard.press(key)
    expect(page.page.locator("html")).to_have_attribute("data-theme", "dark")
    find(page, "nothing of that name")
    expect(page.page.locator("#palette-none")).to_be_visible()
    page.page.keyboard.press("Escape")
    find(page, "pause writer")
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("resume writer")
    page.page.keyboard.press("Enter")
    expect(page.agent("writer").locator(".state")).to_have_text("stopped")


def test_the_palette_leads_to_what_waits_and_decides_nothing(page: Dashboard) -> None:
    find(page, "decide")
    page.page.keyboard.press("Enter")
    expect(page.approval(1)).to_be_focused()
    rows = page.ask(host.Pending()).approvals
    assert isinstance(rows, list)
    assert next(row for row in rows if row.id == 1).status == "pending"
    find(page, "scout")
    page.page.get_by_role("link", name="scout", exact=True).last.click()
    page.page.wait_for_url("**/agents/scout")
    page.complaints.clear()  # of the page that it leads to others speak


def test_shortcuts_lead_to_pages_and_none_does_anything_while_one_types(page: Dashboard) -> None:
    page.page.keyboard.press("?")
    expect(page.page.locator("#help")).to_be_visible()
    page.screenshot("help")
    page.page.keyboard.press("Escape")
    page.page.keyboard.press("c")
    page.page.keyboard.type("c?gh")
    expect(page.page.locator("#compose-body")).to_have_value("c?gh")
    expect(page.page.locator("#help")).to_be_hidden()
    page.page.locator("h1").evaluate("document.activeElement.blur()")
    page.page.keyboard.type("ga")
    expect(page.page.locator("#approvals")).to_be_focused()
    page.page.keyboard.type("gh")
    page.page.wait_for_url("**/history")
    page.page.keyboard.type("go")
    page.page.wait_for_url(re.compile("/$"))
    page.is_live()


# notifications


def titles(page: Dashboard) -> list[str]:
    found: list[str] = page.page.evaluate("window.told.map(one => one.title)")
    return found


def told(page: Dashboard, title: str) -> None:
    page.page.wait_for_function("title => window.told.some(one => one.title === title)", arg=title)


def test_what_newly_waits_is_announced_by_one_page_unless_its_kind_is_muted(page: Dashboard) -> None:
    page.context.grant_permissions(["notifications"])
    page.context.add_init_script(RECORD)
    page.page.reload()
    page.is_live()
    other = page.context.new_page()
    other.goto(page.page.url)
    expect(other.locator("#connection")).to_have_text("live")
    page.page.get_by_role("button", name="Notify").click()
    expect(page.page.locator("#notifying")).to_contain_text("They are on")
    page.screenshot("notifications")
    page.page.get_by_label("Mail to you").uncheck()
    page.page.keyboard.press("Escape")
    letter = page.aside(scene.letter, page.hive, "scout", "nobody hears of this")
    expect(page.page.locator(f"#letter-{letter}")).to_be_visible()
    number = asked(page, "Does somebody hear of this?")
    told(page, "scout asks")
    expect(other.locator(f"#question-{number}")).to_be_visible()
    assert titles(page) == ["scout asks"]
    assert other.evaluate("window.told.length") == 0
    page.page.evaluate("window.told[0].dispatchEvent(new Event('click'))")
    expect(page.question(number)).to_be_focused()
    page.page.close()
    page.page = other
    other.wait_for_function(ALONE)
    again = asked(page, "And of this?")
    told(page, "scout asks")
    for each in (number, again):
        page.ask(host.CancelQuestion(id=each))
    page.ask(host.InboxHandled(ids=[letter]))


def test_notifications_are_asked_for_by_a_button_only(visit: Callable[..., Dashboard]) -> None:
    page = visit()
    page.page.get_by_role("button", name="Notify").click()
    state = page.page.evaluate("Notification.permission")
    expect(page.page.locator(f"#notifying [data-when={state}]")).to_be_visible()
    expect(page.page.locator("#notifying [data-when]:visible")).to_have_count(1)


def test_the_tab_says_how_it_is(page: Dashboard) -> None:
    icon = page.page.locator("#icon")
    expect(page.page).to_have_title(re.compile(r"^\([1-9]\d*\) hyperhive$"))
    expect(icon).to_have_attribute("href", re.compile("favicon-waiting"))
    page.page.route("**/live*", lambda route: route.abort())
    page.page.reload()
    expect(icon).to_have_attribute("href", re.compile("favicon-offline"))
    page.page.unroute("**/live*")
    page.is_live()
    expect(icon).to_have_attribute("href", re.compile("favicon-waiting"))
    page.complaints.clear()  # the browser notes what was cut


# the overview


def test_agents_that_need_the_operator_come_first_and_lead_to_where_it_is_done(page: Dashboard) -> None:
    names = page.page.locator("#agents .name")
    expect(names).to_have_text(["reviewer", "manager", "builder", "scout", "writer"])
    expect(page.agent("reviewer").get_by_role("link", name="log in")).to_have_attribute(
        "href", "/agents/reviewer#agent_login"
    )
    expect(page.agent("reviewer").locator(".facts")).to_contain_text("ctx 187k")
    expect(page.agent("builder").locator(".who")).to_contain_text("usage limit, goes on in 1 h")


def test_a_reminder_is_taken_back(page: Dashboard) -> None:
    row = page.page.locator("#reminders li", has_text="Clean the build directory")
    row.get_by_role("button").click()
    assert "builder will not be reminded" in page.question_asked()
    page.confirm()
    expect(row).to_have_count(0)
    expect(page.page.locator("#reminders li")).to_have_count(1)


def test_what_the_hive_tells_the_manager_reads_as_words(page: Dashboard) -> None:
    told = page.page.locator("#flow-list > li", has_text="reviewer needs a login")
    expect(told.locator(".words")).to_have_text("reviewer needs a login")
    told.locator("summary").click()
    expect(told.locator(".body")).to_have_text('{"event":"needs_login","agent":"reviewer"}')


# what it takes to come here


def test_a_static_file_comes_packed_to_whoever_can_unpack_it(page: Dashboard) -> None:
    visitor = Visitor(page.link())
    plain, packed = (visitor.get("/static/hive.css", Accept_Encoding=coding) for coding in ("identity", "br, gzip"))
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert all("Accept-Encoding" in answer.headers["vary"] for answer in (plain, packed))
    assert plain.headers["etag"] != packed.headers["etag"]
    kept = visitor.get("/static/hive.css", Accept_Encoding="gzip", If_None_Match=packed.headers["etag"])
    assert kept.status == 304


@pytest.mark.parametrize("name", ["overview", "agent"])
def test_a_page_that_was_never_here_is_small(visit: Callable[..., Dashboard], name: str) -> None:
    page = visit()
    tools = page.context.new_cdp_session(page.page)
    tools.send("Network.enable")
    tools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    came: list[float] = []
    tools.on("Network.loadingFinished", lambda loaded: came.append(loaded["encodedDataLength"]))
    page.go(PAGES[name])
    page.is_live()
    assert len(came) >= 6
    assert sum(came) < 150_000, came


# any screen and any hands


@pytest.mark.parametrize("look", ["light", "dark", "vibec0re", "phone"])
def test_no_page_breaks_a_rule_of_accessible_pages(visit: Callable[..., Dashboard], look: str) -> None:
    page = visit(viewport=PHONE, has_touch=True) if look == "phone" else visit()
    if look != "phone":
        page.page.select_option("#theme", look)
    found = {}
    for name, path in PAGES.items():
        page.go(path)
        page.screenshot(f"{name}-{look}")
        found[name] = violations(page.page)
    for dialog in ("palette", "notifying", "help"):
        page.page.locator(f"[data-opens={dialog}]").first.click()
        found[dialog] = violations(page.page)
        page.page.keyboard.press("Escape")
    assert {name: broken for name, broken in found.items() if broken} == {}


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_login_page_breaks_no_rule_either(house: House, look: str) -> None:
    page = Dashboard(house.browser, house.hive, viewport=PHONE, color_scheme=look)
    try:
        page.page.goto(page.link().partition("#")[0])
        page.screenshot(f"login-{look}")
        assert violations(page.page) == []
    finally:
        page.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_narrowest_screen(visit: Callable[..., Dashboard], name: str) -> None:
    page = visit(viewport=NARROW, has_touch=True, is_mobile=True)
    page.go(PAGES[name])
    page.screenshot(f"{name}-narrow")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_the_keyboard_alone_logs_in_approves_answers_and_writes(house: House) -> None:
    page = Dashboard(house.browser, house.hive, viewport=DESK)
    try:
        link = page.link()
        page.page.goto(link.partition("#")[0])
        page.page.keyboard.type(link)
        page.page.keyboard.press("Enter")
        page.page.wait_for_url("**/")
        page.is_live()
        by_keyboard(page)
        assert page.complaints == []
    finally:
        page.close()


def by_keyboard(page: Dashboard) -> None:
    row = page.aside(scene.propose, page.hive, "writer", 'description = "Writes"\n', "Say what it does")
    number = asked(page, "By keyboard?")
    expect(page.approval(row.id)).to_be_visible()
    expect(page.question(number)).to_be_visible()
    page.page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    page.page.keyboard.press("Enter")
    tab_to(page, f"approve-{row.id}")
    ring = page.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    page.page.keyboard.press("Enter")
    expect(page.approval(row.id)).to_have_count(0)
    tab_to(page, f"answer-{number}")
    page.page.keyboard.type("yes")
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Enter")
    expect(page.question(number)).to_have_count(0)
    tab_to(page, "compose-to")
    page.page.keyboard.type("scout")
    tab_to(page, "compose-body")
    page.page.keyboard.type("written without a mouse")
    page.page.keyboard.press("Control+Enter")
    expect(page.page.locator("#flow-list > li", has_text="written without a mouse")).to_be_visible()


def focused(page: Dashboard) -> str:
    return str(page.page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))


def tab_to(page: Dashboard, element: str) -> None:
    for _ in range(150):
        page.page.keyboard.press("Tab")
        if focused(page) == element:
            return
    raise AssertionError(f"the keyboard does not reach {element}")


def test_nothing_moves_for_whoever_wants_that(visit: Callable[..., Dashboard]) -> None:
    page = visit(reduced_motion="reduce")
    page.page.evaluate("""
      document.querySelector("main").append(Object.assign(document.createElement("i"), {className: "spin"}))""")
    assert page.page.locator("i.spin").evaluate("element => getComputedStyle(element).animationName") == "none"
