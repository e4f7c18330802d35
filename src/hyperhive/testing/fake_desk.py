"""What the fake hive keeps of an agent beside its mail: questions, reminders, requests and jobs.

Nothing happens by itself: no question expires, no reminder comes due, no request is decided, no job does anything. A
test answers, decides and sets outcomes where it wants them.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from hyperhive.protocol import agent
from hyperhive.protocol.agent import (
    GROUP_METHODS,
    MAX_REMINDERS,
    AnswerTo,
    ApprovalInfo,
    ApprovalList,
    Ask,
    Asked,
    CancelLooseEnd,
    GetApprovals,
    GetLogs,
    JobAnswer,
    LogLines,
    LooseEnd,
    LooseEndKind,
    LooseEnds,
    Remind,
    ReminderSet,
    RequestApplyCommit,
    Requested,
    RequestSchedule,
    RequestScheduleRemoval,
    RequestSpawn,
    RequestUpdateMetaInputs,
    Subject,
)
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import OPERATOR
from hyperhive.protocol.rpc import Handler, Method, Nothing

R = TypeVar("R")
Request = RequestSpawn | RequestApplyCommit | RequestSchedule | RequestScheduleRemoval | RequestUpdateMetaInputs

FULL_SHA: Final = 40


@dataclass
class Question:
    id: int
    asker: str
    target: str
    text: str
    ask: Ask | None = None  #: as it was put, when the agent put it
    answer: str | None = None


@dataclass
class FakeDesk:
    """Made and served by FakeHive; `tell` is called after each change."""

    agent: str
    tell: Callable[[], None]
    groups: Iterable[str] = ()  #: the tool groups that the agent has
    questions: dict[int, Question] = field(default_factory=dict)
    reminders: dict[int, tuple[Remind, float]] = field(default_factory=dict)  #: pending ones, with when they are due
    requests: list[Request] = field(default_factory=list)
    approvals: dict[int, ApprovalInfo] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)  #: of every request
    jobs: list[tuple[str, str]] = field(default_factory=list)  #: verb and agent
    outcome: JobAnswer = field(default_factory=lambda: JobAnswer(job=1, state="done"))  #: of every job
    logs: dict[str, list[str]] = field(default_factory=dict)
    _results: dict[str, Any] = field(default_factory=dict)
    _last_id: int = 0

    def put(self, question: str, *, asker: str = "b") -> int:
        """Somebody asks the agent; gives the question's number."""
        asked = Question(self._new_id(), asker, self.agent, question)
        self.questions[asked.id] = asked
        return asked.id

    def methods(self) -> list[tuple[Method[Any, Any], Handler]]:
        free: list[tuple[Method[Any, Any], Handler]] = [
            (agent.ASK, self._ask),
            (agent.ANSWER, self._answer),
            (agent.REMIND, self._remind),
            (agent.GET_LOOSE_ENDS, lambda _: LooseEnds(ends=self._ends())),
            (agent.CANCEL_LOOSE_END, self._cancel),
        ]
        return [*free, *((method, self._guarded(method, handler)) for method, handler in self._of_groups())]

    def _of_groups(self) -> list[tuple[Method[Any, Any], Handler]]:
        return [
            *((method, self._job(method)) for method in GROUP_METHODS["lifecycle"]),
            (agent.REQUEST_SPAWN, lambda wanted: self._request_agent(wanted, "spawn")),
            (agent.REQUEST_INIT_CONFIG, lambda wanted: self._request_agent(wanted, "init_config")),
            (agent.REQUEST_APPLY_COMMIT, self._request_commit),
            (agent.REQUEST_SCHEDULE, self._request_schedule),
            (agent.REQUEST_SCHEDULE_REMOVAL, self._request_schedule),
            (agent.REQUEST_UPDATE_META_INPUTS, self._request_inputs),
            (agent.GET_APPROVALS, self._approvals),
            (agent.GET_LOGS, self._logs),
        ]

    def _guarded(self, method: Method[Any, Any], handler: Handler) -> Handler:
        def handle(params: Any) -> Any:
            if not any(method in GROUP_METHODS[group] for group in self.groups):
                raise FaultError(
                    FaultKind.NOT_ALLOWED, f"cannot {method.name}: {self.agent!r} has not that tool group"
                )
            return handler(params)

        return handle

    # questions, reminders, loose ends

    def _ask(self, ask: Ask) -> Asked:
        def put() -> Asked:
            if ask.to == self.agent:
                raise FaultError(FaultKind.NOT_ALLOWED, "cannot ask yourself; set a reminder instead")
            asked = Question(self._new_id(), self.agent, ask.to or OPERATOR, ask.question, ask)
            self.questions[asked.id] = asked
            return Asked(id=asked.id)

        return self._once(ask.mid, put)

    def _answer(self, given: AnswerTo) -> Nothing:
        asked = self.questions.get(given.id)
        if asked is None:
            raise FaultError(FaultKind.UNKNOWN_QUESTION, f"cannot answer question {given.id}: there is none")
        if asked.target != self.agent:
            raise FaultError(FaultKind.NOT_ALLOWED, f"cannot answer question {given.id}: it is for {asked.target}")
        if asked.answer is not None:
            raise FaultError(FaultKind.WRONG_STATE, f"cannot answer question {given.id}: it has its answer")
        asked.answer = given.answer
        self.tell()
        return Nothing()

    def _remind(self, remind: Remind) -> ReminderSet:
        def keep() -> ReminderSet:
            if (remind.delay_seconds is None) == (remind.at is None):
                raise FaultError(FaultKind.INVALID_PARAMS, "cannot set a reminder: give one of delay_seconds and at")
            if len(self.reminders) >= MAX_REMINDERS:
                raise FaultError(FaultKind.WRONG_STATE, f"cannot set a reminder: {MAX_REMINDERS} are pending")
            due_at = remind.at if remind.at is not None else time.time() + (remind.delay_seconds or 0)
            id_ = self._new_id()
            self.reminders[id_] = (remind, due_at)
            return ReminderSet(id=id_, due_at=due_at)

        return self._once(remind.mid, keep)

    def _ends(self) -> list[LooseEnd]:
        question, reminder, approval = LooseEndKind.QUESTION, LooseEndKind.REMINDER, LooseEndKind.APPROVAL
        return [
            *(
                LooseEnd(kind=question, id=q.id, text=q.text, asker=q.asker, target=q.target)
                for q in self.questions.values()
                if q.answer is None
            ),
            *(
                LooseEnd(kind=reminder, id=id_, text=remind.message, due_at=due_at)
                for id_, (remind, due_at) in self.reminders.items()
            ),
            *(
                LooseEnd(
                    kind=approval,
                    id=a.id,
                    text=f"{a.kind} {a.agent}: {a.description}",
                    asker=self.agent,
                    target=a.agent,
                    since=a.requested_at,
                )
                for a in self.approvals.values()
                if a.status == "pending"
            ),
        ]

    def _cancel(self, end: CancelLooseEnd) -> Nothing:
        match end.kind:
            case LooseEndKind.QUESTION:
                asked = self.questions.get(end.id)
                if asked is None or asked.asker != self.agent or asked.answer is not None:
                    raise _unknown(FaultKind.UNKNOWN_QUESTION, end)
                asked.answer = f"[cancelled by {self.agent}]"
            case LooseEndKind.REMINDER:
                if self.reminders.pop(end.id, None) is None:
                    raise _unknown(FaultKind.UNKNOWN_REMINDER, end)
            case LooseEndKind.APPROVAL:
                if self.approvals.pop(end.id, None) is None:
                    raise _unknown(FaultKind.UNKNOWN_APPROVAL, end)
        self.tell()
        return Nothing()

    # what takes a tool group

    def _job(self, method: Method[Any, Any]) -> Handler:
        def begin(subject: Subject) -> JobAnswer:
            if subject.name == self.agent:
                raise FaultError(FaultKind.NOT_ALLOWED, f"cannot {method.name} {subject.name!r}: that is you")
            self.jobs.append((method.name, subject.name))
            self.tell()
            return self.outcome

        return begin

    def _request_agent(self, wanted: RequestSpawn, kind: str) -> Requested:
        return self._once(wanted.mid, lambda: self._request(wanted, wanted.name, kind))

    def _request_commit(self, wanted: RequestApplyCommit) -> Requested:
        def request() -> Requested:
            if not 7 <= len(wanted.commit_ref) <= FULL_SHA or set(wanted.commit_ref) - set("0123456789abcdef"):
                raise FaultError(FaultKind.BAD_COMMIT, f"cannot take {wanted.commit_ref[:64]!r}: give a commit's hash")
            return self._request(wanted, wanted.agent, "apply_commit", wanted.commit_ref)

        return self._once(wanted.mid, request)

    def _request_schedule(self, wanted: RequestSchedule | RequestScheduleRemoval) -> Requested:
        sha = "5c" * (FULL_SHA // 2)
        return self._once(wanted.mid, lambda: self._request(wanted, wanted.agent, "apply_commit", sha))

    def _request_inputs(self, wanted: RequestUpdateMetaInputs) -> Requested:
        return self._once(wanted.mid, lambda: self._request(wanted, "", "update_meta_inputs"))

    def _request(self, wanted: Request, about: str, kind: str, sha: str = "") -> Requested:
        self.requests.append(wanted)
        approval = ApprovalInfo(
            id=self._new_id(), agent=about, kind=kind, status="pending", sha=sha, description=wanted.description,
            requested_at=time.time(),
        )  # fmt: skip
        self.approvals[approval.id] = approval
        return Requested(approval=approval.id, sha=sha, warnings=self.warnings)

    def _approvals(self, wanted: GetApprovals) -> ApprovalList:
        newest = sorted(self.approvals.values(), key=lambda approval: -approval.id)
        return ApprovalList(approvals=newest[: wanted.limit])

    def _logs(self, wanted: GetLogs) -> LogLines:
        if wanted.agent not in self.logs:
            raise FaultError(
                FaultKind.UNKNOWN_AGENT, f"cannot read the log of {wanted.agent!r}: there is no such agent"
            )
        return LogLines(lines=self.logs[wanted.agent][-wanted.lines :])

    # keeping

    def _once(self, mid: str, carry_out: Callable[[], R]) -> R:
        """The same `mid` again is answered with the first result."""
        if mid not in self._results:
            self._results[mid] = carry_out()
            self.tell()
        result: R = self._results[mid]
        return result

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id


def _unknown(kind: FaultKind, end: CancelLooseEnd) -> FaultError:
    return FaultError(kind, f"cannot cancel {end.kind} {end.id}: you have no such {end.kind} open")
