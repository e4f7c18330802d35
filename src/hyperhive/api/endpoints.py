"""host.sock's whole surface as one table: each verb and what answers it."""

import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET, structs

import hyperhive
from hyperhive.api.batches import in_batches, newest_within
from hyperhive.broker.approvals import ApprovalRow
from hyperhive.broker.jobs import JobDraft, JobKind, JobState
from hyperhive.broker.mailbox import Mailbox
from hyperhive.hub.agents import Agent
from hyperhive.hub.asking import Asking
from hyperhive.hub.desk import Desk
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.queue import JobQueue, succeeded
from hyperhive.hub.shape import Shape
from hyperhive.hub.status import status_row
from hyperhive.hub.steering import check_ref
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import LifecycleScope, Response
from hyperhive.protocol.ids import MANAGER, OPERATOR, AgentName, agent_name, known_form

MAX_JOBS: Final = 500
Answer = Awaitable[Response] | AsyncIterator[Response]
DONE: Final = Response()


@dataclass(frozen=True, kw_only=True)
class Hive:
    """What the handlers ask."""

    fleet: Fleet
    desk: Desk
    mailbox: Mailbox
    shape: Shape
    queue: JobQueue
    asking: Asking


# the roster


async def list_agents(hive: Hive, _: host.List) -> Response:
    return Response(agents=[str(name) for name in hive.fleet.names()])


async def agent_status(hive: Hive, _: host.AgentStatus) -> Response:
    unread, reminders = await hive.mailbox.unread_counts(), await hive.asking.reminders.counts()
    return Response(
        agent_statuses=[
            _row(hive, agent, unread.get(agent.name, 0), reminders.get(agent.name, 0)) for agent in hive.fleet.agents()
        ]
    )


async def subscribe_agent_status(hive: Hive, _: host.SubscribeAgentStatus) -> AsyncIterator[Response]:
    with hive.fleet.chronicle.changes.subscribe() as changes:
        yield DONE
        async for names in changes:
            reminders = await hive.asking.reminders.counts()
            for name in names:
                unread = await hive.mailbox.unread(name)
                if name in hive.fleet:
                    row = _row(hive, hive.fleet.get(name), unread, reminders.get(AgentName(name), 0))
                    yield Response(agent_statuses=[row])


def _row(hive: Hive, agent: Agent, unread: int, reminders: int) -> host.AgentStatusRow:
    parent = agent.parent if agent.parent in hive.fleet else ""
    return status_row(agent, unread, reminders=reminders, needs_update=hive.fleet.needs_update(agent), parent=parent)


async def hello(hive: Hive, _: host.Hello) -> Response:
    house = hive.fleet.house
    return Response(
        hive=host.HiveInfo(
            version=hyperhive.__version__,
            pid=os.getpid(),
            backend=house.runtime.backend.kind,
            state_dir=str(house.paths.state_dir),
            runtime_dir=str(house.paths.runtime_dir),
            agents=len(hive.fleet.names()),
            rehearsal=house.rehearsal is not None,
        )
    )


async def urls(_hive: Hive, _: host.Urls) -> Response:
    return Response(urls=host.HiveUrls())


async def tombstones(hive: Hive, _: host.Tombstones) -> Response:
    return Response(tombstones=await hive.fleet.tombstones())


# the agents' lives: each a job, and the answer comes when it has ended


async def spawn(hive: Hive, ask: host.Spawn) -> Response:
    name = agent_name(ask.name)
    if name in hive.fleet:
        raise FaultError(FaultKind.NAME_TAKEN, f"cannot spawn {name!r}: there is an agent of that name")
    return await _job(hive, JobKind.SPAWN, name, model=ask.model, description=ask.description)


async def revive(hive: Hive, ask: host.Revive) -> Response:
    if known_form(ask.name) not in {tombstone.name for tombstone in await hive.fleet.tombstones()}:
        raise FaultError(
            FaultKind.UNKNOWN_AGENT, f"cannot revive {ask.name!r}: there is no tombstone of it; hive tombstones"
        )
    return await spawn(hive, host.Spawn(name=ask.name))


async def destroy(hive: Hive, ask: host.Destroy) -> Response:
    name = known_form(ask.name)
    if name == MANAGER:
        raise FaultError(FaultKind.NOT_ALLOWED, "cannot destroy the manager")
    if ask.purge and name not in hive.fleet:
        return await purge(hive, host.Purge(name=name))
    return await _job(hive, JobKind.DESTROY, hive.fleet.get(name).name, purge=ask.purge)


