"""What changes several tables at once: each decision and each end of a job is one transaction.

The database is the truth; what a job leaves outside of it, tags among them, is made to agree with it afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hyperhive.broker import approvals, deployments, jobs, notices, roster, schedules
from hyperhive.broker.approvals import ApprovalRow, ApprovalStatus
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.deployments import DeploymentRow
from hyperhive.broker.jobs import JobDraft, JobRow, Jobs, JobState
from hyperhive.broker.notices import Notice, Notices
from hyperhive.broker.schedules import Plan
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import OPERATOR

Row = TypeVar("Row", ApprovalRow, JobRow)
Decided = tuple[ApprovalRow, JobRow]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a running job ends, and all that becomes true with it."""

    state: JobState  #: done, failed or cancelled
    error: str = ""
    error_kind: str = ""
    deployment: DeploymentRow | None = None  #: what is live from now on
    agent: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)  #: columns of the job's agent
    notices: Sequence[Notice] = ()
    schedules: Plan | None = None  #: of the job's agent from now on; None: as they are


class Decisions:
    """Decides about approvals and jobs, exactly once each, and wakes whoever delivers what is owed after it."""

    def __init__(self, database: Database, jobs: Jobs, notices: Notices, clock: Clock | None = None) -> None:
        self._database = database
        self._jobs = jobs
        self._notices = notices
        self._clock = clock or SystemClock()

    async def approve(self, id: int, *, sha: str | None, job: JobDraft) -> Decided:
        """Decide for a pending one and queue the job that carries it out. `sha` is the commit that was shown.

        Raises FaultError, and nothing is changed: `sha_mismatch`, `wrong_state`, `unknown_approval`.
        """
        now = self._clock.now()

        def decide(connection: Connection) -> Decided | FaultError:
            row = approvals.change(connection, "approve", {"id": id, "sha": sha, "now": now})
            return row if isinstance(row, FaultError) else _with_job(connection, row, job, now)

        return await self._database.write(decide, self._tell_decided)

    async def decide_and_do(
        self, *, agent: str, kind: str, job: JobDraft, commit_ref: str = "", fetched_sha: str | None = None,
        description: str | None = None, requester: str = OPERATOR, warnings: Sequence[str] = (),
    ) -> Decided:  # fmt: skip
        """A new approval that is approved as it comes, with its job: what the operator wants done at once."""
        now = self._clock.now()
        values = approvals.fields(
            agent=agent, kind=kind, commit_ref=commit_ref, fetched_sha=fetched_sha, description=description,
            requester=requester, mid=None, warnings=warnings, now=now,
        )  # fmt: skip

        def decide(connection: Connection) -> Decided | FaultError:
            queued = approvals.rows(connection, "queue", values)[0]
            row = approvals.change(connection, "approve", {"id": queued.id, "sha": None, "now": now})
            return row if isinstance(row, FaultError) else _with_job(connection, row, job, now)

        return await self._database.write(decide, self._tell_decided)

    async def end(self, job_id: int, ending: Ending) -> JobRow:
        """A running job has ended. The approval of one that was not done fails, with the error as its note.

        Raises FaultError, and nothing is changed: `wrong_state`, `unknown_job`.
        """
        if not ending.state.ended:
            raise ValueError(f"a job cannot end as {ending.state}")
        roster.check_columns(ending.agent)
        now = self._clock.now()
        return await self._database.write(lambda connection: _end(connection, job_id, ending, now), self._tell)

    async def cancel_job(self, job_id: int, note: str, notices: Sequence[Notice] = ()) -> JobRow:
        """As `Jobs.cancel`, and owe the notices with it."""
        now = self._clock.now()

        def decide(connection: Connection) -> JobRow | FaultError:
            row = jobs.cancel(connection, job_id, note, now)
            return row if isinstance(row, FaultError) else _owing(connection, row, notices, now)

        return await self._database.write(decide, self._tell)

    async def deny(self, id: int, reason: str | None = None, notices: Sequence[Notice] = ()) -> ApprovalRow:
        """Decide against a pending one. Raises FaultError: `wrong_state`, `unknown_approval`."""
        return await self._resolve(id, ApprovalStatus.DENIED, reason, notices)

    async def cancel(self, id: int, note: str, notices: Sequence[Notice] = ()) -> ApprovalRow:
        """Take a pending one back. Raises as `deny` does."""
        return await self._resolve(id, ApprovalStatus.CANCELLED, note, notices)

    async def fail(self, id: int, note: str, notices: Sequence[Notice] = ()) -> ApprovalRow:
        """A pending one that can never be done. Raises as `deny` does."""
        return await self._resolve(id, ApprovalStatus.FAILED, note, notices)

    async def _resolve(
        self, id: int, status: ApprovalStatus, note: str | None, notices: Sequence[Notice]
    ) -> ApprovalRow:
        now = self._clock.now()

        def decide(connection: Connection) -> ApprovalRow | FaultError:
            values = {"id": id, "status": status.value, "note": note or None, "now": now}
            row = approvals.change(connection, "resolve", values)
            return row if isinstance(row, FaultError) else _owing(connection, row, notices, now)

        return await self._database.write(decide, lambda _: self._notices.wake())

    def _tell_decided(self, decided: Decided) -> None:
        self._jobs.tell(decided[1])

    def _tell(self, row: JobRow) -> None:
        self._notices.wake()
        self._jobs.tell(row)


def _with_job(connection: Connection, row: ApprovalRow, job: JobDraft, now: float) -> Decided:
    return row, jobs.put(connection, replace(job, approval=row.id), now)


def _end(connection: Connection, number: int, ending: Ending, now: float) -> JobRow | FaultError:
    values = {
        "id": number, "state": ending.state.value, "error": jobs.words(ending.error),
        "error_kind": ending.error_kind, "now": now,
    }  # fmt: skip
    row = jobs.change(connection, "end", "end", values)
    if isinstance(row, FaultError):
        return row
    if row.state is not JobState.DONE:
        jobs.fail_approval(connection, row, now)
    if ending.deployment is not None:
        deployments.put(connection, ending.deployment)
        roster.set_columns(connection, row.agent, {"deployed_sha": ending.deployment.sha})
    roster.set_columns(connection, row.agent, ending.agent)
    if ending.schedules is not None:
        schedules.put(connection, row.agent, ending.schedules, now)
    return _owing(connection, row, ending.notices, now)


def _owing(connection: Connection, row: Row, owed: Sequence[Notice], now: float) -> Row:
    for notice in owed:
        notices.put(connection, notice, now)
    return row
