"""What each kind of job does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from hyperhive.broker.approvals import ApprovalRow, Approvals
from hyperhive.broker.decisions import Ending
from hyperhive.broker.deployments import DeploymentRow, Deployments
from hyperhive.broker.jobs import JobDraft, JobKind, JobRow, JobState
from hyperhive.broker.notices import Notice
from hyperhive.broker.questions import Questions
from hyperhive.broker.reminders import Reminders
from hyperhive.broker.schedules import Schedules
from hyperhive.config import agent_toml
from hyperhive.hub import directories, prompts
from hyperhive.hub.agents import Agent, Deployed
from hyperhive.hub.configs import FIRST_TAG, Configs
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.helper_events import approval_resolved, helper_event
from hyperhive.hub.queue import CANCELLED, IF_WANTED, Run
from hyperhive.images.generations import Generation
from hyperhive.images.images import Images
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import MANAGER, AgentName, known_form

DESTROYED: Final = "the agent was destroyed"
T = TypeVar("T")
Doing = Callable[["Work", Run], Awaitable[Ending]]


@dataclass(kw_only=True)
class Work:
    """Carries jobs out. Each may be begun again after the daemon died in the middle of it, and then ends the same.

    What is said in an `Ending` becomes true in one transaction; `follow_up` then shows it where git shows it.
    """

    fleet: Fleet
    configs: Configs
    approvals: Approvals
    deployments: Deployments
    questions: Questions
    reminders: Reminders
    schedules: Schedules
    images: Images
    submit: Callable[[JobDraft], Awaitable[JobRow]]

    async def carry_out(self, run: Run) -> Ending:
        try:
            return await _DOINGS[run.job.kind](self, run)
        except FaultError as fault:
            cancelled = run.given_up.is_set()
            return Ending(
                state=JobState.CANCELLED if cancelled else JobState.FAILED,
                error=f"{CANCELLED}; everything is as it was" if cancelled else fault.message,
                error_kind=fault.kind,
                notices=await self.bad_news(run.job, fault.message),
            )

    async def follow_up(self, job: JobRow) -> None:
        """After the job's end is written down."""
        await self.fleet.refresh(job.agent)
        if job.state is JobState.DONE and job.kind in _SETTLING:
            await self.fleet.nixos.settle(job.agent, f"deployed/{job.approval}" if job.approval else job.kind)
        await self.schedules.expect()
        row = await self.approvals.get(job.approval) if job.approval is not None else None
        if row is None:
            return
        if job.kind is JobKind.DEPLOY:
            await self.show(row, deployed=job.state is JobState.DONE)
        self.fleet.chronicle.note(
            row.agent,
            "approval_resolved",
            {"id": row.id, "approval_kind": row.kind, "status": row.status, "note": row.note or ""},
        )

    async def show(self, row: ApprovalRow, *, deployed: bool) -> None:
        """The tags of an apply_commit as the database has it; harmless when they are there."""
        name, sha = AgentName(row.agent), row.fetched_sha
        if sha is None or not await self.configs.has(name, sha):
            return
        for tag, (_, message) in tags(row).items():
            await self.configs.tag(name, tag, sha, message)
        if deployed:
            await self.configs.go_live(name, sha, f"deployed/{row.id}")

    # jobs

    async def _spawn(self, run: Run) -> Ending:
        name, params = AgentName(run.job.agent), run.job.params
        about = _text(params, "description")
        if name in self.fleet and self._was_there(run):
            raise FaultError(FaultKind.NAME_TAKEN, f"cannot spawn {name!r}: there is an agent of that name")
        if name not in self.fleet:
            await run.say("making its directories and its config")
            wanted = _text(params, "backend")
            files = template(name, params, nixos=self._would_be_nixos(name, wanted))
            await self.fleet.make(name, files, description=about, backend=wanted)
        agent = self.fleet.get(name)
        try:
            await self._built(run, name, agent.config)
            await run.say("starting its container")
            await self.fleet.start(name)
        except FaultError as fault:
            fault = FaultError(fault.kind, f"agent {name!r} was made, but {fault.message}; then: hive start {name}")
            state = JobState.CANCELLED if run.given_up.is_set() else JobState.FAILED
            ending = Ending(state=state, error=fault.message, error_kind=fault.kind)
        else:
            ending = Ending(state=JobState.DONE)
        return await self._spawned(run, agent, ending)

    async def _spawned(self, run: Run, agent: Agent, ending: Ending) -> Ending:
        ok = ending.state is JobState.DONE
        known = await self.deployments.of(agent.name, 1)
        tag = f"deployed/{known[0].approval}" if known else FIRST_TAG
        facts = {"agent": agent.name, "ok": ok, "note": ending.error, "sha": agent.config.sha, "tag": tag}
        notices = [helper_event("spawned", **facts), *await self._resolved(run.job, "approved" if ok else "failed")]
        first = None if known else DeploymentRow(
            agent=agent.name, approval=0, sha=agent.config.sha, deployed_at=time.time(), description="the first config"
        )  # fmt: skip
        return Ending(
            state=ending.state, error=ending.error, error_kind=ending.error_kind, deployment=first, notices=notices,
            schedules=agent.settings.schedule,
        )  # fmt: skip

    def _would_be_nixos(self, name: AgentName, wanted: str) -> bool:
        return (wanted or self.fleet.backend_of(name)) == BackendKind.NIXOS

    def _was_there(self, run: Run) -> bool:
        """Whether the agent was there before this job, rather than made by its first attempt."""
        first_try = run.job.started_at if run.job.started_at is not None else run.job.created_at
        return self.fleet.get(run.job.agent).row.created_at < first_try

    async def _init_config(self, run: Run) -> Ending:
        name = AgentName(run.job.agent)
        await run.say("making its config repository")
        manager = self.fleet.get(MANAGER).row.uid if MANAGER in self.fleet else None
        made = await self.configs.propose_first(
            name, template(name, run.job.params, nixos=self._would_be_nixos(name, "")), manager
        )
        if not made and not run.begun_before:
            raise FaultError(FaultKind.NAME_TAKEN, f"cannot make a config repository for {name!r}: there is one")
        ready = Notice(recipient=run.job.requester, body=helper_event("config_ready", agent=name).body)
        to = [ready] if run.job.requester in self.fleet else [helper_event("config_ready", agent=name)]
        return Ending(state=JobState.DONE, notices=[*to, *await self._resolved(run.job, "approved")])

    async def _deploy(self, run: Run) -> Ending:
        row = await self._approval(run.job)
        name, sha = AgentName(row.agent), row.fetched_sha or ""
        await self.configs.tag(name, f"approved/{row.id}", sha)
        await self.configs.tag(name, f"building/{row.id}", sha)
        await run.say(f"building {sha[:12]}")
        config = await self.configs.check(name, sha, self._known_to(name), backend=self.fleet.backend_of(name))
        self.fleet.check_parent(name, config.settings.parent)
        if name not in self.fleet and not run.job.params.get("first"):
            raise FaultError(FaultKind.UNKNOWN_AGENT, f"cannot deploy {sha[:12]}: {name!r} was destroyed meanwhile")
        is_new = name not in self.fleet or not self._was_there(run)
        run.can_be_undone = not is_new
        generation = await self._built(run, name, config)
        if is_new:
            switched = await self._deploy_first(run, name, config, generation)
        else:
            await run.say("switching its container to it")
            switched = await self.fleet.switch(name, config, run.given_up, generation)
        run.can_be_undone = False
        return await self._deployed(run, row, config, is_new=is_new, kicked=switched and not is_new)

    async def _built(
        self, run: Run, name: AgentName, config: Deployed, backend: BackendKind | None = None
    ) -> Generation | None:
        """What its container will be made from, before anything is stopped. Raises FaultError when it cannot be made,
        or the operator gives it up."""
        match backend or self.fleet.backend_of(name):
            case BackendKind.NSPAWN:
                return await _unless_given_up(run, self.images.ensure(name, config.settings.packages.apt, run.say))
            case BackendKind.NIXOS if name in self.fleet:
                await run.say("building its system")
                with run.interruptible():
                    agent, renew = self.fleet.get(name), run.job.kind in _RENEWING
                    await _unless_given_up(run, self.fleet.nixos.build(agent, config, renew=renew))
        return None

    async def _can_start(self, run: Run, agent: Agent) -> None:
        """A system of NixOS that is not there yet is built first, while that can be cancelled. Whatever else an agent
        is made from, a start is content with what there is."""
        if agent.row.backend is BackendKind.NIXOS:
            await self._built(run, agent.name, agent.config)

    async def _deploy_first(self, run: Run, name: AgentName, config: Deployed, generation: Generation | None) -> bool:
        """A config that was approved before there was an agent makes it; when that fails there is none."""
        await run.say("making the agent")
        if name not in self.fleet:  # else a first try, cut off by the hive's end, has made it
            await self.fleet.make(name, {}, deployed=config)
        try:
            if generation is None:
                await self._built(run, name, config)
            return await self.fleet.switch(name, config, run.given_up, generation)
        except FaultError:
            await self.fleet.end(name)
            raise

    async def _deployed(self, run: Run, row: ApprovalRow, config: Deployed, *, is_new: bool, kicked: bool) -> Ending:
        agent, tag = self.fleet.get(row.agent), f"deployed/{row.id}"
        settings = agent.settings  # of a system of NixOS those that nix made
        event = "spawned" if is_new else "rebuilt"
        notices = [
            helper_event(event, agent=agent.name, ok=True, sha=config.sha, tag=tag),
            *await self._resolved(run.job, "approved", tag=tag),
            *([_kick(agent, prompts.UPDATED)] if kicked else []),
        ]
        self.fleet.chronicle.note(agent.name, "rebuilt", {"sha": config.sha, "tag": tag})
        return Ending(
            state=JobState.DONE,
            deployment=DeploymentRow(
                agent=agent.name,
                approval=row.id,
                sha=config.sha,
                deployed_at=time.time(),
                description=row.description or "",
            ),
            agent={
                "deployed_sha": config.sha,
                "role": settings.role,
                "description": settings.description,
                "parent": settings.parent,
            },
            notices=notices,
            schedules=settings.schedule,
        )

    async def _rebuild(self, run: Run) -> Ending:
        agent = self.fleet.get(run.job.agent)
        config = await self.configs.at(agent.name, agent.config.sha)
        generation = await self._built(run, agent.name, config)
        await run.say("making its container anew")
        switched = await self.fleet.switch(agent.name, config, run.given_up, generation)
        self.fleet.chronicle.note(agent.name, "rebuilt", {"sha": config.sha})
        rebuilt = helper_event("rebuilt", agent=agent.name, ok=True, sha=config.sha)
        return _done(rebuilt, *([_kick(agent, prompts.REBUILT)] if switched else []))

    async def _move(self, run: Run) -> Ending:
        agent, params = self.fleet.get(run.job.agent), run.job.params
        to, before = BackendKind(_text(params, "backend")), BackendKind(_text(params, "before"))
        await self.configs.check(agent.name, agent.config.sha, self._known_to(agent.name), backend=to)
        await self._built(run, agent.name, agent.config, to)
        await run.say(f"making its container by {to} in place of {before}")
        moved = await self.fleet.move(agent.name, to, before, run.given_up)
        self.fleet.chronicle.note(agent.name, "rebuilt", {"sha": agent.config.sha})
        rebuilt = helper_event("rebuilt", agent=agent.name, ok=True, sha=agent.config.sha, note=f"moved to {to}")
        return _done(rebuilt, *([_kick(agent, prompts.REBUILT)] if moved else []))

    async def _start(self, run: Run) -> Ending:
        agent = self.fleet.get(run.job.agent)
        await self._can_start(run, agent)
        await run.say("starting its container")
        was_down = await self.fleet.start(agent.name)
        return _done(*([_kick(agent, prompts.STARTED)] if was_down or run.begun_before else []))

    async def _stop(self, run: Run) -> Ending:
        agent, graceful = self.fleet.get(run.job.agent), bool(run.job.params.get("graceful"))
        await run.say("waiting for its turn to end" if graceful else "stopping its container")
        if graceful:
            run.stand_aside()
        await self.fleet.stop(agent.name, run.wanted if graceful else None)
        self.fleet.chronicle.note(agent.name, "killed", {})
        return _done(helper_event("killed", agent=agent.name))

    async def _restart(self, run: Run) -> Ending:
        agent = self.fleet.get(run.job.agent)
        if run.job.params.get(IF_WANTED) and not agent.should_run:
            await run.say("it is meant to be down by now, and is left so")
            return _done()
        await self._can_start(run, agent)
        await run.say("stopping and starting its container")
        await self.fleet.restart(agent.name)
        return _done(_kick(agent, prompts.RESTARTED))

    async def _destroy(self, run: Run) -> Ending:
        name, purge = known_form(run.job.agent), bool(run.job.params.get("purge"))
        if name == MANAGER:
            raise FaultError(FaultKind.NOT_ALLOWED, "cannot destroy the manager")
        if name not in self.fleet and not run.begun_before:
            raise self.fleet.unknown(name)
        await run.say("ending its container" + (" and deleting all that is kept of it" if purge else ""))
        incarnation = self.fleet.get(name).row.incarnation if name in self.fleet else None
        await self.fleet.end(name)
        await self._forget(name, incarnation, purge=purge)
        self.fleet.chronicle.note(name, "destroyed", {"purged": purge})
        return _done(helper_event("destroyed", agent=name), *await self._cancelled_by(run.job))

    async def _purge(self, run: Run) -> Ending:
        name = known_form(run.job.agent)
        paths = self.fleet.house.paths
        if name in self.fleet:
            raise FaultError(FaultKind.WRONG_STATE, f"cannot purge {name!r}: it lives; hive destroy --purge {name}")
        kept = directories.has_kept_state(paths, name) or directories.has_repository(paths, name)
        if not run.begun_before and not kept:
            raise self.fleet.unknown(name)
        await run.say("deleting all that is kept of it")
        await self.fleet.end(name)
        await self._forget(name, None, purge=True)
        return _done()

    async def _forget(self, name: AgentName, incarnation: int | None, *, purge: bool) -> None:
        """What waits because of an agent that is no more."""
        lives = [incarnation] if incarnation is not None else [row.incarnation for row in await self._ended(name)]
        for life in lives:
            await self.questions.forget(name, life, f"[cancelled: {name} was destroyed]")
            await self.reminders.forget(name, life)
            await self.schedules.forget(name, life)
        for row in await self.approvals.cancel_of(name, DESTROYED):
            await self.show(row, deployed=False)
        if purge:  # last: a proposal without its commit would have failed, and not been cancelled
            await self.deployments.forget(name)
            await self.fleet.purge(name)

    async def _cancelled_by(self, job: JobRow) -> list[Notice]:
        """News of the proposals that this job has made pointless, by whichever of its attempts."""
        return [
            approval_resolved(row, "cancelled", DESTROYED)
            for row in await self.approvals.of(job.agent)
            if row.status == "cancelled" and row.note == DESTROYED and (row.resolved_at or 0) >= job.created_at
        ]

    async def _ended(self, name: AgentName) -> list[Any]:
        return [row for row in await self.fleet.roster.lives(name) if row.destroyed_at is not None]

    async def _update_all(self, run: Run) -> Ending:
        stale = [agent.name for agent in self.fleet.agents() if self.fleet.house.needs_update(agent)]
        for name in stale:
            await self.submit(
                JobDraft(
                    agent=name, kind=JobKind.REBUILD, source="update", requester=run.job.requester, parent=run.job.id
                )
            )
        await run.say(f"queued a rebuild of {', '.join(stale)}" if stale else "every agent is up to date")
        return _done()

    async def _build_image(self, run: Run) -> Ending:
        with run.interruptible():
            base = await _unless_given_up(run, self.images.make(run.say))
        await self.images.use(base, run.say)
        return _done()

    async def _update_inputs(self, run: Run) -> Ending:
        systems = self.fleet.house.systems
        if systems is None:
            raise FaultError(FaultKind.WRONG_STATE, "this hive makes no systems of NixOS")
        names = [name for name in _text(run.job.params, "inputs").split(",") if name]
        await run.say(f"looking for newer revisions of {', '.join(names) or 'all inputs'}")
        changed = [name for name in await systems.update(names) if name in self.fleet]
        for name in changed:
            await self.submit(
                JobDraft(
                    agent=name, kind=JobKind.REBUILD, source="update", requester=run.job.requester, parent=run.job.id
                )
            )
        await run.say(f"queued a rebuild of {', '.join(changed)}" if changed else "no agent's system changes")
        return _done(*await self._resolved(run.job, "approved"))

    # small things

    async def _approval(self, job: JobRow) -> ApprovalRow:
        row = await self.approvals.get(job.approval or 0)
        if row is None:
            raise FaultError(FaultKind.UNKNOWN_APPROVAL, f"job {job.id} has no approval")
        return row

    def _known_to(self, name: AgentName) -> list[str]:
        return [str(other) for other in {*self.fleet.names(), name}]

    async def _resolved(self, job: JobRow, status: str, *, note: str = "", tag: str = "") -> list[Notice]:
        if job.approval is None:
            return []
        return [approval_resolved(await self._approval(job), status, note, tag)]

    async def bad_news(self, job: JobRow, why: str) -> list[Notice]:
        """What the manager, and whoever asked for it, hear of a job that did not work."""
        tag = f"failed/{job.approval}" if job.kind is JobKind.DEPLOY else ""
        deploy = "rebuilt" if job.agent in self.fleet else "spawned"
        event = {JobKind.SPAWN: "spawned", JobKind.DEPLOY: deploy, JobKind.REBUILD: "rebuilt"}.get(job.kind)
        told = [helper_event(event, agent=job.agent, ok=False, note=why, tag=tag)] if event else []
        return [*told, *await self._resolved(job, "failed", note=why, tag=tag)]


