"""What the operator does by a page: each asks the hive, and answers nothing at all, or why not in words.

What it changes shows on the page as the hive's own news, as it does for whoever did not ask.
"""

import re
import uuid
from typing import Any, Final

from starlette.datastructures import FormData

from hyperhive.broker.jobs import JobDraft, JobKind
from hyperhive.hub.hive import Hive
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import MANAGER, OPERATOR, agent_name, known_form
from hyperhive.web.forms import Doing, number, post, text
from hyperhive.web.route import WebRoute

MAX_REASON: Final = 2000
MAX_DESCRIPTION: Final = 500
MAX_ANSWER: Final = 8192
_ADDRESS: Final = re.compile(r"\s*@([^\s@:,]{1,128})[:,]?(?:\s+|\Z)")

# mail


async def send(hive: Hive, _: dict[str, Any], form: FormData) -> None:
    """`@name ` at the beginning of the text says whom it is to, whatever the field for it says."""
    to, body = addressed(text(form, "to").strip(), text(form, "body"))
    if not to:
        raise FaultError(FaultKind.INVALID_PARAMS, "cannot send: say whom it is to, or begin with @name")
    if not body.strip():
        raise FaultError(FaultKind.INVALID_PARAMS, "cannot send: there is no text")
    mid = text(form, "mid", 128) or uuid.uuid4().hex
    await hive.desk.send(to, body, mid=mid, in_reply_to=number(form, "in_reply_to"))


def addressed(to: str, body: str) -> tuple[str, str]:
    """Whom a text is to, and the text."""
    found = _ADDRESS.match(body)
    return (found[1], body[found.end() :]) if found else (to, body)


