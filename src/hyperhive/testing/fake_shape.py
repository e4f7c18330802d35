"""What a `FakeHive` knows of proposals, jobs, questions and reminders: what a test put there, and what was decided.

Limits: deciding deploys nothing and makes no job of its own; `on_request` may. No repository stands behind a commit.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Response

NOON: Final = "2026-01-02T12:00:00Z"
COMMIT: Final = "c0ffee" + 34 * "0"
"""What every proposal that is made here is pinned to."""
LIVE: Final = ("queued", "running")


@dataclass(kw_only=True)
class FakeShape:
    """A test may change any of it while the server runs; `news` is told by the methods that say so."""

    approvals: dict[int, host.Approval] = field(default_factory=dict)
    diffs: dict[int, list[host.ApprovalDiff]] = field(default_factory=dict)  #: by approval, in parts
    cut_diffs: bool = False  #: their streams break before the end
    deployments: dict[str, list[host.Deployment]] = field(default_factory=dict)  #: by agent, newest first
    configs: dict[str, host.AgentConfig] = field(default_factory=dict)
    jobs: dict[int, host.Job] = field(default_factory=dict)
    job_log: dict[int, list[str]] = field(default_factory=dict)
    questions: dict[int, host.Question] = field(default_factory=dict)
    reminders: dict[int, host.Reminder] = field(default_factory=dict)
    schedules: list[host.ScheduleRow] = field(default_factory=list)
    tombstones: list[host.Tombstone] = field(default_factory=list)
    edit_refusal: FaultError | None = None  #: of every edited config, while it is set
    on_request: Callable[[host.AnyRequest], None] = lambda _: None  #: before it is answered; may raise, may wait
    news: threading.Condition = field(default_factory=threading.Condition)
    connection: int = 0  #: rises when the streams of now are to break
    followers: int = 0  #: of jobs and their logs
    changed: list[int] = field(default_factory=list)  #: jobs, each time one changed

    def work(self, job: host.Job, *lines: str) -> None:
        """A job is as told now and has written these lines too; those who follow are told."""
        with self.news:
            self.jobs[job.id] = job
            self.job_log.setdefault(job.id, []).extend(lines)
            self.changed.append(job.id)
            self.news.notify_all()

    def streams(self, request: host.AnyRequest) -> Iterator[Response] | None:
        """The answers to a verb that has more than one; None for another verb."""
        match request:
            case host.Diff():
                return self._diff(request)
            case host.Jobs():
                return self._jobs(request)
            case host.JobLog():
                return self._job_log(request)
            case _:
                return None

    def decide(self, request: host.AnyRequest) -> Response | None:
        """The answer to a verb of this subject; None for another verb."""
        match request:
            case host.Pending():
                return Response(approvals=list(self.approvals.values()))
            case host.Approve() | host.Deny():
                return self._decide(request)
            case host.RequestSpawn():
                return self._queue(request.name, "spawn", request.description)
            case host.RequestInitConfig():
                return self._queue(request.name, "init_config", request.description)
            case host.RequestApplyCommit():
                return self._queue(request.name, "apply_commit", request.description, request.commit_ref or "HEAD")
            case host.EditConfig():
                return self._edit(request)
            case host.Deployments():
                return Response(deployments=self.deployments.get(request.name, [])[: request.limit])
            case host.Rollback():
                return self._rollback(request)
            case host.Config():
                return Response(config=self._config(request.name))
            case host.CancelJob():
                return self._cancel_job(request.id)
            case host.Questions():
                return Response(questions=self._questions(request))
            case host.Ask():
                return self._ask(request)
            case host.Answer():
                return self._answer_question(request.id, request.answer)
            case host.CancelQuestion():
                return self._answer_question(request.id, "[cancelled]")
            case host.Reminders():
                rows = [row for row in self.reminders.values() if request.name in (None, row.agent)]
                return Response(reminders=rows)
            case host.CancelReminder():
                if self.reminders.pop(request.id, None) is None:
                    raise FaultError(FaultKind.UNKNOWN_REMINDER, f"there is no reminder {request.id}")
                return Response()
            case host.Schedules():
                return Response(schedules=[row for row in self.schedules if request.name in (None, row.agent)])
            case host.SetSchedulePaused():
                row = self._schedule(request.name, request.schedule)
                self.schedules[self.schedules.index(row)] = msgspec.structs.replace(row, paused=request.paused)
                return Response()
            case host.FireSchedule():
                self._schedule(request.name, request.schedule)
                return Response()
            case host.Tombstones():
                return Response(tombstones=self.tombstones)
            case host.MetaInputs():
                return Response(meta_inputs=[])
            case host.RequestUpdateMetaInputs():
                return self._queue("", "update_meta_inputs", request.description, ",".join(request.inputs))
            case host.Revive() | host.Purge():
                return self._unbury(request.name)
            case _:
                return None

    def _schedule(self, agent: str, name: str) -> host.ScheduleRow:
        for row in self.schedules:
            if (row.agent, row.name) == (agent, name):
                return row
        raise FaultError(FaultKind.UNKNOWN_SCHEDULE, f"{agent} has no schedule {name!r}")

    def _diff(self, request: host.Diff) -> Iterator[Response]:
        row = self._approval(request.id)
        parts = self.diffs.get(request.id) or [host.ApprovalDiff(id=row.id, agent=row.agent, kind=row.kind)]
        for part in parts:
            yield Response(diff=msgspec.structs.replace(part, base=request.base))
        if not self.cut_diffs:
            yield Response(done=True)

    def _jobs(self, request: host.Jobs) -> Iterator[Response]:
        connection, told = self.connection, len(self.changed)
        listed = [job for job in reversed(self.jobs.values()) if request.name in (None, job.agent)]
        yield Response(jobs=listed[: request.limit])
        if not request.follow:
            return
        for _ in self._following(connection):
            fresh, told = self.changed[told:], len(self.changed)
            for number in fresh:
                if request.name in (None, self.jobs[number].agent):
                    yield Response(jobs=[self.jobs[number]])

    def _job_log(self, request: host.JobLog) -> Iterator[Response]:
        connection, shown = self.connection, 0
        job = self._job(request.id)
        for _ in self._following(connection):
            job, lines = self.jobs[request.id], self.job_log.get(request.id, [])[shown:]
            shown += len(lines)
            if job.state not in LIVE or not request.follow:
                yield Response(messages=lines, jobs=[job])
                return
            if lines:
                yield Response(messages=lines)

    def _following(self, connection: int) -> Iterator[None]:
        """Once now and again after all news, until the streams break."""
        with self.news:
            self.followers += 1
            self.news.notify_all()
            try:
                while connection == self.connection:
                    yield
                    self.news.wait()
            finally:
                self.followers -= 1

    def _decide(self, request: host.Approve | host.Deny) -> Response:
        row = self._approval(request.id)
        if row.status != "pending":
            raise FaultError(FaultKind.WRONG_STATE, f"approval {row.id} is {row.status} already")
        if isinstance(request, host.Approve) and request.sha not in (None, row.fetched_sha or ""):
            raise FaultError(FaultKind.SHA_MISMATCH, f"approval {row.id} is pinned to {row.fetched_sha}")
        status = "approved" if isinstance(request, host.Approve) else "denied"
        with self.news:
            self.approvals[request.id] = msgspec.structs.replace(row, status=status)
            self.news.notify_all()
        return Response()

    def _queue(self, name: str, kind: str, description: str, commit_ref: str = "") -> Response:
        number = max(self.approvals, default=0) + 1
        self.approvals[number] = approval_row(number, name, kind, description=description, commit_ref=commit_ref)
        return Response(ids=[number])

    def _edit(self, request: host.EditConfig) -> Response:
        if request.base not in (None, self._config(request.name).sha):
            raise FaultError(FaultKind.WRONG_STATE, f"{request.name} has been deployed anew meanwhile; edit it again")
        if self.edit_refusal is not None:
            raise self.edit_refusal
        return self._queue(request.name, "apply_commit", request.description, COMMIT)

    def _rollback(self, request: host.Rollback) -> Response:
        rows = self.deployments.get(request.name, [])
        if request.to not in [row.id for row in rows]:
            raise FaultError(FaultKind.BAD_COMMIT, f"{request.name} has no deployment {request.to}")
        self.deployments[request.name] = [msgspec.structs.replace(row, current=row.id == request.to) for row in rows]
        return Response()

    def _cancel_job(self, number: int) -> Response:
        job = self._job(number)
        if job.state not in LIVE:
            raise FaultError(FaultKind.WRONG_STATE, f"job {number} is {job.state} already")
        self.work(msgspec.structs.replace(job, state="cancelled"))
        return Response()

    def _questions(self, request: host.Questions) -> list[host.Question]:
        rows = [row for row in reversed(self.questions.values()) if request.all or not row.answered_at]
        return rows[: request.limit]

    def _ask(self, request: host.Ask) -> Response:
        number = max(self.questions, default=0) + 1
        self.questions[number] = host.Question(
            id=number,
            asker="operator",
            target=request.to,
            question=request.question,
            options=request.options,
            multi=request.multi,
            asked_at=NOON,
        )
        return Response(ids=[number])

    def _answer_question(self, number: int, answer: str) -> Response:
        row = self.questions.get(number)
        if row is None:
            raise FaultError(FaultKind.UNKNOWN_QUESTION, f"there is no question {number}")
        if row.answered_at:
            raise FaultError(FaultKind.WRONG_STATE, f"question {number} is answered already")
        self.questions[number] = msgspec.structs.replace(row, answered_at=NOON, answer=answer, answerer="operator")
        return Response()

    def _unbury(self, name: str) -> Response:
        if name not in [stone.name for stone in self.tombstones]:
            raise FaultError(FaultKind.UNKNOWN_AGENT, f"nothing was kept of {name!r}")
        self.tombstones = [stone for stone in self.tombstones if stone.name != name]
        return Response()

    def _approval(self, number: int) -> host.Approval:
        if number not in self.approvals:
            raise FaultError(FaultKind.UNKNOWN_APPROVAL, f"there is no approval {number}")
        return self.approvals[number]

    def _job(self, number: int) -> host.Job:
        if number not in self.jobs:
            raise FaultError(FaultKind.UNKNOWN_JOB, f"there is no job {number}")
        return self.jobs[number]

    def _config(self, name: str) -> host.AgentConfig:
        if name not in self.configs:
            raise FaultError(FaultKind.UNKNOWN_AGENT, f"agent {name!r} is not managed by this hive")
        return self.configs[name]


def approval_row(
    number: int, agent: str, kind: str = "apply_commit", *, description: str = "", commit_ref: str = "HEAD"
) -> host.Approval:
    """One that waits for a decision; an `apply_commit` is pinned to `COMMIT`."""
    return host.Approval(
        id=number,
        agent=agent,
        kind=kind,
        commit_ref=commit_ref if kind == "apply_commit" else "",
        fetched_sha=COMMIT if kind == "apply_commit" else msgspec.UNSET,
        requested_at=NOON,
        status="pending",
        description=description or msgspec.UNSET,
        requester="manager",
    )


def job_row(number: int, agent: str, kind: str = "deploy", *, state: str = "running", approval: int = 0) -> host.Job:
    """A job that an approval, or else the operator, led to."""
    return host.Job(
        id=number,
        agent=agent,
        kind=kind,
        state=state,
        source="approval" if approval else "operator",
        created_at=NOON,
        approval=approval or msgspec.UNSET,
    )
