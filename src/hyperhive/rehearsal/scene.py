"""What a request is answered with: the script's steps for it, its texts filled in. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from hyperhive.rehearsal import template
from hyperhive.rehearsal.conversation import Conversation, Mail, mail_in
from hyperhive.rehearsal.script import AnyStep, Call, Say, Script, Stop, Think, Together, Turn, Usage, Windows, rounds

THE_END: Final = Say("That is all my part says about this.")
MAX_QUOTE: Final = 4000


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One round, ready to be played. `place` names it in the script (agent, turn, round); None when unscripted."""

    steps: tuple[AnyStep, ...]
    usage: Usage
    stop_reason: str
    windows: Windows | None = None
    place: tuple[str, int, int] | None = None


def scene(script: Script, asked: Conversation) -> Scene:
    """The answer to the request. Every request has one: what no script knows gets a polite default."""
    number = 0 if asked.wants_summary else asked.round
    for place, turn in enumerate(script.turns_of(asked.agent)):
        fields = cue(turn, asked)
        if fields is not None:
            steps = tuple(_fill(step, fields) for step in _round(turn, number))
            return _scene(asked, steps, place=(asked.agent, place, number))
    return _scene(asked, (Say(summary_of(asked) if asked.wants_summary else unscripted(asked)),))


def cue(turn: Turn, asked: Conversation) -> dict[str, str] | None:
    """The fields for the turn's texts when it is meant for the prompt, or None."""
    if turn.compacting != asked.wants_summary:
        return None
    match = re.search(turn.when, asked.prompt, re.MULTILINE)
    mail = next((mail for mail in mail_in(asked.prompt) if turn.sender in ("", mail.sender)), Mail())
    if match is None or turn.sender not in ("", mail.sender):
        return None
    built_in = {"agent": asked.agent, "prompt": asked.prompt, "result": asked.result}
    groups = {name: text or "" for name, text in match.groupdict().items()}
    return {**built_in, "id": mail.id, "sender": mail.sender, **groups}


def unscripted(asked: Conversation) -> str:
    who = asked.agent or "the rehearsal model"
    return f"This is a rehearsal: {who} has no lines for this message, so nothing was done about it."


def summary_of(asked: Conversation) -> str:
    """What a conversation is compacted to: the newest prompt, so that its turn is still found afterwards."""
    prompt = asked.prompt[:MAX_QUOTE]
    return (
        "<analysis>\nThis is a rehearsal; there is nothing to analyse.\n</analysis>\n"
        f"<summary>\nThe rehearsed conversation so far. Its newest prompt was:\n\n{prompt}\n</summary>"
    )


def _round(turn: Turn, number: int) -> tuple[AnyStep, ...]:
    scripted = rounds(turn.steps)
    return scripted[number] if number < len(scripted) else (THE_END,)


def _fill(step: AnyStep, fields: Mapping[str, str]) -> AnyStep:
    match step:
        case Say() | Think():
            return msgspec.structs.replace(step, text=template.fill_text(step.text, fields))
        case Call():
            return msgspec.structs.replace(step, input=template.fill(step.input, fields))
        case Together():
            calls = [msgspec.structs.replace(call, input=template.fill(call.input, fields)) for call in step.calls]
            return Together(calls)
        case _:
            return step


def _scene(asked: Conversation, steps: tuple[AnyStep, ...], *, place: tuple[str, int, int] | None = None) -> Scene:
    calls = any(isinstance(step, Call | Together) for step in steps)
    stops = [step.reason for step in steps if isinstance(step, Stop)]
    usages = [step for step in steps if isinstance(step, Usage)]
    return Scene(
        steps=steps,
        usage=usages[-1] if usages else _estimate(asked, steps),
        windows=next((step for step in steps if isinstance(step, Windows)), None),
        stop_reason=stops[-1] if stops else "tool_use" if calls else "end_turn",
        place=place,
    )


def _estimate(asked: Conversation, steps: tuple[AnyStep, ...]) -> Usage:
    """About four characters are a token; all but the newest input counts as cached."""
    total = tokens(asked.size)
    new = min(total, tokens(len(asked.prompt) + len(asked.result)))
    written = sum(len(step.text) for step in steps if isinstance(step, Say | Think))
    written += sum(len(json.dumps(call.input)) for step in steps for call in _calls(step))
    return Usage(input=new, output=tokens(written), cache_read=total - new)


def _calls(step: AnyStep) -> list[Call]:
    return [step] if isinstance(step, Call) else step.calls if isinstance(step, Together) else []


def tokens(characters: int) -> int:
    return characters // 4 + 1