async def purge(hive: Hive, ask: host.Purge) -> Response:
    return await _job(hive, JobKind.PURGE, known_form(ask.name))


async def rebuild(hive: Hive, ask: host.Rebuild) -> Response:
    return await _job(hive, JobKind.REBUILD, hive.fleet.get(ask.name).name)


async def update_all(hive: Hive, _: host.UpdateAll) -> Response:
    """Its own job only queues the rebuilds; those are what is waited for."""
    row = await hive.queue.done(_draft(JobKind.UPDATE_ALL, ""))
    rebuilds = [job for job in await hive.queue.jobs.newest(MAX_JOBS) if job.parent == row.id]
    ended = [await hive.queue.ended(job.id) for job in rebuilds]
    failed = [f"{job.agent}: {job.error}" for job in ended if job.state is not JobState.DONE]
    if failed:
        raise FaultError(FaultKind.BACKEND, "\n".join(failed))
    return Response(queued_dags=[row.id, *(job.id for job in ended)])


async def start(hive: Hive, ask: host.Start) -> Response:
    return await _to_each(hive, _in_scope(hive, ask.scope, "start"), JobKind.START)


async def stop(hive: Hive, ask: host.Stop) -> Response:
    return await _to_each(hive, _in_scope(hive, ask.scope, "stop"), JobKind.STOP, graceful=ask.graceful)


async def kill(hive: Hive, ask: host.Kill) -> Response:
    return await _job(hive, JobKind.STOP, hive.fleet.get(ask.name).name)


async def restart(hive: Hive, ask: host.Restart) -> Response:
    return await _job(hive, JobKind.RESTART, hive.fleet.get(ask.name).name)


async def set_paused(hive: Hive, ask: host.SetPaused) -> Response:
    await hive.fleet.set_paused(ask.name, ask.paused)
    return DONE


async def _to_each(hive: Hive, names: list[str], kind: JobKind, **params: Any) -> Response:
    """Do it to all of them, also when it fails for some; those are what is raised."""
    rows = [await hive.queue.submit(_draft(kind, name, **params)) for name in names]
    ended = [await hive.queue.ended(row.id) for row in rows]
    failed = [row for row in ended if row.state is not JobState.DONE]
    if len(failed) == 1:
        succeeded(failed[0])
    if failed:
        raise FaultError(FaultKind(failed[0].error_kind), "\n".join(row.error for row in failed))
    return DONE


async def _job(hive: Hive, kind: JobKind, name: str, **params: Any) -> Response:
    await hive.queue.done(_draft(kind, name, **params))
    return DONE


def _draft(kind: JobKind, name: str, **params: Any) -> JobDraft:
    given = {key: value for key, value in params.items() if value not in (None, "", False)}
    return JobDraft(agent=name, kind=kind, params=given, source="operator", requester=OPERATOR)


def _in_scope(hive: Hive, scope: LifecycleScope, verb: str) -> list[str]:
    """Whom the scope means; nobody is meant by an empty one."""
    if scope.all or scope.agents:
        return [str(name) for name in hive.fleet.names()]
    if scope.agent_names:
        return [hive.fleet.get(name).name for name in scope.agent_names]
    raise FaultError(
        FaultKind.INVALID_PARAMS,
        f"cannot {verb} an empty scope: name the agents in agent_names, or pass all: true to mean every one",
    )


# proposals and decisions


async def request_spawn(hive: Hive, ask: host.RequestSpawn) -> Response:
    return _queued(await hive.shape.request_spawn(ask.name, ask.description))


async def request_init_config(hive: Hive, ask: host.RequestInitConfig) -> Response:
    return _queued(await hive.shape.request_init_config(ask.name, ask.description))


async def request_apply_commit(hive: Hive, ask: host.RequestApplyCommit) -> Response:
    if ask.commit_ref:
        check_ref(ask.commit_ref)
    return _queued(await hive.shape.request_apply_commit(ask.name, ask.commit_ref, ask.description))


async def edit_config(hive: Hive, ask: host.EditConfig) -> Response:
    return _queued(await hive.shape.edit_config(ask.name, ask.text, ask.base, ask.description))


def _queued(row: ApprovalRow) -> Response:
    return Response(ids=[row.id], approvals=[row.on_wire()])


async def pending(hive: Hive, _: host.Pending) -> Response:
    return Response(approvals=newest_within((await hive.shape.listed())[::-1], _encoded_size)[::-1])


