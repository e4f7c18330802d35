"""What an agent is, and whether it is: nothing of it changes before the operator has decided on a pinned commit."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from msgspec import UNSET, structs

from hyperhive.broker.approvals import ApprovalRow, Approvals
from hyperhive.broker.decisions import Decisions
from hyperhive.broker.deployments import DeploymentRow, Deployments
from hyperhive.broker.jobs import JobDraft, JobKind, JobRow
from hyperhive.config import agent_toml, schedule_edit
from hyperhive.hub import directories, risks
from hyperhive.hub.agents import Agent
from hyperhive.hub.configs import Configs
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.helper_events import approval_resolved, helper_event
from hyperhive.hub.queue import JobQueue, succeeded
from hyperhive.hub.status import rfc3339
from hyperhive.hub.systems import Systems
from hyperhive.hub.work import Work, tags
from hyperhive.protocol import host
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import MANAGER, OPERATOR, AgentName, agent_name, known_form
from hyperhive.protocol.settings import Schedule
from hyperhive.repos.meta_flake import HYPERHIVE, concerned

SPAWN: Final = "spawn"
INIT_CONFIG: Final = "init_config"
UPDATE_META_INPUTS: Final = "update_meta_inputs"
APPLY_COMMIT: Final = "apply_commit"
"""Kinds of approvals."""
_KIND_OF_JOB: Final = {
    SPAWN: JobKind.SPAWN,
    INIT_CONFIG: JobKind.INIT_CONFIG,
    APPLY_COMMIT: JobKind.DEPLOY,
    UPDATE_META_INPUTS: JobKind.UPDATE_META_INPUTS,
}
ORPHANED: Final = "agent state dir missing"
_HISTORY: Final = 10_000
"""Approvals whose tags are looked after at a start."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Requests, decisions and their way into the job queue."""

    fleet: Fleet
    configs: Configs
    approvals: Approvals
    decisions: Decisions
    deployments: Deployments
    queue: JobQueue
    work: Work

    # requests

    async def request_spawn(
        self, name: str, description: str, *, requester: str = OPERATOR, mid: str | None = None
    ) -> ApprovalRow:
        """Queue a spawn for the operator's decision."""
        checked = agent_name(name)
        await self._refuse_taken(checked, SPAWN, requester, mid)
        return await self._queue(agent=checked, kind=SPAWN, description=description, requester=requester, mid=mid)

    async def request_init_config(
        self, name: str, description: str, *, requester: str = OPERATOR, mid: str | None = None
    ) -> ApprovalRow:
        """Queue the making of a config repository, for an agent whose first commit is to make it."""
        checked = agent_name(name)
        await self._refuse_taken(checked, INIT_CONFIG, requester, mid)
        if await asyncio.to_thread(directories.has_repository, self.fleet.house.paths, checked):
            raise FaultError(
                FaultKind.NAME_TAKEN,
                f"cannot make a config repository for {checked!r}: there is one; commit to it and propose the commit",
            )
        return await self._queue(
            agent=checked, kind=INIT_CONFIG, description=description, requester=requester, mid=mid
        )

    async def request_update_inputs(
        self, names: Sequence[str], description: str, *, requester: str = OPERATOR, mid: str | None = None
    ) -> ApprovalRow:
        """Queue newer revisions of these inputs of the agents' systems, or of all where none is named. While that
        waits for a decision, asking again gives what waits."""
        await self._systems().check_names(names)
        ordered = sorted({*names}, key=lambda name: (name != HYPERHIVE, name))
        return await self._queue(
            agent="", kind=UPDATE_META_INPUTS, commit_ref=",".join(ordered), description=description,
            requester=requester, mid=mid, alone=True,
        )  # fmt: skip

    async def inputs(self) -> list[host.MetaInput]:
        """What the agents' systems are made from; nothing where there are no systems of NixOS."""
        systems = self.fleet.house.systems
        if systems is None:
            return []
        return [
            host.MetaInput(
                name=found.name, url=found.url, revision=found.revision,
                last_modified=rfc3339(found.last_modified) if found.last_modified else UNSET,
                agents=concerned(found.name, systems.made),
            )
            for found in await systems.inputs()
        ]  # fmt: skip

    def _systems(self) -> Systems:
        systems = self.fleet.house.systems
        if systems is None:
            raise FaultError(
                FaultKind.WRONG_STATE, "this hive makes no systems of NixOS: its host has no nixos-container"
            )
        return systems

    async def request_apply_commit(
        self, name: str, ref: str, description: str, *, requester: str = OPERATOR, mid: str | None = None
    ) -> ApprovalRow:
        """Pin this commit of the agent's config repository and queue it for the operator's decision.

        Whatever is wrong with it is refused here, and then nothing is queued. Raises FaultError (`bad_commit`,
        `bad_config`).
        """
        checked = known_form(name)
        self._check_can_have_config(checked)
        sha = await self.configs.pin(checked, ref or "HEAD")
        return await self._propose(checked, sha, ref, description, requester=requester, mid=mid)

    async def edit_config(self, name: str, text: str, base: str | None, description: str) -> ApprovalRow:
        """Queue the deployed config with another agent.toml, as a commit of the operator's."""
        agent = self.fleet.get(name)
        if base is not None and base != agent.row.deployed_sha:
            raise FaultError(
                FaultKind.SHA_MISMATCH,
                f"the config of {agent.name!r} was changed meanwhile: {agent.row.deployed_sha[:12]} is deployed now; "
                "look at it and edit that",
            )
        await asyncio.to_thread(agent_toml.parse, text)
        message = description or "Edited by the operator"
        sha = await self.configs.edit(agent.name, agent.row.deployed_sha, text, message)
        return await self._propose(agent.name, sha, sha, message, requester=OPERATOR, mid=None)

    async def request_schedule(
        self, name: str, schedule: str, spec: Schedule | None, description: str, *, requester: str, mid: str
    ) -> ApprovalRow:
        """Queue the deployed config with this schedule, or without it, as a commit of whoever asks for it."""
        agent = self.fleet.get(name)
        base = agent.row.deployed_sha
        text = await self.configs.text(agent.name, base)
        edited = await asyncio.to_thread(schedule_edit.with_schedule, text, schedule, spec)
        message = description or (f"Schedule {schedule}" if spec is not None else f"No more schedule {schedule}")
        sha = await self.configs.edit(agent.name, base, edited, message, author=requester)
        return await self._propose(agent.name, sha, sha, message, requester=requester, mid=mid)

    async def _propose(
        self, name: AgentName, sha: str, ref: str, description: str, *, requester: str, mid: str | None
    ) -> ApprovalRow:
        config = await self.configs.check(name, sha, [*self.fleet.names(), name], backend=self.fleet.backend_of(name))
        self.fleet.check_parent(name, config.settings.parent)
        agent = self.fleet.get(name) if name in self.fleet else None
        deployed = agent.row.deployed_sha if agent else ""
        beside = await self.configs.other_files(name, sha, deployed)
        warnings = risks.warnings(agent.settings if agent else None, config.settings, other_files=beside)
        self._check_can_have_config(name)  # it took a while: the agent may have been purged meanwhile
        row = await self._queue(
            agent=name,
            kind=APPLY_COMMIT,
            commit_ref=ref or sha,
            fetched_sha=sha,
            description=description,
            requester=requester,
            mid=mid,
            warnings=warnings,
        )
        await self.work.show(row, deployed=False)
        return row

    async def _queue(self, *, description: str, **fields: object) -> ApprovalRow:
        row, is_new = await self.approvals.queue(description=description or None, **fields)  # type: ignore[arg-type]
        if is_new:
            self.fleet.chronicle.note(row.agent, "approval_added", {"id": row.id, "approval_kind": row.kind})
        return row

    async def _refuse_taken(self, name: AgentName, kind: str, requester: str, mid: str | None) -> None:
        if name in self.fleet:
            raise FaultError(FaultKind.NAME_TAKEN, f"cannot ask for {name!r}: there is an agent of that name")
        for row in await self.approvals.pending():
            if (row.agent, row.kind) == (name, kind) and (mid is None or (row.requester, row.mid) != (requester, mid)):
                raise FaultError(
                    FaultKind.WRONG_STATE, f"cannot ask for {name!r}: approval {row.id} asks for it already"
                )

    def _check_can_have_config(self, name: AgentName) -> None:
        paths = self.fleet.house.paths
        if name not in self.fleet and not directories.has_repository(paths, name):
            raise self.fleet.unknown(name)

    # decisions

    async def approve(self, number: int, sha: str | None) -> JobRow:
        """Decide for it, once, and have it carried out; the job when it is done. Raises what it failed of."""
        job = await self.order(number, sha)
        return succeeded(await self.queue.ended(job.id))

    async def order(self, number: int, sha: str | None) -> JobRow:
        """Decide for it, once; the job that carries it out."""
        row = await self._row(number)
        await self._check_not_orphaned(row)
        kind = _KIND_OF_JOB.get(row.kind)
        if kind is None:
            raise FaultError(FaultKind.WRONG_STATE, f"cannot approve {number}: this hive does not know its kind")
        params: dict[str, str | bool | None] = {"description": row.description}
        if row.requester not in (OPERATOR, MANAGER):
            params["parent"] = row.requester
        if kind is JobKind.UPDATE_META_INPUTS:
            params["inputs"] = row.commit_ref
        if kind is JobKind.DEPLOY and row.agent not in self.fleet:
            params["first"] = True  # it is to make the agent
        draft = JobDraft(agent=row.agent, kind=kind, params=params, source="approval", requester=row.requester)
        _, job = await self.decisions.approve(number, sha=sha, job=draft)
        return job

    async def deny(self, number: int, reason: str) -> None:
        row = await self._row(number)
        tag = f"denied/{number}" if row.kind == APPLY_COMMIT else ""
        denied = await self.decisions.deny(number, reason, [approval_resolved(row, "denied", reason, tag)])
        await self._resolved(denied)

    async def withdraw(self, number: int, by: str) -> None:
        """Whoever asked for it takes it back."""
        row = await self._row(number)
        if row.requester != by:
            raise FaultError(FaultKind.NOT_ALLOWED, f"cannot withdraw approval {number}: you did not ask for it")
        await self._resolved(await self.decisions.cancel(number, f"withdrawn by {by}"))

    async def rollback(self, name: str, to: int | None) -> JobRow:
        """An earlier deployment is live again; the job when it is done. Raises what it failed of."""
        job = await self.order_rollback(name, to)
        return succeeded(await self.queue.ended(job.id))

    async def order_rollback(self, name: str, to: int | None) -> JobRow:
        """An earlier deployment is to go live again: the operator's own proposal, approved as it is made; its job."""
        agent = self.fleet.get(name)
        target = await self._earlier(agent, to)
        description = f"rollback to deployed/{target.approval}"
        draft = JobDraft(agent=agent.name, kind=JobKind.DEPLOY, source="operator", requester=OPERATOR)
        row, job = await self.decisions.decide_and_do(
            agent=agent.name, kind=APPLY_COMMIT, job=draft, commit_ref=target.sha, fetched_sha=target.sha,
            description=description,
        )  # fmt: skip
        self.fleet.chronicle.note(agent.name, "approval_added", {"id": row.id, "approval_kind": row.kind})
        return job

    async def _earlier(self, agent: Agent, to: int | None) -> DeploymentRow:
        known = [row for row in await self.deployments.of(agent.name, 1000) if to is None or row.approval == to]
        for row in known:
            if row.sha != agent.row.deployed_sha:
                return row
        why = "it is what is deployed now" if known else "there is no such deployment"
        raise FaultError(
            FaultKind.WRONG_STATE, f"cannot roll {agent.name!r} back: {why}; hive deployments {agent.name} shows them"
        )

    async def _row(self, number: int) -> ApprovalRow:
        row = await self.approvals.get(number)
        if row is None:
            text = f"cannot decide approval {number}: there is none with this id"
            raise FaultError(FaultKind.UNKNOWN_APPROVAL, text)
        return row

    async def _resolved(self, row: ApprovalRow) -> None:
        if row.kind == APPLY_COMMIT:
            await self.work.show(row, deployed=False)
        fields = {"id": row.id, "approval_kind": row.kind, "status": row.status, "note": row.note or ""}
        self.fleet.chronicle.note(row.agent, "approval_resolved", fields)

    # orphans

    async def _check_not_orphaned(self, row: ApprovalRow) -> None:
        if row.status == "pending" and await self._is_orphaned(row):
            await self._fail_orphan(row)
            raise FaultError(FaultKind.WRONG_STATE, f"cannot approve {row.id}: {ORPHANED}")

    async def _is_orphaned(self, row: ApprovalRow) -> bool:
        if row.kind != APPLY_COMMIT:
            return False
        name = AgentName(row.agent)
        gone = name in self.fleet and not await asyncio.to_thread(self.fleet.house.paths.agent(name).is_dir)
        return gone or await self.configs.has_lost(name, row.fetched_sha or "")

    async def _fail_orphan(self, row: ApprovalRow) -> None:
        told = approval_resolved(row, "failed", ORPHANED, f"failed/{row.id}")
        try:
            failed = await self.decisions.fail(row.id, ORPHANED, [told])
        except FaultError as fault:
            if fault.kind is not FaultKind.WRONG_STATE:
                raise
        else:
            await self._resolved(failed)  # not when it was decided meanwhile: that stands

    async def mark_orphans(self) -> None:
        """Proposals whose agent's state has vanished have failed; their rows stay."""
        for row in await self.approvals.pending():
            if await self._is_orphaned(row):
                await self._fail_orphan(row)

    # looking

    async def listed(self) -> list[host.Approval]:
        """All that waits for a decision, however old, and the newest of the rest; newest first."""
        await self.mark_orphans()
        found = {row.id: row for row in (*await self.approvals.newest(), *await self.approvals.pending())}
        return await self._shown([found[number] for number in sorted(found, reverse=True)])

    async def approval(self, number: int) -> host.Approval:
        """One of them, however old; raises FaultError (`unknown_approval`)."""
        await self.mark_orphans()
        row = await self.approvals.get(number)
        if row is None:
            raise FaultError(FaultKind.UNKNOWN_APPROVAL, f"there is no approval {number}")
        (shown,) = await self._shown([row])
        return shown

    async def _shown(self, rows: list[ApprovalRow]) -> list[host.Approval]:
        deployed = {agent: {row.approval for row in await self.deployments.of(agent, 1000)} for agent in _agents(rows)}
        return [_with_tag(row, live=row.id in deployed.get(row.agent, ())) for row in rows]

    async def diff(self, number: int, base: str) -> AsyncIterator[host.ApprovalDiff]:
        """What it would change, a file at a time; first what it is about."""
        row = await self._row(number)
        base_sha = await self._base(row, base) if row.kind == APPLY_COMMIT else ""
        yield host.ApprovalDiff(
            id=row.id, agent=row.agent, kind=row.kind, sha=row.fetched_sha or "", base=base, base_sha=base_sha,
            warnings=list(row.warnings), requester=row.requester, description=row.description or "", status=row.status,
            inputs=_inputs(row),
        )  # fmt: skip
        if row.kind == APPLY_COMMIT and row.fetched_sha:
            if await self.configs.has_lost(AgentName(row.agent), row.fetched_sha):
                raise FaultError(
                    FaultKind.WRONG_STATE,
                    f"cannot show what approval {row.id} would change: its commit went when {row.agent!r} was purged",
                )
            for file in await self.configs.diff(AgentName(row.agent), base_sha, row.fetched_sha):
                yield host.ApprovalDiff(id=row.id, agent=row.agent, kind=row.kind, files=[file])

    async def _base(self, row: ApprovalRow, base: str) -> str:
        if base == "approved":
            other = await self.approvals.last_approved(row.agent, row.id)
        elif base == "queued":
            other = await self.approvals.previous_queued(row)
        else:
            return self.fleet.get(row.agent).row.deployed_sha if row.agent in self.fleet else ""
        sha = other.fetched_sha if other else None
        return sha if sha and await self.configs.has(AgentName(row.agent), sha) else ""

    async def deployed(self, name: str, limit: int) -> list[host.Deployment]:
        agent = self.fleet.get(name)
        rows = await self.deployments.of(agent.name, limit)
        current = next((row.approval for row in rows if row.sha == agent.row.deployed_sha), None)
        return [
            host.Deployment(
                id=row.approval, agent=row.agent, sha=row.sha, tag=f"deployed/{row.approval}",
                deployed_at=rfc3339(row.deployed_at), current=row.approval == current, description=row.description,
            )
            for row in rows
        ]  # fmt: skip

    async def config(self, name: str) -> host.AgentConfig:
        """The settings in effect, and where each is from."""
        agent = self.fleet.get(name)
        text = await self.configs.text(agent.name, agent.config.sha)
        current = next((row.tag for row in await self.deployed(name, 1000) if row.current), "")
        return host.AgentConfig(
            name=agent.name, sha=agent.config.sha, tag=current, text=text,
            settings=[_in_effect(setting, agent) for setting in await self.configs.sources(text)],
            document=self.fleet.house.document(agent, self.fleet.names()),
        )  # fmt: skip

    # at start

    async def settle(self) -> None:
        """Make git say what the database has decided: an earlier daemon may have died between the two."""
        await self.mark_orphans()
        wanted: dict[str, dict[str, tuple[str, str | None]]] = {}
        for row in await self.approvals.newest(_HISTORY):
            if row.kind == APPLY_COMMIT:
                wanted.setdefault(row.agent, {}).update(tags(row))
        await self._begin_histories()
        for agent in self.fleet.agents():
            for live in await self.deployments.of(agent.name, _HISTORY):
                wanted.setdefault(agent.name, {})[f"deployed/{live.approval}"] = (live.sha, None)
        for name, its in wanted.items():
            await self.configs.complete_tags(AgentName(name), its)
        for agent in self.fleet.agents():
            await self._show_deployed(agent)
        await self.fleet.repair_proposed()
        await self.fleet.nixos.sync(self.fleet.agents())
        await self._renew_systems()

    async def _renew_systems(self) -> None:
        """Agents whose systems would be others now, because hyperhive or an input is newer, get those."""
        for agent in self.fleet.agents():
            if agent.row.backend is BackendKind.NIXOS and self.fleet.house.needs_update(agent):
                draft = JobDraft(
                    agent=agent.name, kind=JobKind.REBUILD, source="startup", reason="its system is stale"
                )
                await self.queue.submit(draft)

    async def _show_deployed(self, agent: Agent) -> None:
        """Main is at what is deployed, also when a job deploys something meanwhile."""
        shown = ""
        while agent.row.deployed_sha != shown:
            shown = agent.row.deployed_sha
            await self.configs.show_main(agent.name, shown)

    async def _begin_histories(self) -> None:
        """What an earlier version deployed is the first deployment; who is being made now gets one from its job."""
        agents = self.fleet.agents()
        at_work = {job.agent for job in await self.queue.jobs.unfinished()}
        for agent in agents:
            sha = agent.row.deployed_sha
            if sha and agent.name not in at_work and not await self.deployments.of(agent.name, 1):
                await self.deployments.add(
                    DeploymentRow(
                        agent=agent.name, approval=0, sha=sha, deployed_at=agent.row.created_at,
                        description="taken over from an earlier version",
                    )
                )  # fmt: skip

    async def begin(self, *, manager: bool) -> None:
        """The first jobs of this daemon: a manager where there is to be one; news of what is out of date."""
        if manager and MANAGER not in self.fleet:
            about = "the operator's first contact: plans, shares out, proposes changes"
            params: Mapping[str, str] = {"description": about}
            await self.queue.submit(JobDraft(agent=MANAGER, kind=JobKind.SPAWN, params=params, source="startup"))
        for agent in self.fleet.agents():
            if self.fleet.house.needs_update(agent):
                await self.fleet.notices.add(helper_event("needs_update", agent=agent.name))


def _inputs(row: ApprovalRow) -> list[str]:
    return row.commit_ref.split(",") if row.kind == UPDATE_META_INPUTS and row.commit_ref else []


def _agents(rows: list[ApprovalRow]) -> set[str]:
    return {row.agent for row in rows if row.kind == APPLY_COMMIT}


def _with_tag(row: ApprovalRow, *, live: bool) -> host.Approval:
    shown = row.on_wire()
    if row.kind != APPLY_COMMIT:
        return shown
    stage = {"pending": "proposal", "denied": "denied", "failed": "failed", "cancelled": "proposal"}.get(row.status)
    return structs.replace(shown, tag=f"{stage or ('deployed' if live else 'approved')}/{row.id}")


def _in_effect(setting: host.Setting, agent: Agent) -> host.Setting:
    """The model may be another than the config says: somebody chose it, and the choice is kept."""
    if setting.key == "model" and agent.model and agent.model != agent.settings.model:
        return host.Setting(key="model", value=f'"{agent.model}"', source="choice")
    return setting