def tags(row: ApprovalRow) -> dict[str, tuple[str, str | None]]:
    """What became of a proposal, as git shows it: tags with their commit and, where there is one, their message."""
    sha = row.fetched_sha
    if sha is None:
        return {}
    shown: dict[str, tuple[str, str | None]] = {f"proposal/{row.id}": (sha, None)}
    if row.status == "approved":
        shown |= {f"approved/{row.id}": (sha, None), f"building/{row.id}": (sha, None)}
    if row.status in ("denied", "failed"):
        shown[f"{row.status}/{row.id}"] = (sha, row.note or f"{row.status} without a reason")
    return shown


def template(name: AgentName, params: Mapping[str, Any], *, nixos: bool = False) -> dict[str, str]:
    """The files of a new agent's config."""
    role = "manager" if name == MANAGER else "agent"
    text = agent_toml.template(
        model=params.get("model") or None, description=str(params.get("description") or ""), role=role
    )
    parent = params.get("parent")
    return {agent_toml.FILE: f'parent = "{parent}"\n{text}' if parent else text, **(_NIX_FILES if nixos else {})}


def _text(params: Mapping[str, Any], key: str) -> str:
    return str(params.get(key) or "")


def _kick(agent: Agent, reason: str) -> Notice:
    return Notice(recipient=agent.name, incarnation=agent.row.incarnation, body=prompts.kick(reason))