async def approve(hive: Hive, ask: host.Approve) -> Response:
    await hive.shape.approve(ask.id, ask.sha)
    return DONE


async def deny(hive: Hive, ask: host.Deny) -> Response:
    await hive.shape.deny(ask.id, ask.reason)
    return DONE


async def diff(hive: Hive, ask: host.Diff) -> AsyncIterator[Response]:
    async for part in hive.shape.diff(ask.id, ask.base):
        for smaller in _parts(part):
            yield Response(diff=smaller)
    yield Response(done=True)


def _parts(part: host.ApprovalDiff) -> list[host.ApprovalDiff]:
    """A file's lines over as many answers as they need."""
    cut = [
        structs.replace(part, files=[structs.replace(file, lines=lines)])
        for file in part.files
        for lines in in_batches(file.lines, _encoded_size) or [[]]
    ]
    return cut or [part]


async def rollback(hive: Hive, ask: host.Rollback) -> Response:
    return Response(queued_dags=[(await hive.shape.rollback(ask.name, ask.to)).id])


async def deployments(hive: Hive, ask: host.Deployments) -> Response:
    return Response(deployments=await hive.shape.deployed(ask.name, ask.limit))


async def config(hive: Hive, ask: host.Config) -> Response:
    return Response(config=await hive.shape.config(ask.name))


# jobs


async def jobs(hive: Hive, ask: host.Jobs) -> AsyncIterator[Response]:
    with hive.queue.changes.subscribe() as changes:
        rows = await hive.queue.jobs.newest(ask.limit, ask.name)
        yield Response(jobs=newest_within([row.on_wire() for row in reversed(rows)], _encoded_size)[::-1])
        while ask.follow:
            for number in await changes.batch():
                row = await hive.queue.jobs.get(int(number))
                if row is not None and ask.name in (None, row.agent):
                    yield Response(jobs=[row.on_wire()])


async def job_log(hive: Hive, ask: host.JobLog) -> AsyncIterator[Response]:
    async for lines, row in hive.queue.log(ask.id, follow=ask.follow):
        for batch in in_batches(lines, _encoded_size) if lines else []:
            yield Response(messages=batch)
        if row is not None:
            yield Response(jobs=[row.on_wire()])


async def cancel_job(hive: Hive, ask: host.CancelJob) -> Response:
    return Response(jobs=[(await hive.queue.cancel(ask.id)).on_wire()])


# questions and reminders


async def questions(hive: Hive, ask: host.Questions) -> Response:
    all_of = hive.asking.questions
    rows = await (all_of.newest(ask.limit) if ask.all else all_of.unanswered())
    newest = sorted((row.on_wire() for row in rows), key=lambda row: row.id)[-ask.limit :]
    return Response(questions=newest_within(newest, _encoded_size)[::-1])


async def ask(hive: Hive, ask: host.Ask) -> Response:
    row = await hive.asking.ask_agent(ask.to, ask.question, ask.options, multi=ask.multi, ttl_s=ask.ttl_seconds)
    return Response(ids=[row.id])


async def answer(hive: Hive, ask: host.Answer) -> Response:
    await hive.asking.questions.answer(ask.id, ask.answer, by=OPERATOR)
    return DONE


async def cancel_question(hive: Hive, ask: host.CancelQuestion) -> Response:
    await hive.asking.questions.cancel(ask.id, by=OPERATOR)
    return DONE


async def reminders(hive: Hive, ask: host.Reminders) -> Response:
    rows = await hive.asking.reminders.pending(ask.name)
    return Response(reminders=list(next(in_batches([row.on_wire() for row in rows], _encoded_size), [])))


async def cancel_reminder(hive: Hive, ask: host.CancelReminder) -> Response:
    await hive.asking.reminders.cancel(ask.id, agent=None)
    return DONE


# mail


async def send(hive: Hive, ask: host.Send) -> Response:
    sent = await hive.desk.send(ask.to, ask.body, mid=ask.mid or uuid.uuid4().hex, in_reply_to=ask.in_reply_to)
    return Response(ids=sent.ids)


async def wait_reply(hive: Hive, ask: host.WaitReply) -> AsyncIterator[Response]:
    """A stream of one, so that a client that goes away ends the wait."""
    row = await hive.desk.reply_to(ask.id, ask.timeout_seconds)
    yield Response(inbox=[row])


async def inbox(hive: Hive, ask: host.Inbox) -> Response:
    return _letters(await hive.mailbox.inbox(ask.name, ask.limit, ask.unread_only))


