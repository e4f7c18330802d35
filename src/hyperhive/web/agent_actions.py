"""What the operator writes on an agent's page: messages to it, and commands about it, which it never sees."""

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.datastructures import FormData

from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.hive import Hive
from hyperhive.protocol import agent as wire
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.web.forms import number, post, text
from hyperhive.web.rendering import render
from hyperhive.web.route import WebRoute

KNOWN_MODELS: Final = ("haiku", "sonnet", "opus")
"""Names that claude understands for the newest of each kind."""


def models(agent: Agent) -> list[str]:
    """What it is offered: the one it has, the one of its config, and those that the config lists. Where it lists none
    there are the known ones, and others can be written."""
    others = agent.settings.available_models or KNOWN_MODELS
    return list(dict.fromkeys(name for name in (agent.model, agent.settings.model, *others) if name))


@dataclass(frozen=True, kw_only=True)
class Command:
    """A line of the composer that begins with a slash and this name."""

    name: str
    does: str
    run: Callable[[Hive, str, str], Awaitable[str]]  #: the agent, what follows the name; what came of it, in words
    takes: str = ""  #: what may follow the name
    asks: str = ""  #: the question before it is done
    yes: str = ""  #: what says yes to it

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.takes}".strip()


async def _help(_: Hive, _name: str, _rest: str) -> str:
    return "What can be written here besides messages:"


async def _clear(_: Hive, _name: str, _rest: str) -> str:
    return "Only a page can empty its terminal; this one did not."


async def _cancel(hive: Hive, name: str, _: str) -> str:
    return "The turn is being cancelled." if await hive.desk.cancel(name) else "There is no turn to cancel."


async def _compact(hive: Hive, name: str, rest: str) -> str:
    try:
        asked = msgspec.convert({"instructions": rest}, wire.Compact)
    except msgspec.ValidationError:
        raise FaultError(FaultKind.INVALID_PARAMS, "cannot compact: what to keep may have 2000 characters") from None
    if await hive.desk.compact(name, asked.instructions):
        return "The conversation is summarised as soon as no turn is under way; the terminal says when it is done."
    return "There is no conversation to compact."


async def _model(hive: Hive, name: str, rest: str) -> str:
    agent = hive.fleet.get(name)
    if not rest:
        return f"Its model is {agent.model or agent.settings.model}. Offered: {', '.join(models(agent))}."
    try:
        chosen = msgspec.convert({"model": rest}, wire.SetModel).model
    except msgspec.ValidationError:
        raise FaultError(FaultKind.INVALID_PARAMS, f"cannot take {rest!r}: that is no name of a model") from None
    done = await hive.desk.set_model(name, chosen)
    return f"The model is {done.model} from the next turn on." + (f" {done.warning}" if done.warning else "")


async def _new_session(hive: Hive, name: str, _: str) -> str:
    if await hive.desk.new_session(name):
        return "The conversation is forgotten; the next turn begins a new one."
    return "There was no conversation to forget."


FORGET: Final = "Begin a new conversation with {}? It forgets all that was said so far; its notes and files stay."
COMMANDS: Final = (
    Command(name="help", does="what can be written here", run=_help),
    Command(name="clear", does="empty the terminal of this page; nothing is deleted", run=_clear),
    Command(name="cancel", does="interrupt the turn under way", run=_cancel),
    Command(
        name="compact", takes="[what to keep]", does="let it summarise the conversation and go on from that",
        run=_compact,
    ),
    Command(name="model", takes="<name>", does="choose another model; without a name: say which it is", run=_model),
    Command(
        name="new-session", does="forget the conversation and begin anew", run=_new_session, asks=FORGET,
        yes="Forget it",
    ),
)  # fmt: skip
_BY_NAME: Final = {command.name: command for command in COMMANDS}


async def say(hive: Hive, path: dict[str, Any], form: FormData) -> str | None:
    """A text that begins with a slash is a command; with a space before the slash it is a message."""
    name, body = hive.fleet.get(path["name"]).name, text(form, "body")
    if body.startswith("/"):
        return await _carried_out(hive, name, body[1:])
    if not body.strip():
        raise FaultError(FaultKind.INVALID_PARAMS, "cannot send: there is no text")
    mid = text(form, "mid", 128) or uuid.uuid4().hex
    await hive.desk.send(name, body, mid=mid, in_reply_to=number(form, "in_reply_to"))
    return _waits(hive.fleet.get(name))


async def _carried_out(hive: Hive, name: str, line: str) -> str:
    word, _, rest = line.partition(" ")
    command = _BY_NAME.get(word.strip())
    if command is None:
        usages = ", ".join(command.usage for command in COMMANDS)
        raise FaultError(
            FaultKind.INVALID_PARAMS,
            f"there is no command /{word.strip()[:40]}, only {usages}. A space before the slash makes it a message.",
        )
    said = await command.run(hive, name, rest.strip())
    return render("told.html", text=said, commands=COMMANDS if command.name == "help" else ())


def _waits(agent: Agent) -> str | None:
    """Why the agent will not read a message now; nothing when it will."""
    why = _why_it_waits(agent)
    return render("told.html", text=f"Sent. It waits: {agent.name} {why}.", commands=()) if why else None


def _why_it_waits(agent: Agent) -> str:
    if agent.phase is Phase.FAILED:
        return "has failed, and was given up until you start it"
    if agent.no_room:
        return "is kept down for want of room on the disk"
    if agent.needs_login:
        return "needs a login"
    if agent.row.paused:
        return "is paused"
    if agent.over_budget:
        return "has no budget left"
    if agent.limited_until:
        return "is held by a usage limit"
    if agent.is_overloaded(time.time()):
        return "gets no answer from the model, and tries again"
    return "" if agent.should_run or agent.row.asleep else "is stopped"


async def set_model(hive: Hive, path: dict[str, Any], form: FormData) -> str:
    said = await _model(hive, hive.fleet.get(path["name"]).name, text(form, "model", 200).strip())
    return render("told.html", text=said, commands=())


async def new_session(hive: Hive, path: dict[str, Any], _: FormData) -> str:
    said = await _new_session(hive, hive.fleet.get(path["name"]).name, "")
    return render("told.html", text=said, commands=())


AGENT_PAGE_ACTIONS: Final[tuple[WebRoute, ...]] = (
    post("/agents/{name}/say", say),
    post("/agents/{name}/model", set_model),
    post("/agents/{name}/new-session", new_session),
)