async def handled(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.mailbox.handled([path["id"]])


async def all_handled(hive: Hive, _: dict[str, Any], form: FormData) -> None:
    """All that were shown: what came meanwhile was not seen."""
    newest = number(form, "newest") or 0
    rows = await hive.mailbox.inbox(OPERATOR, 1000, unread_only=True)
    await hive.mailbox.handled([row.id for row in rows if row.id <= newest])


async def requeue(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.mailbox.requeue(path["id"])


async def drop(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.mailbox.drop(path["id"])


# decisions


async def approve(hive: Hive, path: dict[str, Any], form: FormData) -> None:
    """Only what was shown: a proposal of a commit is approved by its sha."""
    await hive.shape.order(path["id"], text(form, "sha", 64) or None)


async def deny(hive: Hive, path: dict[str, Any], form: FormData) -> None:
    await hive.shape.deny(path["id"], text(form, "reason", MAX_REASON))


async def update_inputs(hive: Hive, _: dict[str, Any], form: FormData) -> None:
    """Of none chosen it is all of them."""
    names = [name for name in form.getlist("input") if isinstance(name, str)]
    await hive.shape.request_update_inputs(names, text(form, "description", MAX_DESCRIPTION).strip())


async def answer(hive: Hive, path: dict[str, Any], form: FormData) -> None:
    """The options that were chosen, a line each, and then what was written."""
    said = [option for option in form.getlist("option") if isinstance(option, str)]
    written = text(form, "text", MAX_ANSWER).strip()
    whole = "\n".join([*said, *([written] if written else [])])
    if not whole:
        raise FaultError(FaultKind.INVALID_PARAMS, "cannot answer: choose an option or write something")
    if len(whole) > MAX_ANSWER:
        raise FaultError(FaultKind.INVALID_PARAMS, f"cannot answer: an answer may have {MAX_ANSWER} characters")
    await hive.asking.questions.answer(path["id"], whole, by=OPERATOR)


async def cancel_reminder(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.asking.reminders.cancel(path["id"], agent=None)


async def schedule_paused(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.scheduling.set_paused(path["name"], path["schedule"], True)


async def schedule_resumed(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.scheduling.set_paused(path["name"], path["schedule"], False)


async def schedule_fired(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.scheduling.fire(path["name"], path["schedule"])


async def cancel_question(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.asking.questions.cancel(path["id"], by=OPERATOR)


# lives: what takes time is a job, and its progress is on the page


async def spawn(hive: Hive, _: dict[str, Any], form: FormData) -> None:
    name = agent_name(text(form, "name", 128).strip())
    if name in hive.fleet:
        raise FaultError(FaultKind.NAME_TAKEN, f"cannot spawn {name!r}: there is an agent of that name")
    description = text(form, "description", MAX_DESCRIPTION).strip()
    params = {"description": description} if description else {}
    await _submit(hive, JobKind.SPAWN, name, params)


async def revive(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    name = _buried(path)
    if name in hive.fleet or name not in {tombstone.name for tombstone in await hive.fleet.tombstones()}:
        raise FaultError(FaultKind.UNKNOWN_AGENT, f"cannot revive {name!r}: there is no tombstone of it any more")
    await _submit(hive, JobKind.SPAWN, name)


async def purge(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await _submit(hive, JobKind.PURGE, _buried(path))


async def destroy(hive: Hive, path: dict[str, Any], form: FormData) -> None:
    agent = hive.fleet.get(path["name"])
    if agent.name == MANAGER:
        raise FaultError(FaultKind.NOT_ALLOWED, "cannot destroy the manager")
    await _submit(hive, JobKind.DESTROY, agent.name, {"purge": True} if form.get("purge") else {})


async def paused(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.fleet.set_paused(path["name"], True)


async def resumed(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.fleet.set_paused(path["name"], False)
    await hive.limits.resume(path["name"])
    await hive.fleet.let_up(path["name"])


async def interrupt(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.desk.cancel(path["name"])


async def update_all(hive: Hive, _: dict[str, Any], _form: FormData) -> None:
    await _submit(hive, JobKind.UPDATE_ALL, "")


async def cancel_job(hive: Hive, path: dict[str, Any], _: FormData) -> None:
    await hive.queue.cancel(path["id"])


def _of_agent(kind: JobKind) -> Doing:
    async def queue(hive: Hive, path: dict[str, Any], _: FormData) -> None:
        await _submit(hive, kind, hive.fleet.get(path["name"]).name)

    return queue


def _buried(path: dict[str, Any]) -> str:
    return known_form(path["name"])


async def _submit(hive: Hive, kind: JobKind, name: str, params: dict[str, Any] | None = None) -> None:
    draft = JobDraft(agent=name, kind=kind, params=params or {}, source="operator", requester=OPERATOR)
    await hive.queue.submit(draft)


ACTIONS: Final[tuple[WebRoute, ...]] = (
    post("/messages", send),
    post("/inbox/handled", all_handled),
    post("/messages/{id:int}/handled", handled),
    post("/messages/{id:int}/requeue", requeue),
    post("/messages/{id:int}/drop", drop),
    post("/approvals/{id:int}/approve", approve),
    post("/approvals/{id:int}/deny", deny),
    post("/inputs/update", update_inputs),
    post("/questions/{id:int}/answer", answer),
    post("/questions/{id:int}/cancel", cancel_question),
    post("/reminders/{id:int}/cancel", cancel_reminder),
    post("/agents/{name}/schedules/{schedule}/pause", schedule_paused),
    post("/agents/{name}/schedules/{schedule}/resume", schedule_resumed),
    post("/agents/{name}/schedules/{schedule}/fire", schedule_fired),
    post("/agents", spawn),
    post("/agents/update", update_all),
    post("/agents/{name}/start", _of_agent(JobKind.START)),
    post("/agents/{name}/stop", _of_agent(JobKind.STOP)),
    post("/agents/{name}/restart", _of_agent(JobKind.RESTART)),
    post("/agents/{name}/rebuild", _of_agent(JobKind.REBUILD)),
    post("/agents/{name}/pause", paused),
    post("/agents/{name}/resume", resumed),
    post("/agents/{name}/interrupt", interrupt),
    post("/agents/{name}/destroy", destroy),
    post("/tombstones/{name}/revive", revive),
    post("/tombstones/{name}/purge", purge),
    post("/jobs/{id:int}/cancel", cancel_job),
)
