"""Where the operator is told outside of the dashboard: shown, added, tried, removed."""

from typing import Any, Final

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from hyperhive.hub.hive import Hive
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import NotifyTarget
from hyperhive.protocol.notify import NotifyKind
from hyperhive.web.forms import post, text
from hyperhive.web.pages import page
from hyperhive.web.rendering import render
from hyperhive.web.route import WebRoute, hive_of

MAX_URL: Final = 2000
MAX_NAME: Final = 64


async def settings(request: Request) -> Response:
    try:
        values: dict[str, Any] = {"targets": hive_of(request).notifications.targets(), "problem": ""}
    except FaultError as fault:
        values = {"targets": [], "problem": fault.message}
    return await page(request, "settings.html", kinds=list(NotifyKind), **values)


async def add(hive: Hive, _: dict[str, Any], form: FormData) -> str:
    url, name = text(form, "url", MAX_URL).strip(), text(form, "name", MAX_NAME).strip()
    if not url:
        raise FaultError(FaultKind.INVALID_PARAMS, "cannot add a target: there is no URL")
    kinds = [kind for kind in NotifyKind if kind in form.getlist("kind")]
    if not kinds:
        raise FaultError(FaultKind.INVALID_PARAMS, "cannot add a target: choose what it is for")
    added = await hive.notifications.add(url, kinds, name)
    return _told(hive.notifications.targets(), f"{added.name} is told from now on.")


async def test(hive: Hive, path: dict[str, Any], _: FormData) -> str:
    outcome = (await hive.notifications.test(path["name"]))[0]
    targets = hive.notifications.targets()
    if outcome.ok:
        return _told(targets, f"{outcome.name} took the message.")
    return _told(targets, f"{outcome.name} did not get the message: {outcome.error}.", failed=True)


async def remove(hive: Hive, path: dict[str, Any], _: FormData) -> str:
    await hive.notifications.remove(path["name"])
    return _told(hive.notifications.targets(), f"{path['name']} is removed.")


def _told(targets: list[NotifyTarget], said: str, *, failed: bool = False) -> str:
    return render("target_told.html", targets=targets, said=said, failed=failed)


SETTINGS_PAGES: Final[tuple[WebRoute, ...]] = (
    WebRoute(path="/settings", handler=settings),
    post("/settings/targets", add),
    post("/settings/targets/{name}/test", test),
    post("/settings/targets/{name}/remove", remove),
)
