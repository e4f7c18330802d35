"""What the hive tells agents in JSON, in words for people."""

from typing import Any, Final

import msgspec

from hyperhive.broker.questions import is_no_answer
from hyperhive.protocol.agent import MessageKind
from hyperhive.protocol.host import InboxRow

_MAX: Final = 1 << 16
_DONE: Final = {
    "spawned": "{agent} was spawned",
    "rebuilt": "{agent} was rebuilt",
    "killed": "{agent} was stopped",
    "destroyed": "{agent} was destroyed",
    "config_ready": "{agent} has a config repository; its first commit is to be proposed",
    "needs_update": "{agent} does not run what is deployed; a rebuild brings it up to date",
    "needs_login": "{agent} needs a login",
    "logged_in": "{agent} is logged in",
    "container_crash": "{agent}'s container died",
    "stuck": "{agent} is stuck",
    "no_room": "{agent} is kept down for want of room on the disk",
    "budget_spent": "The budget of {agent} is spent",
    "budget_warning": "The budget of {agent} runs out",
    "approval_resolved": "Request {id} ({kind} for {agent}) was {status}",
    "question_asked": "{asker} asks: {question}",
    "question_answered": "Question {id} ({question}) was answered by {answerer}: {answer}",
    "question_unanswered": "Question {id} ({question}) ends unanswered: {answer}",
}
_NOT_DONE: Final = {"spawned": "{agent} could not be spawned", "rebuilt": "{agent} could not be rebuilt"}


class _Told(dict[str, str]):
    """What was not said has no name."""

    def __missing__(self, key: str) -> str:
        return "?"


def helper_words(row: InboxRow) -> str:
    """A helper event in a sentence; empty when the message is none, or one that this version has no words for."""
    told = _event(row)
    event = str(told.get("event", ""))
    if event == "question_answered" and is_no_answer(str(told.get("answer"))):
        event = "question_unanswered"
    words = _DONE.get(event, "") if told.get("ok", True) else _NOT_DONE.get(event, "")
    if not words:
        return ""
    facts = {"agent": "all agents"} if event == "approval_resolved" else {}
    facts |= {name: str(value) for name, value in told.items()}
    said = words.format_map(_Told({**facts, "kind": facts.get("kind", "").replace("_", " ")}))
    return ": ".join(part for part in (said, str(told.get("note", ""))) if part)


def _event(row: InboxRow) -> dict[str, Any]:
    if row.kind != MessageKind.SYSTEM or not row.body.startswith('{"event":') or len(row.body) > _MAX:
        return {}
    try:
        return msgspec.json.decode(row.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
