"""An agent's page in a real browser, on a real hive with real containers; only the model is scripted."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Route, expect

import needs
from dashboard_page import Dashboard, chromium
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent
from hyperhive.rehearsal.script import Call, Gate, Say, Think, Usage, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.testing.model import ScriptedModel
from hyperhive.web.frames import draw
from manager_house import asks, at_rest

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

SCOUT = host.LifecycleScope(agent_names=["scout"])
SLOWLY = "One word comes after another, " + "and another, " * 30 + "and that was the last."
COMMANDS = ["/help", "/clear", "/cancel", "/compact [what to keep]", "/model <name>", "/new-session"]


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
            on("hello", Usage(input=12_000, output=40), Say(SLOWLY, pace_ms=100), Gate("rest"), Say("**Found** it.")),
            on("linger", Say("I begin."), Gate("linger"), Say("I am done.")),
            on("survive", Say(SLOWLY, pace_ms=100), Gate("cut"), Say("I am back."), Call("Bash", {"command": "true"}),
               Say("And over.")),
            on("tour", Think("Where do I begin?"), Say("I read the notes:\n\n1. first\n2. second"),
               Call("Write", {"file_path": "/state/plan.md", "content": "# Plan\n\n- look\n- tell\n"}),
               Call("Bash", {"command": "ls -la /state"}), Call("mcp__hyperhive__set_status", {"text": "on tour"}),
               Say("That is all there is. See `plan.md`.")),
        )  # fmt: skip
        for name in ("scout", "still"):
            hive.ask(host.Spawn(name=name, description=f"{name} looks around"))
        at_rest(hive, "still")
        with chromium() as browser:
            yield House(hive, model, browser)


class AgentPage(Dashboard):
    """A window on one agent's page."""

    def open(self, name: str) -> None:
        self.name = name
        self.page.goto(f"{self.origin}/agents/{name}")
        self.is_live()

    @property
    def origin(self) -> str:
        parts = urlsplit(self.page.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def composer(self) -> Locator:
        return self.page.locator("#composer-body")

    @property
    def header(self) -> Locator:
        return self.page.locator("#agent_header")

    @property
    def state(self) -> Locator:
        return self.header.locator(".state")

    @property
    def rows(self) -> Locator:
        return self.page.locator("#terminal-rows")

    @property
    def said(self) -> Locator:
        """What came of the latest command."""
        return self.page.locator("#told .alert").last

    def say(self, text: str) -> None:
        self.composer.fill(text)
        self.composer.press("Enter")

    def is_sent(self) -> None:
        expect(self.composer).to_have_value("")

    def tour(self) -> None:
        """A turn of the agent `scout` with something of everything, from its beginning to its end."""
        ends = self.rows.get_by_text("That is all there is")
        before = ends.count()
        self.say("tour")
        expect(ends).to_have_count(before + 1)
        expect(self.state).to_have_text("warm")

    def events_shown(self) -> list[int]:
        ids = self.page.locator("#terminal-rows [data-event]").evaluate_all("all => all.map(row => row.dataset.event)")
        return [int(number) for number in ids]

    def events_until(self, number: int) -> list[HiveEvent]:
        return self.hive.events(self.name, until=lambda event: event.id >= number)

    def events_kept(self, last: HiveEvent) -> list[int]:
        """Those of the store that have rows, up to one."""
        events = self.aside(self.events_until, last.id)
        return [event.id for event in events if draw(event) is not None]


@pytest.fixture
def page(house: House) -> Iterator[AgentPage]:
    """A browser that is logged in; nothing of it may have been refused by the pages' own policy."""
    yield from window(house, viewport={"width": 1400, "height": 1000})


def window(house: House, **options: object) -> Iterator[AgentPage]:
    opened = AgentPage(house.browser, house.hive, **options)
    try:
        opened.log_in()
        opened.open("scout")
        yield opened
        assert opened.complaints == []
    finally:
        opened.close()


# what is written and what comes of it


def test_a_message_is_written_and_its_turn_is_watched_as_it_happens(house: House, page: AgentPage) -> None:
    page.page.get_by_role("link", name="hyperhive").click()
    page.page.get_by_role("link", name="scout", exact=True).click()
    page.is_live()
    page.say("hello you\nwith two lines")
    page.is_sent()
    expect(page.page.locator("#compose-sent")).to_have_text("Sent")
    expect(page.rows).to_contain_text("with two lines")
    expect(page.page.locator("#terminal-writing")).to_contain_text("One word comes after another, and")
    expect(page.state).to_have_text("thinking")
    expect(page.rows).to_contain_text("and that was the last.")
    house.model.gate("rest").open()
    expect(page.rows.locator("strong")).to_have_text("Found")
    expect(page.page.locator("#terminal-writing")).to_be_hidden()
    expect(page.state).to_have_text("warm")
    expect(page.header).to_contain_text(re.compile(r"context 12k"))
    expect(page.header).to_contain_text(re.compile(r"last turn ok in \d+\.\d s"))
    expect(page.header).to_contain_text("steered by manager")
    shown = page.events_shown()
    assert len(shown) == len(set(shown)) > 0


def test_a_turn_under_way_is_cancelled_by_its_button_and_by_a_command(house: House, page: AgentPage) -> None:
    cancel = page.header.get_by_role("button", name="Cancel turn")
    expect(cancel).to_have_count(0)
    stops: list[Callable[[], None]] = [cancel.click, lambda: page.say("/cancel")]
    for begun, stop in enumerate(stops, 1):
        page.say("linger a while")
        expect(page.rows.get_by_text("I begin.")).to_have_count(begun)
        stop()
        expect(page.header).to_contain_text("last turn cancelled")
        expect(cancel).to_have_count(0)
    expect(page.said).to_contain_text("is being cancelled")
    page.say("/cancel")
    expect(page.said).to_contain_text("no turn to cancel")


def test_commands_are_answered_in_words_and_never_reach_the_agent(house: House, page: AgentPage) -> None:
    before = page.rows.locator("[data-event]").count()
    page.say("/help")
    expect(page.said.locator("dt")).to_have_text(COMMANDS)
    page.say("/nonsense and more")
    expect(page.said).to_contain_text("no command /nonsense, only /help, /clear")
    expect(page.composer).to_have_value("/nonsense and more")
    page.say("/model")
    expect(page.said).to_contain_text("haiku")
    page.say("/model bad name!")
    expect(page.said).to_contain_text("no name of a model")
    page.say("/new-session")
    assert "forgets all that was said" in page.question_asked()
    page.confirm(yes=False)
    expect(page.composer).to_have_value("/new-session")
    page.composer.press("Enter")
    page.confirm()
    page.is_sent()
    expect(page.said).to_contain_text(re.compile("conversation"))
    assert page.rows.locator("[data-event]").count() >= before
    letters = page.ask(host.Inbox(name="scout", limit=100)).inbox
    assert isinstance(letters, list)
    assert not [row for row in letters if row.body.startswith("/")]
    page.complaints.clear()  # the browser notes every answer that is no success


def test_a_conversation_is_compacted_on_demand(house: House, page: AgentPage) -> None:
    page.tour()
    page.say("/compact keep the plan")
    expect(page.said).to_contain_text("summarised")
    expect(page.rows).to_contain_text(re.compile("compact", re.IGNORECASE))
    expect(page.state).to_have_text("warm")


def test_clearing_empties_this_page_only(house: House, page: AgentPage) -> None:
    page.tour()
    assert page.events_shown()
    page.say("/clear")
    page.is_sent()
    expect(page.page.locator("#terminal-rows [data-event]")).to_have_count(0)
    page.page.reload()
    page.is_live()
    expect(page.rows).to_contain_text("That is all there is")


def test_tab_goes_through_what_could_be_meant(page: AgentPage) -> None:
    page.composer.press_sequentially("/c")
    expect(page.page.locator("#commands [role=option]:visible")).to_have_count(3)
    for line in ("/clear", "/cancel", "/compact ", "/clear"):
        page.composer.press("Tab")
        expect(page.composer).to_have_value(line)
    page.composer.fill("/model ")
    page.composer.press("Tab")
    expect(page.composer).to_have_value("/model haiku")
    page.composer.press("Escape")
    page.composer.press("Tab")
    expect(page.composer).not_to_be_focused()
    page.composer.fill("not a command: /c")
    expect(page.page.locator("#commands")).to_be_hidden()
    page.composer.fill("")


def test_another_model_is_chosen_and_survives_a_restart(page: AgentPage) -> None:
    page.page.locator("#model-menu > summary").click()
    page.page.fill("#model-name", "sonnet")
    page.page.click("#model-set")
    expect(page.said).to_contain_text("The model is sonnet")
    expect(page.page.locator("#model-menu > summary")).to_contain_text("sonnet")
    page.page.locator("#agent-menu > summary").click()
    page.header.get_by_role("button", name="Restart").click()
    assert "its messages come again" in page.question_asked()
    page.confirm()
    expect(page.page.locator("#agent_inbox .from-system .receipt").first).to_have_text("handled")
    expect(page.page.locator("#model-menu > summary")).to_contain_text("sonnet")
    page.say("/model haiku")
    expect(page.said).to_contain_text("The model is haiku")


def test_mail_to_an_agent_that_does_not_read_now_says_what_it_waits_for(page: AgentPage) -> None:
    page.open("still")
    page.say("when you are back")
    page.is_sent()
    expect(page.said).to_contain_text("It waits: still is paused")
    page.say(" /not a command")
    page.is_sent()
    letters = page.ask(host.Inbox(name="still", limit=2)).inbox
    assert isinstance(letters, list)
    assert [row.body for row in letters] == ["when you are back", " /not a command"]


# staying


def test_enter_that_ends_a_composition_sends_nothing(page: AgentPage) -> None:
    page.open("still")
    page.composer.fill("ni hao")
    taken = page.composer.evaluate("""box => !box.dispatchEvent(
        new KeyboardEvent("keydown", {key: "Enter", isComposing: true, bubbles: true, cancelable: true}))""")
    assert not taken
    page.composer.press("Enter")
    page.is_sent()
    letters = page.ask(host.Inbox(name="still", limit=100)).inbox
    assert isinstance(letters, list)
    assert [row.body for row in letters].count("ni hao") == 1


def done_unheard(route: Route) -> None:
    route.fetch()
    route.abort()


def test_half_a_text_survives_a_reload_and_is_sent_once_however_often_it_is_tried(page: AgentPage) -> None:
    page.open("still")
    page.composer.press_sequentially("half a thought")
    page.composer.press("Shift+Enter")
    page.composer.press_sequentially("and more")
    mid = page.page.locator("#compose-mid").input_value()
    page.page.reload()
    page.is_live()
    expect(page.composer).to_have_value("half a thought\nand more")
    assert page.page.locator("#compose-mid").input_value() == mid
    page.page.route("**/say", done_unheard)
    page.composer.press("Enter")
    expect(page.alert()).to_contain_text("did not answer")
    expect(page.composer).to_have_value("half a thought\nand more")
    page.page.unroute("**/say")
    page.composer.press("Enter")
    page.is_sent()
    letters = page.ask(host.Inbox(name="still", limit=100)).inbox
    assert isinstance(letters, list)
    assert [row.body for row in letters].count("half a thought\nand more") == 1
    page.complaints.clear()  # the browser notes that nobody answered


def test_what_is_typed_while_a_message_is_on_its_way_stays(page: AgentPage) -> None:
    page.open("still")
    held: list[Route] = []
    page.page.route("**/say", lambda route: held.append(route))
    with page.page.expect_request("**/say"):
        page.say("the first")
    page.composer.press_sequentially(" and the second")
    page.composer.press("Enter")
    for route in held:
        route.continue_()
    expect(page.composer).to_have_value(" and the second")
    page.page.unroute("**/say")
    page.composer.press("Enter")
    page.is_sent()
    letters = page.ask(host.Inbox(name="still", limit=2)).inbox
    assert isinstance(letters, list)
    assert [row.body for row in letters] == ["the first", " and the second"]


def test_what_an_agent_says_of_itself_is_text_in_its_header(page: AgentPage) -> None:
    page.open("still")
    asks(page.hive, "still", "set_status", text="<img src=x onerror=alert(1)> {{7*7}} \u202ehidden")
    expect(page.header.locator(".doing")).to_contain_text("<img src=x onerror=alert(1)> {{7*7}} ⟨U+202E⟩hidden")
    assert page.page.locator("main img").count() == 0


def test_typing_loses_no_character_while_fifty_events_a_second_arrive(page: AgentPage) -> None:
    page.open("still")
    page.composer.click()
    text, status = page.type_in_the_rain("still")
    expect(page.header.locator(".doing")).to_contain_text(status)
    expect(page.composer).to_have_value(text)
    expect(page.composer).to_be_focused()
    page.composer.fill("")


def test_a_hive_that_is_killed_in_the_middle_of_a_turn_costs_the_page_nothing(house: House, page: AgentPage) -> None:
    house.hive.dashboard_port = urlsplit(page.page.url).port or 0
    page.say("survive this")
    expect(page.page.locator("#terminal-writing")).to_contain_text("One word")
    page.composer.fill("half a thought")
    page.aside(house.hive.kill)
    expect(page.page.locator("#offline")).to_be_visible()
    page.aside(house.hive.start)
    page.is_live()
    house.model.gate("cut").open()
    expect(page.rows.get_by_text("I am back.")).to_have_count(1)
    expect(page.rows.get_by_text("And over.")).to_have_count(1)
    expect(page.state).to_have_text("warm")
    expect(page.composer).to_have_value("half a thought")
    expect(page.page.locator("#terminal-writing")).to_be_hidden()
    shown = page.events_shown()
    assert len(shown) == len(set(shown))
    last = page.aside(page.events_until, shown[-1])[-1]
    assert shown == [number for number in page.events_kept(last) if number >= shown[0]]
    page.composer.fill("")
    page.complaints.clear()  # the browser notes that nobody answered


# who is not there


def test_an_agent_that_is_destroyed_while_it_is_looked_at_says_so(page: AgentPage) -> None:
    page.ask(host.Spawn(name="brief"))
    page.open("brief")
    page.page.locator("#agent-menu > summary").click()
    page.header.get_by_role("button", name="Destroy brief", exact=True).click()
    assert "kept as a tombstone" in page.question_asked()
    page.confirm()
    expect(page.header).to_contain_text("brief was destroyed; its config, login and notes are kept as a tombstone")
    page.say("are you there?")
    expect(page.said).to_contain_text("not managed by this hive")
    page.composer.fill("")
    page.page.reload()
    expect(page.page.locator("main")).to_contain_text("kept as a tombstone")
    page.page.goto(f"{page.origin}/agents/nobody")
    expect(page.page.locator("main")).to_contain_text('agent "nobody" is not managed by this hive')
    page.page.goto(f"{page.origin}/agents/No%20body")
    expect(page.page.locator("main")).to_contain_text("cannot use")
    page.page.get_by_role("link", name="To the overview").click()
    page.is_live()
    page.complaints.clear()  # the browser notes every answer that is no success


# how it is used and looks


def test_the_keyboard_alone_does_it(page: AgentPage) -> None:
    page.open("still")
    reached = set()
    for _ in range(60):
        page.page.keyboard.press("Tab")
        reached.add(str(page.page.evaluate("document.activeElement.id")))
        if "composer-body" in reached:
            break
    assert "resume-still" in reached
    assert {"terminal-scroll", "composer-body"} <= reached
    page.page.keyboard.type("by hand alone")
    page.page.keyboard.press("Enter")
    page.is_sent()
    expect(page.page.locator("#agent_inbox")).to_contain_text("by hand alone")


@pytest.mark.parametrize("theme", ["light", "dark", "vibec0re"])
def test_the_page_is_good_to_look_at(page: AgentPage, theme: str) -> None:
    page.page.select_option("#theme", theme)
    page.page.reload()
    page.is_live()
    if theme == "light":
        page.tour()
    page.screenshot(f"agent-{theme}")
    assert page.page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "the window holds all of it"


def test_a_phone_shows_all_of_it_without_scrolling_sideways(house: House) -> None:
    for page in window(house, viewport={"width": 390, "height": 844}, has_touch=True):
        page.tour()
        expect(page.composer).to_be_in_viewport()
        page.screenshot("agent-phone")
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
