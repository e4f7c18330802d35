"""What an agent with tool groups may do to others: the manager to all, any other to those whose parent it is."""

import asyncio
from dataclasses import dataclass
from typing import Final

from hyperhive.broker.approvals import ApprovalRow
from hyperhive.broker.jobs import JobDraft, JobKind
from hyperhive.hub import way_in
from hyperhive.hub.agents import Agent
from hyperhive.hub.asking import headline
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.queue import JobQueue
from hyperhive.hub.shape import Shape
from hyperhive.protocol import agent as wire
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import MANAGER, MANAGER_CONTAINER
from hyperhive.protocol.settings import Schedule

PATIENCE_S: Final = 30.0
"""How long a tool waits for the job that it began; the job goes on after it."""
_LOG_BYTES: Final = 256 * 1024
_HISTORY: Final = 1000
"""Approvals among which those of one agent are looked for."""


@dataclass(frozen=True, kw_only=True)
class Steering:
    """The manager's tools. Who asks is the agent whose socket it came through; whether it has the tools at all is
    decided where the call comes in."""

    fleet: Fleet
    shape: Shape
    queue: JobQueue

    # run state

    async def kill(self, agent: Agent, ask: wire.Subject) -> wire.JobAnswer:
        return await self._act(agent, ask.name, JobKind.STOP)

    async def start(self, agent: Agent, ask: wire.Subject) -> wire.JobAnswer:
        return await self._act(agent, ask.name, JobKind.START)

    async def restart(self, agent: Agent, ask: wire.Subject) -> wire.JobAnswer:
        return await self._act(agent, ask.name, JobKind.RESTART)

    async def update(self, agent: Agent, ask: wire.Subject) -> wire.JobAnswer:
        return await self._act(agent, ask.name, JobKind.REBUILD)

    async def _act(self, agent: Agent, name: str, kind: JobKind) -> wire.JobAnswer:
        subject = self._subject(agent, name)
        if subject is agent:
            raise FaultError(FaultKind.NOT_ALLOWED, f"cannot {kind} yourself; the operator can")
        row = await self.queue.submit(JobDraft(agent=subject.name, kind=kind, source="manager", requester=agent.name))
        try:
            async with asyncio.timeout(PATIENCE_S):
                row = await self.queue.ended(row.id)
        except TimeoutError:
            row = await self.queue.jobs.get(row.id) or row
        return wire.JobAnswer(job=row.id, state=row.state, error=row.error)

    # requests

    async def request_spawn(self, agent: Agent, ask: wire.RequestSpawn) -> wire.Requested:
        return _requested(await self.shape.request_spawn(ask.name, ask.description, requester=agent.name, mid=ask.mid))

    async def request_init_config(self, agent: Agent, ask: wire.RequestSpawn) -> wire.Requested:
        return _requested(
            await self.shape.request_init_config(ask.name, ask.description, requester=agent.name, mid=ask.mid)
        )

    async def request_apply_commit(self, agent: Agent, ask: wire.RequestApplyCommit) -> wire.Requested:
        name = _known_as(ask.agent)
        if name in self.fleet or agent.name != MANAGER:
            self._subject(agent, name)
        check_ref(ask.commit_ref)
        return _requested(
            await self.shape.request_apply_commit(
                name, ask.commit_ref, ask.description, requester=agent.name, mid=ask.mid
            )
        )

    async def request_schedule(self, agent: Agent, ask: wire.RequestSchedule) -> wire.Requested:
        return await self._schedule(agent, ask, ask.schedule)

    async def request_schedule_removal(self, agent: Agent, ask: wire.RequestScheduleRemoval) -> wire.Requested:
        return await self._schedule(agent, ask, None)

    async def request_update_meta_inputs(self, agent: Agent, ask: wire.RequestUpdateMetaInputs) -> wire.Requested:
        return _requested(
            await self.shape.request_update_inputs(ask.inputs, ask.description, requester=agent.name, mid=ask.mid)
        )

    async def _schedule(
        self, agent: Agent, ask: wire.RequestSchedule | wire.RequestScheduleRemoval, schedule: Schedule | None
    ) -> wire.Requested:
        subject = self._subject(agent, ask.agent)
        return _requested(
            await self.shape.request_schedule(
                subject.name, ask.name, schedule, ask.description, requester=agent.name, mid=ask.mid
            )
        )

    # looking

    async def get_logs(self, agent: Agent, ask: wire.GetLogs) -> wire.LogLines:
        subject = self._subject(agent, ask.agent)
        batches = way_in.logs(self.fleet.house, subject, lines=ask.lines, follow=False)
        lines = [line async for batch in batches for line in batch]
        return wire.LogLines(lines=_newest_within(lines, _LOG_BYTES))

    async def get_approvals(self, agent: Agent, ask: wire.GetApprovals) -> wire.ApprovalList:
        rows = await self.shape.approvals.newest(ask.limit if agent.name == MANAGER else _HISTORY)
        its = [row for row in rows if agent.name == MANAGER or row.requester == agent.name]
        return wire.ApprovalList(approvals=[_info(row) for row in its[: ask.limit]])

    def _subject(self, agent: Agent, name: str) -> Agent:
        """The agent to act on, when it is the caller's to act on."""
        subject = self.fleet.get(_known_as(name))
        if agent.name != MANAGER and subject.parent != agent.name:
            children = ", ".join(other.name for other in self.fleet.agents() if other.parent == agent.name) or "none"
            raise FaultError(
                FaultKind.NOT_ALLOWED, f"cannot act on {subject.name!r}: only on your own children ({children})"
            )
        return subject


def check_ref(ref: str) -> None:
    """An agent names a commit by its id alone: a branch or a tag could be another commit a moment later."""
    if not 7 <= len(ref) <= 40 or set(ref) - set("0123456789abcdef"):
        raise FaultError(
            FaultKind.BAD_COMMIT,
            f"cannot propose {ref[:64]!r}: give the commit's id, 7 to 40 hex digits (git rev-parse HEAD), not a name",
        )


def _known_as(name: str) -> str:
    return MANAGER if name == MANAGER_CONTAINER else name


def _requested(row: ApprovalRow) -> wire.Requested:
    return wire.Requested(approval=row.id, sha=row.fetched_sha or "", warnings=list(row.warnings))


def _info(row: ApprovalRow) -> wire.ApprovalInfo:
    return wire.ApprovalInfo(
        id=row.id, agent=row.agent, kind=row.kind, status=row.status, sha=row.fetched_sha or "",
        description=headline(row.description or ""), note=headline(row.note or ""), requested_at=row.requested_at,
        resolved_at=row.resolved_at,
    )  # fmt: skip


def _newest_within(lines: list[str], most: int) -> list[str]:
    """As many of the last lines as fit."""
    for first, line in reversed(list(enumerate(lines))):
        most -= len(line.encode(errors="replace"))
        if most < 0:
            return lines[first + 1 :]
    return lines
