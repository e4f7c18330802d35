"""Questions, reminders and loose ends: what an agent keeps open, with others and with itself."""

import time
from dataclasses import dataclass
from typing import Final

from msgspec import structs

from hyperhive.broker.approvals import ApprovalRow, Approvals
from hyperhive.broker.questions import Party, QuestionRow, Questions, is_no_answer
from hyperhive.broker.reminders import ReminderRow, Reminders
from hyperhive.hub.agents import Agent
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.recipients import check_allowed
from hyperhive.hub.shape import Shape
from hyperhive.protocol import agent as wire
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import MANAGER, OPERATOR
from hyperhive.protocol.rpc import Nothing

THE_OPERATOR: Final = Party(name=OPERATOR, incarnation=0)
MAX_ENDS: Final = 250
_HEADLINE: Final = 500
"""Characters of a loose end's text. So many of those fit into a line, whatever they are written in."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """For agents, each by its own socket, and for the operator."""

    fleet: Fleet
    questions: Questions
    reminders: Reminders
    approvals: Approvals
    shape: Shape

    # an agent's

    async def ask(self, agent: Agent, ask: wire.Ask) -> wire.Asked:
        to = ask.to or OPERATOR
        check_allowed(agent, to)
        target = THE_OPERATOR if to == OPERATOR else party(self.fleet.get(to))
        if target.name == agent.name:
            raise FaultError(FaultKind.NOT_ALLOWED, "cannot ask yourself; set a reminder instead")
        row = await self.questions.ask(
            party(agent), target, ask.question, ask.options, ask.multi, ask.ttl_seconds, mid=ask.mid
        )
        return wire.Asked(id=row.id)

    async def answer(self, agent: Agent, ask: wire.AnswerTo) -> Nothing:
        await self.questions.answer(ask.id, ask.answer, by=agent.name)
        return Nothing()

    async def remind(self, agent: Agent, ask: wire.Remind) -> wire.ReminderSet:
        if (ask.delay_seconds is None) == (ask.at is None):
            raise FaultError(FaultKind.INVALID_PARAMS, "cannot set a reminder: give delay_seconds or at, one of them")
        due_at = ask.at if ask.at is not None else time.time() + (ask.delay_seconds or 0)
        row = await self.reminders.remind(party(agent), ask.message, due_at, mid=ask.mid)
        self.fleet.chronicle.changed(agent)
        return wire.ReminderSet(id=row.id, due_at=row.due_at)

    async def get_loose_ends(self, agent: Agent, _: Nothing) -> wire.LooseEnds:
        """Questions it asked or has to answer, its reminders, and its requests; the manager sees everybody's.

        The oldest of them, their texts cut.
        """
        everything = agent.name == MANAGER
        questions = await (self.questions.unanswered() if everything else self.questions.of(agent.name))
        ends = [_question(row) for row in questions]
        ends += [_reminder(row) for row in await self.reminders.pending(agent.name)]
        ends += [
            wire.LooseEnd(
                kind=wire.LooseEndKind.APPROVAL, id=row.id, text=_wish(row),
                asker=row.requester, target=row.agent, since=row.requested_at,
            )
            for row in await self.approvals.pending()
            if everything or row.requester == agent.name
        ]  # fmt: skip
        oldest = sorted(ends, key=lambda end: end.since)[:MAX_ENDS]
        return wire.LooseEnds(ends=[structs.replace(end, text=headline(end.text)) for end in oldest])

    async def cancel_loose_end(self, agent: Agent, ask: wire.CancelLooseEnd) -> Nothing:
        match ask.kind:
            case wire.LooseEndKind.QUESTION:
                await self.questions.cancel(ask.id, by=agent.name)
            case wire.LooseEndKind.REMINDER:
                await self.reminders.cancel(ask.id, agent=agent.name)
                self.fleet.chronicle.changed(agent)
            case wire.LooseEndKind.APPROVAL:
                await self.shape.withdraw(ask.id, agent.name)
        return Nothing()

    # the operator's

    async def ask_agent(
        self, to: str, question: str, options: list[str], *, multi: bool, ttl_s: int | None
    ) -> QuestionRow:
        return await self.questions.ask(THE_OPERATOR, party(self.fleet.get(to)), question, options, multi, ttl_s)

    # news of them

    def question_changed(self, row: QuestionRow) -> None:
        """Tell those who watch."""
        answered = row.answered_at is not None
        fields = {"id": row.id, "asker": row.asker, "target": row.target}
        if row.answer is not None and is_no_answer(row.answer):
            fields["note"] = row.answer
        self.fleet.chronicle.note(row.asker if row.asker in self.fleet else "",
                                  "question_answered" if answered else "question_asked", fields)  # fmt: skip

    def reminder_changed(self, row: ReminderRow) -> None:
        if row.agent in self.fleet:
            self.fleet.chronicle.changed(self.fleet.get(row.agent))


def party(agent: Agent) -> Party:
    return Party(name=agent.name, incarnation=agent.row.incarnation)


def headline(text: str) -> str:
    return text if len(text) <= _HEADLINE else f"{text[:_HEADLINE]} ..."


def _question(row: QuestionRow) -> wire.LooseEnd:
    return wire.LooseEnd(
        kind=wire.LooseEndKind.QUESTION, id=row.id, text=row.question, asker=row.asker, target=row.target,
        since=row.asked_at, due_at=row.deadline_at,
    )  # fmt: skip


def _wish(row: ApprovalRow) -> str:
    return f"{row.kind} {row.agent or 'of all agents'}: {row.description or ''}"


def _reminder(row: ReminderRow) -> wire.LooseEnd:
    return wire.LooseEnd(
        kind=wire.LooseEndKind.REMINDER, id=row.id, text=row.message, since=row.created_at, due_at=row.due_at
    )
