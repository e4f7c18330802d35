"""What the overview is made of: for each section what it is about, what it looks up and its template."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from starlette.requests import Request

from hyperhive.broker.jobs import JobKind, JobRow, JobState
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.hive import Hive
from hyperhive.hub.status import status_row
from hyperhive.protocol import host
from hyperhive.protocol.events import TurnState
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import EVERYONE, MANAGER, OPERATOR
from hyperhive.web.refusals import refused
from hyperhive.web.rendering import render
from hyperhive.web.waiting import waiting as what_waits

FLOW: Final = 50
JOBS: Final = 20
LATELY_S: Final = 3600.0
"""How long a spawn that failed stands among the agents."""
DECIDED: Final = 8
DEAD: Final = 20
REMINDERS: Final = 8
SCHEDULES: Final = 40
INPUTS: Final = 50
"""As many as one request can name."""
DIFF_LINES: Final = 1000
"""Lines of diffs that the cards show, all together; what does not fit has a page of its own."""

View = Mapping[str, Any]


class Subject(StrEnum):
    """What can change in the hive, as far as it is shown."""

    AGENTS = "agents"
    LIVES = "lives"  #: an agent came to be or is no more
    MAIL = "mail"
    APPROVALS = "approvals"
    QUESTIONS = "questions"
    JOBS = "jobs"
    TURNS = "turns"  #: one began or ended
    NETWORK = "network"  #: an agent was refused a host
    DEPLOYMENTS = "deployments"  #: a config was deployed, or could not be


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the page, drawn anew when something that it is about has changed. Its name is its element's id."""

    name: str
    about: frozenset[Subject]
    look: Callable[[Hive], Awaitable[View]]
    agent: str = ""  #: changes of other agents are nothing to it

    async def draw(self, hive: Hive) -> str:
        """In a thread: what agents write can take a while to format. What looks up nothing leaves only its place."""
        values = await self.look(hive)
        if not values:
            return render("sections/nothing.html", id=self.name)
        return await asyncio.to_thread(functools.partial(render, f"sections/{self.name}.html", **values))


@dataclass(frozen=True, kw_only=True)
class AgentSection:
    """One part of every agent's page, drawn anew when something about the agent has changed. Its name is its
    element's id; `name` and `path` of the agent are among its template's values."""

    name: str
    about: frozenset[Subject]
    look: Callable[[Hive, str], Awaitable[View]]

    def of(self, agent: str) -> Section:
        """The section on that agent's page."""

        async def look(hive: Hive) -> View:
            values = await self.look(hive, agent)
            return {"name": agent, "path": f"/agents/{agent}", **values} if values else {}

        return Section(name=self.name, about=self.about, look=look, agent=agent)


def can_start(agent: Agent) -> bool:
    """Its container is down, whatever else holds the agent: a pause, a login that it needs."""
    return agent.phase in (Phase.STOPPED, Phase.FAILED, Phase.BACKING_OFF)


def can_cancel(agent: Agent) -> bool:
    """A turn is under way."""
    return agent.running and agent.turn_state != TurnState.IDLE


@dataclass(frozen=True, kw_only=True)
class AgentView:
    """An agent's row: what the roster says, and what is being done with it."""

    status: host.AgentStatusRow
    job: JobRow | None
    is_manager: bool
    can_start: bool
    can_cancel: bool  #: the turn under way

    @property
    def place(self) -> tuple[int, str]:
        """What needs the operator comes first, then the manager, then all by name: a row keeps its place while its
        agent works."""
        needs = self.status.failed or self.status.needs_login or bool(self.status.limit_asks)
        return (0 if needs else 1 if self.is_manager else 2), self.status.name

    @property
    def context_tokens(self) -> int:
        return self.status.context_tokens or 0


@dataclass(frozen=True, kw_only=True)
class Diff:
    """All or the beginning of what an approval would change."""

    about: host.ApprovalDiff
    files: list[host.DiffFile]
    left_out: int = 0  #: lines, all of them: there are too many for the place
    problem: str = ""  #: why there is none

    @property
    def is_whole(self) -> bool:
        """Only what was shown can be approved."""
        return not self.left_out and not self.problem


async def agents(hive: Hive) -> View:
    unread, reminders = await hive.mailbox.unread_counts(), await hive.asking.reminders.counts()
    spent = await hive.turns.spent_today()
    at_work = {job.agent: job for job in reversed(await hive.queue.jobs.unfinished())}

    def row(agent: Agent) -> AgentView:
        status = status_row(
            agent, unread.get(agent.name, 0), reminders=reminders.get(agent.name, 0),
            needs_update=hive.fleet.house.needs_update(agent), cost_today_usd=spent.get(agent.name, 0.0),
            parent=agent.parent if agent.parent in hive.fleet else "",
        )  # fmt: skip
        return AgentView(
            status=status, job=at_work.get(agent.name), is_manager=agent.name == MANAGER,
            can_start=can_start(agent), can_cancel=can_cancel(agent),
        )  # fmt: skip

    coming = [job for job in at_work.values() if job.agent and job.agent not in hive.fleet]
    rows = sorted(map(row, hive.fleet.agents()), key=lambda view: view.place)
    return {"agents": rows, "coming": coming, "failed": await _failed_spawns(hive)}


