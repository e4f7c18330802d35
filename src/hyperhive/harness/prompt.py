"""What claude is told: who it is, and what woke it up.

An envelope is what the hive vouches for, a body is what somebody wrote: a prompt shows bodies as `quotation` does, so
that the two can't be confused.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from hyperhive.harness import guidance
from hyperhive.harness.quotation import fenced, one_line, one_word, utc
from hyperhive.protocol.agent import Arrived, Colleague, Envelope, LooseEnd, LooseEndKind
from hyperhive.protocol.ids import MANAGER, OPERATOR, SYSTEM
from hyperhive.protocol.settings import SYSTEMS

MAX_ENDS: Final = 20
MAX_END: Final = 200
"""Loose ends in a prompt, and characters of each; the tool shows all of them whole."""


class Identity(Struct, frozen=True, kw_only=True):
    """What an agent's system prompt is made of."""

    agent: str
    role: str
    description: str
    instructions: str  #: the operator's own, from the agent's config
    colleagues: Sequence[Colleague]
    tool_groups: Sequence[str] = ()  #: that the agent has


def system_prompt(identity: Identity) -> str:
    who = f"You are the agent {identity.agent!r} of a hyperhive: a team of Claude agents on one machine, each in its"
    manages = identity.agent == MANAGER
    parts = [
        f"{who} own container, with a durable mailbox between them and the operator, the human in charge.",
        f"What you are for: {one_line(identity.description)}" if identity.description else "",
        guidance.MANAGER if manages else "",
        f"{guidance.EVERYONE}\n{guidance.MANAGER_EVENTS}" if manages else guidance.EVERYONE,
        _managing(identity) if manages else _steering(identity),
        guidance.LASTING,
        _team(identity),
        f"# From your operator\n\n{identity.instructions.strip()}" if identity.instructions.strip() else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _managing(identity: Identity) -> str:
    about_all = [guidance.OF_GROUP[SYSTEMS]] if SYSTEMS in identity.tool_groups else []
    return "\n".join([guidance.MANAGING, *about_all])


def _steering(identity: Identity) -> str:
    lines = [guidance.OF_GROUP[group] for group in identity.tool_groups if group in guidance.OF_GROUP]
    return "\n".join([guidance.STEERING, "", *lines]) if lines else ""


def _team(identity: Identity) -> str:
    others = [c for c in identity.colleagues if c.name != identity.agent]
    if not others:
        return "# Your team\n\nThere are no other agents yet; `list_agents` shows who has joined."
    lines = [f"- {_member(c, identity)}" for c in sorted(others, key=lambda c: c.name)]
    return "# Your team\n\nThese may have changed since; `list_agents` shows who is there now.\n\n" + "\n".join(lines)


def _member(colleague: Colleague, identity: Identity) -> str:
    facts = [
        " (the manager)" if colleague.role == "manager" else "",
        " (steered by you)" if colleague.parent == identity.agent and identity.role != "manager" else "",
        f": {one_line(colleague.description)}" if colleague.description else "",
    ]
    return one_line(colleague.name) + "".join(facts)


def wake_prompt(messages: Sequence[Envelope], unread: int) -> str:
    """The user message that begins a turn."""
    count = "A message has" if len(messages) == 1 else f"{len(messages)} messages have"
    parts = [f"{count} come in for you.", *map(shown, messages)]
    if any(m.sender == SYSTEM for m in messages):
        parts.append("`system` reports what happened; when that calls for nothing from you, just finish.")
    if unread:
        parts.append(f"{_more(unread)} in your mailbox; `recv` reads them.")
    return "\n\n".join(parts)


def notes_prompt(then: str) -> str:
    """What an agent is told before it forgets; `then` says what comes."""
    return (
        f"This is from the hive itself. {then} Write down now what you will need and do not have in a file yet: bring "
        "/state/notes.md up to date with what you are doing and for whom, what is agreed, what is open and what comes "
        "next. Replace what is out of date, keep it short. Do nothing else in this turn, and send nothing: mail waits "
        "until it is over."
    )


def recalled(agent: str, role: str, why: str, ends: Sequence[LooseEnd], unread: int) -> str:
    """Before a prompt to a claude that does not remember: what the hive knows better than any summary."""
    who = f"You are the agent {one_word(agent)!r}, role {one_word(role)}."
    parts = [
        f"From the hive: {why} {who} Your notes are in /state/notes.md: read them when you miss something.",
        "What you have open:" if ends else "You have no question, reminder or request open.",
        *(f"- {_loose_end(end)}" for end in ends[:MAX_ENDS]),
        f"- and {len(ends) - MAX_ENDS} more: `get_loose_ends` shows them" if len(ends) > MAX_ENDS else "",
        f"{_more(unread) if unread else 'Nothing waits'} in your mailbox beside what follows.",
    ]
    return "\n".join(part for part in parts if part) + "\n\n"


def _loose_end(end: LooseEnd) -> str:
    return f"{loose_end_line(end)}: {one_line(end.text)[:MAX_END]!r}"


def loose_end_line(end: LooseEnd, *, with_since: bool = False) -> str:
    """What it is and between whom, as far as the hive vouches for it."""
    facts = [
        f"{one_word(end.kind)} {end.id}",
        f"asked by {one_word(end.asker)}" if end.asker else "",
        f"{'to be answered by' if end.kind == LooseEndKind.QUESTION else 'about'} {one_word(end.target)}"
        if end.target
        else "",
        f"since {utc(end.since)}" if with_since and end.since else "",
        f"due {utc(end.due_at)}" if end.due_at is not None else "",
    ]
    return ", ".join(fact for fact in facts if fact)


def once_more(messages: Sequence[Envelope], unread: int, *, compacted: bool) -> str:
    """The user message of a turn that was too long, behind the compaction: all that had become part of it."""
    began = "This turn had begun before your conversation was compacted" if compacted else "This turn had begun before"
    place = "in the summary" if compacted else "above"
    return (
        f"{began}, and is tried once more: what you had done and sent for it is {place}, do not do it twice."
        f"\n\n{wake_prompt(messages, unread)}"
    )


def _more(unread: int) -> str:
    return "1 more message waits" if unread == 1 else f"{unread} more messages wait"


def arrival_notice(arrived: Arrived) -> str:
    """What claude hears at a tool boundary about mail that came in meanwhile."""
    count = "A new message waits" if arrived.unread == 1 else f"{arrived.unread} new messages wait"
    them = "it" if arrived.unread == 1 else "them"
    senders = list(dict.fromkeys(map(one_word, arrived.senders)))
    source = f", from {', '.join(senders[:10])}" if senders else ""
    first = " One is from your operator: read it before you go on." if OPERATOR in senders else ""
    return f"{count}{source}: call mcp__hyperhive__recv to read {them}.{first}"


def nudge(why: str) -> str:
    """What claude hears at a tool boundary when the hive takes it to be stuck."""
    return (
        f"A notice of the hive: you seem to be stuck ({one_line(why)}). Stop and think: try something else, ask "
        "somebody, or end the turn and say what is in the way. If nothing changes, the hive ends the turn."
    )


def shown(message: Envelope) -> str:
    """One message: its envelope line, notes of the hive about it, and the fenced body."""
    return "\n".join([envelope_line(message), *_attempt_notes(message), fenced(message.body)])


def envelope_line(message: Envelope) -> str:
    facts = [
        f"from {one_word(message.sender)}",
        f"kind {one_word(message.kind)}",
        f"sent {utc(message.sent_at)}",
        f"in reply to {message.in_reply_to}" if message.in_reply_to is not None else "",
        "to everyone" if message.broadcast else "",
        f"attempt {message.attempt}" if message.attempt > 1 else "",
    ]
    return f"[message {message.id}] " + ", ".join(fact for fact in facts if fact)


def _attempt_notes(message: Envelope) -> list[str]:
    if message.attempt <= 1 and not message.begun:
        return []
    notes = ["An earlier attempt at this message did not end well: it may have been handled in part."]
    notes += [
        f"The earlier attempt had sent message {sent.id} to {one_word(sent.to)} at {utc(sent.sent_at)}"
        + (f": {one_line(sent.headline)!r}" if sent.headline else ".")
        for sent in message.earlier_sends
    ]
    return notes
