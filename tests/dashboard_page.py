"""The dashboard in a real browser, as an operator's hands and eyes have it."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urljoin

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

import needs
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess
from manager_house import asks

T = TypeVar("T")
SCREENSHOTS: Final = "HYPERHIVE_SCREENSHOTS"
"""Names a folder, for whoever wants to see what the tests saw."""
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--headless=new",
]  # fmt: skip
PATIENCE_MS = 20_000
DROPS: Final = 40


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=needs.chromium(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Dashboard:
    """One browser window on one hive. What the browser complained of is in `complaints`."""

    def __init__(self, browser: Browser, hive: HiveProcess, **options: Any) -> None:
        expect.set_options(timeout=PATIENCE_MS)
        self.hive = hive
        self.complaints: list[str] = []
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self._aside = ThreadPoolExecutor(1)  # the browser's driver has the event loop of this thread

    def close(self) -> None:
        self.context.close()
        self._aside.shutdown()

    def aside(self, function: Callable[..., T], *arguments: Any) -> T:
        """What needs an event loop of its own."""
        return self._aside.submit(function, *arguments).result()

    def ask(self, request: host.AnyRequest) -> host.Response:
        return self.aside(self.hive.ask, request)

    # coming in

    def link(self) -> str:
        """One that lets a browser in."""
        link = self.ask(host.LoginLink()).login_link
        assert isinstance(link, str)
        return link

    def log_in(self) -> None:
        self.page.goto(self.link())
        self.page.wait_for_url("**/")
        self.is_live()

    def go(self, path: str) -> None:
        """To another page of the hive."""
        self.page.goto(urljoin(self.page.url, path))

    def is_live(self) -> None:
        expect(self.page.locator("#connection")).to_have_text("live")

    # what is seen

    def agent(self, name: str) -> Locator:
        return self.page.locator(f"#agent-{name}")

    def message(self, number: int) -> Locator:
        return self.page.locator(f"#message-{number}")

    def approval(self, number: int) -> Locator:
        return self.page.locator(f"#approval-{number}")

    def question(self, number: int) -> Locator:
        return self.page.locator(f"#question-{number}")

    def alert(self) -> Locator:
        return self.page.locator("#alerts [role=alert]").last

    def screenshot(self, name: str) -> None:
        """All of the page as a PNG file of that name, when a folder for such was given."""
        if folder := os.environ.get(SCREENSHOTS):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    # what is done

    def write(self, text: str, to: str = "") -> None:
        if to:
            self.page.fill("#compose-to", to)
        self.page.fill("#compose-body", text)
        self.page.click("#compose-send")

    def type_in_the_rain(self, name: str) -> tuple[str, str]:
        """Type where the focus is while news of the agent come, fifty a second where the machine can: what was typed,
        and the agent's last status."""
        stop = threading.Event()
        fallen, typed = [0], ""

        def rain() -> None:
            while not stop.wait(0.02):
                asks(self.hive, name, "set_status", text=f"drop {fallen[0]}")
                if fallen[0] % 3 == 0:
                    self.hive.send(name, f"drop {fallen[0]}")
                fallen[0] += 1

        raining = threading.Thread(target=rain)
        raining.start()
        try:
            while raining.is_alive() and fallen[0] <= DROPS:
                words = "the quick brown fox jumps over the lazy dog, "
                self.page.keyboard.type(words, delay=40)
                typed += words
        finally:
            stop.set()
            raining.join()
        assert fallen[0] > DROPS
        return typed, f"drop {fallen[0] - 1} "

    def menu(self, name: str, item: str) -> None:
        """What stands in an agent's menu is asked about first."""
        self.agent(name).locator("details.menu > summary").click()
        self.agent(name).get_by_role("button", name=item, exact=True).click()

    def question_asked(self) -> str:
        """The words of the question before something is lost."""
        expect(self.page.locator("#confirm")).to_be_visible()
        return self.page.locator("#confirm-text").inner_text()

    def confirm(self, *, yes: bool = True) -> None:
        self.page.locator("#confirm-yes" if yes else "#confirm button[value=no]").click()