async def _failed_spawns(hive: Hive) -> list[JobRow]:
    """There is no agent whose row could say so."""
    newest = {job.agent: job for job in reversed(await hive.queue.jobs.newest(JOBS))}
    since = time.time() - LATELY_S
    return [
        job for job in newest.values()
        if job.kind is JobKind.SPAWN and job.state is JobState.FAILED and (job.ended_at or 0.0) > since
        and job.agent not in hive.fleet
    ]  # fmt: skip


async def approvals(hive: Hive) -> View:
    listed = await hive.shape.listed()
    waiting = [row for row in reversed(listed) if row.status == "pending"]
    left, cards = DIFF_LINES, []
    for row in waiting:
        shown = await diff(hive, row.id, "deployed", left)
        left = max(0, left - sum(len(file.lines) + 1 for file in shown.files))
        cards.append((row, shown))
    return {"cards": cards, "decided": [row for row in listed if row.status != "pending"][:DECIDED]}


async def diff(hive: Hive, number: int, base: str, limit: int) -> Diff:
    """What the approval would change against a base, and no more than so many lines of it."""
    about, files, lines = None, [], 0
    try:
        async for part in hive.shape.diff(number, base):
            about = about or part
            files += part.files
            lines += sum(len(file.lines) + 1 for file in part.files)
    except FaultError as fault:
        if about is None:
            raise
        return Diff(about=about, files=[], problem=fault.message)
    assert about is not None, "a diff begins with what it is about"
    if lines <= limit:
        return Diff(about=about, files=files)
    return Diff(about=about, files=[], left_out=lines)


async def questions(hive: Hive) -> View:
    rows = [row for row in await hive.asking.questions.unanswered() if row.target == OPERATOR]
    others = [row for row in await hive.asking.questions.unanswered() if row.target != OPERATOR]
    return {"questions": rows, "others": others}


async def inbox(hive: Hive) -> View:
    unread = (await hive.mailbox.inbox(OPERATOR, FLOW, unread_only=True))[::-1]
    latest = await hive.mailbox.inbox(OPERATOR, 10)
    count = (await hive.mailbox.unread_counts()).get(OPERATOR, 0)
    return {"unread": unread, "count": count, "read": [row for row in latest[::-1] if row.state == "handled"]}


async def flow(hive: Hive) -> View:
    return {"messages": (await hive.mailbox.flow(FLOW))[::-1]}


async def dead(hive: Hive) -> View:
    return {"letters": await hive.mailbox.dead_letters(DEAD), "count": await hive.mailbox.dead_count()}


async def tombstones(hive: Hive) -> View:
    return {"tombstones": await hive.fleet.tombstones()}


async def jobs(hive: Hive) -> View:
    unfinished = await hive.queue.jobs.unfinished()
    known = {row.id for row in unfinished}
    ended = [row for row in await hive.queue.jobs.newest(JOBS) if row.id not in known]
    return {"jobs": [*reversed(unfinished), *ended][: max(JOBS, len(unfinished))], "busy": len(unfinished)}


async def recipients(hive: Hive) -> View:
    return {"names": [str(name) for name in hive.fleet.names()], "everyone": EVERYONE}


async def reminders(hive: Hive) -> View:
    pending = await hive.asking.reminders.pending()
    return {"reminders": pending[:REMINDERS], "count": len(pending)}


async def schedules(hive: Hive) -> View:
    rows = await hive.scheduling.of(None)
    soonest = sorted(rows, key=lambda row: (row.paused, row.next_at or float("inf"), row.agent, row.name))
    return {"schedules": soonest[:SCHEDULES], "count": len(rows)}


async def inputs(hive: Hive) -> View:
    """Of a hive whose agents are containers of NixOS; any other has none."""
    try:
        rows, problem = await hive.shape.inputs(), ""
    except FaultError as fault:
        rows, problem = [], fault.message
    return {"inputs": rows[:INPUTS], "count": len(rows), "problem": problem} if rows or problem else {}


async def refusals(hive: Hive) -> View:
    return {"refusals": await refused(hive)}


async def waiting(hive: Hive) -> View:
    """What waits for the operator."""
    return await what_waits(hive, [status_row(agent, 0) for agent in hive.fleet.agents()])


def _section(look: Callable[[Hive], Awaitable[View]], *about: Subject) -> Section:
    return Section(name=look.__name__, about=frozenset(about), look=look)


SECTIONS: Final[tuple[Section, ...]] = (
    _section(waiting, Subject.MAIL, Subject.APPROVALS, Subject.QUESTIONS, Subject.LIVES, Subject.AGENTS),
    _section(recipients, Subject.LIVES),
    _section(approvals, Subject.APPROVALS, Subject.LIVES),
    _section(agents, Subject.AGENTS, Subject.LIVES, Subject.MAIL, Subject.JOBS, Subject.TURNS),
    _section(flow, Subject.MAIL),
    _section(questions, Subject.QUESTIONS, Subject.LIVES),
    _section(inbox, Subject.MAIL),
    _section(jobs, Subject.JOBS),
    _section(reminders, Subject.AGENTS, Subject.LIVES),
    _section(schedules, Subject.AGENTS, Subject.LIVES),
    _section(refusals, Subject.NETWORK, Subject.LIVES, Subject.DEPLOYMENTS),
    _section(inputs, Subject.DEPLOYMENTS, Subject.LIVES),
    _section(dead, Subject.MAIL),
    _section(tombstones, Subject.LIVES),
)


def path_of(request: Request) -> dict[str, Any]:
    """What stands in the path; a number that nothing can have is none at all."""
    path = dict(request.path_params)
    if path.get("id", 0) >= 2**63:
        path["id"] = 0
    return path