async def _unless_given_up(run: Run, doing: Coroutine[Any, Any, T]) -> T:
    """What comes of it. Raises FaultError when the operator gives the job up, and then it was cancelled."""
    making = asyncio.create_task(doing)
    given_up = asyncio.create_task(run.given_up.wait())
    try:
        await asyncio.wait((making, given_up), return_when=asyncio.FIRST_COMPLETED)
        if run.given_up.is_set():
            raise FaultError(FaultKind.WRONG_STATE, CANCELLED)
        return making.result()
    finally:
        for task in (making, given_up):
            task.cancel()
        await asyncio.gather(making, given_up, return_exceptions=True)


def _done(*notices: Notice) -> Ending:
    return Ending(state=JobState.DONE, notices=notices)


_NIX_FILES: Final = {
    "agent.nix": """\
# What this agent's system is: a module of NixOS. Its settings are in agent.toml, and may be here instead.
{ lib, pkgs, ... }:
{
  environment.systemPackages = [ ];

  hyperhive.settings = lib.importTOML ./agent.toml;
}
""",
    "flake.nix": """\
{
  # Further inputs reach agent.nix as the argument `flakeInputs`.
  outputs = inputs: {
    nixosModules.default = {
      imports = [ ./agent.nix ];
      _module.args.flakeInputs = inputs;
    };
  };
}
""",
}
_SETTLING: Final = frozenset(
    {JobKind.SPAWN, JobKind.DEPLOY, JobKind.REBUILD, JobKind.START, JobKind.RESTART, JobKind.DESTROY, JobKind.PURGE}
)
"""After these, what an agent's system is made of has worked, or there is no such agent."""
_RENEWING: Final = frozenset({JobKind.DEPLOY, JobKind.REBUILD})
"""These make an agent's system from what there is now; the others are content with the one of its config."""
_DOINGS: Final[dict[JobKind, Doing]] = {
    JobKind.SPAWN: Work._spawn,
    JobKind.INIT_CONFIG: Work._init_config,
    JobKind.DEPLOY: Work._deploy,
    JobKind.REBUILD: Work._rebuild,
    JobKind.MOVE: Work._move,
    JobKind.START: Work._start,
    JobKind.STOP: Work._stop,
    JobKind.RESTART: Work._restart,
    JobKind.DESTROY: Work._destroy,
    JobKind.PURGE: Work._purge,
    JobKind.UPDATE_ALL: Work._update_all,
    JobKind.BUILD_IMAGE: Work._build_image,
    JobKind.UPDATE_META_INPUTS: Work._update_inputs,
}
