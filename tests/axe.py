"""axe-core on a page of the browser: its rules of accessible pages, and which elements break them."""

from importlib.metadata import files
from pathlib import Path
from typing import Final

from playwright.sync_api import Page

_SOURCE: Final = next(file for file in files("axe-playwright-python") or [] if file.name == "axe.min.js")
_RUN: Final = """async () => (await axe.run(document)).violations.flatMap(
  ({id, nodes}) => nodes.map(({target, failureSummary}) => `${id}: ${target} ${failureSummary}`))"""


def violations(page: Page) -> list[str]:
    """What of the page as it is now breaks a rule. The pages' own policy lets no script in, so it comes by the
    browser's tools for developers."""
    tools = page.context.new_cdp_session(page)
    try:
        tools.send("Runtime.evaluate", {"expression": Path(str(_SOURCE.locate())).read_text()})
    finally:
        tools.detach()
    found: list[str] = page.evaluate(_RUN)
    return found