async def inbox_handled(hive: Hive, ask: host.InboxHandled) -> Response:
    await hive.mailbox.handled(ask.ids)
    return DONE


async def receipt(hive: Hive, ask: host.ReceiptFor) -> Response:
    return Response(receipt=await hive.mailbox.receipt(ask.id, None))


async def dead_letters(hive: Hive, _: host.DeadLetters) -> Response:
    return _letters(await hive.mailbox.dead_letters())


def _letters(rows: list[host.InboxRow]) -> Response:
    """The newest that fit into an answer; what is left out is said."""
    shown = newest_within(rows, _encoded_size)
    left_out = len(rows) - len(shown)
    warning = f"{left_out} older messages do not fit into this answer; mark these as read to see them"
    return Response(inbox=shown, warning=warning if left_out else UNSET)


def _encoded_size(row: object) -> int:
    return len(msgspec.json.encode(row))


async def requeue(hive: Hive, ask: host.Requeue) -> Response:
    await hive.mailbox.requeue(ask.id)
    return DONE


async def drop(hive: Hive, ask: host.Drop) -> Response:
    await hive.mailbox.drop(ask.id)
    return DONE


# watching


async def watch(hive: Hive, ask: host.Watch) -> AsyncIterator[Response]:
    """First what was kept, then what happens; without a gap between the two."""
    if ask.name is not None:
        hive.fleet.get(ask.name)
    async for batch in hive.desk.watch(ask.name, since=ask.since, history=ask.history, follow=ask.follow):
        for events in in_batches(batch, _event_size) if batch else [[]]:
            yield Response(events=events)


async def logs(hive: Hive, ask: host.Logs) -> AsyncIterator[Response]:
    async for batch in hive.fleet.logs(ask.name, lines=ask.lines, follow=ask.follow):
        for lines in in_batches(batch, _encoded_size) if batch else [[]]:
            yield Response(messages=lines)


def _event_size(event: HiveEvent) -> int:
    return len(memoryview(event.payload)) + 200


# a harness at work


async def set_model(hive: Hive, ask: host.SetModel) -> Response:
    chosen = await hive.desk.set_model(ask.name, ask.model)
    return Response(model=chosen.model, warning=chosen.warning or UNSET)


async def cancel(hive: Hive, ask: host.Cancel) -> Response:
    return Response(done=await hive.desk.cancel(ask.name))


async def new_session(hive: Hive, ask: host.NewSession) -> Response:
    return Response(done=await hive.desk.new_session(ask.name))


async def shell(hive: Hive, ask: host.Shell) -> Response:
    return Response(shell=hive.fleet.shell(ask.name))


ENDPOINTS: Final[dict[type[Any], Callable[[Hive, Any], Answer]]] = {
    host.List: list_agents,
    host.AgentStatus: agent_status,
    host.SubscribeAgentStatus: subscribe_agent_status,
    host.Hello: hello,
    host.Urls: urls,
    host.Tombstones: tombstones,
    host.Spawn: spawn,
    host.Destroy: destroy,
    host.Rebuild: rebuild,
    host.Start: start,
    host.Stop: stop,
    host.Kill: kill,
    host.Restart: restart,
    host.SetPaused: set_paused,
    host.RequestSpawn: request_spawn,
    host.Pending: pending,
    host.Approve: approve,
    host.Deny: deny,
    host.Send: send,
    host.WaitReply: wait_reply,
    host.Inbox: inbox,
    host.InboxHandled: inbox_handled,
    host.ReceiptFor: receipt,
    host.DeadLetters: dead_letters,
    host.Requeue: requeue,
    host.Drop: drop,
    host.Watch: watch,
    host.Logs: logs,
    host.SetModel: set_model,
    host.Cancel: cancel,
    host.NewSession: new_session,
    host.Shell: shell,
    host.Revive: revive,
    host.Purge: purge,
    host.RequestInitConfig: request_init_config,
    host.RequestApplyCommit: request_apply_commit,
    host.EditConfig: edit_config,
    host.Diff: diff,
    host.Rollback: rollback,
    host.Deployments: deployments,
    host.Config: config,
    host.UpdateAll: update_all,
    host.Jobs: jobs,
    host.JobLog: job_log,
    host.CancelJob: cancel_job,
    host.Questions: questions,
    host.Ask: ask,
    host.Answer: answer,
    host.CancelQuestion: cancel_question,
    host.Reminders: reminders,
    host.CancelReminder: cancel_reminder,
}
