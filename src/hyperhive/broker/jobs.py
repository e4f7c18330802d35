"""The job queue: all work on containers and configs, one at a time for each agent, kept over the hive's end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hyperhive.broker import approvals
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.inbox import rfc3339
from hyperhive.broker.sql import Queries, storable
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Job

_SQL: Final = Queries("jobs")
Param = str | int | bool | None
_params: Final = msgspec.json.Decoder(dict[str, Param])
_VACUUM_CHUNK: Final = 50
MAX_QUEUED: Final = 100
"""Jobs of one agent that wait."""
MAX_LINE: Final = 4096
"""Bytes of a line of a job's log; the rest of it is cut off."""
MAX_LINES: Final = 5000
"""Of one job. The beginning is kept, and of what comes after it the newest."""
FIRST_LINES: Final = 4000
MAX_WORDS: Final = 4000
"""Characters of a job's progress, error or reason."""
LEFT_OUT: Final = "... lines are left out here: the log is too long ..."


class JobKind(StrEnum):
    SPAWN = "spawn"
    INIT_CONFIG = "init_config"
    DEPLOY = "deploy"
    REBUILD = "rebuild"
    MOVE = "move"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    DESTROY = "destroy"
    PURGE = "purge"
    UPDATE_ALL = "update_all"
    BUILD_IMAGE = "build_image"
    UPDATE_META_INPUTS = "update_meta_inputs"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class JobDraft:
    """Work that somebody wants done. An empty `agent` means all of them."""

    agent: str
    kind: JobKind
    params: Mapping[str, Param] = field(default_factory=dict)
    source: str  #: approval, operator, manager, startup, update, watchdog
    requester: str = ""
    reason: str = ""
    approval: int | None = None
    parent: int | None = None  #: the job that queued it


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """A piece of work and what became of it. Times are Unix seconds."""

    id: int
    agent: str
    kind: JobKind
    params: Mapping[str, Param]
    state: JobState
    source: str
    requester: str
    reason: str
    approval: int | None
    parent: int | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    attempts: int  #: over 1: the hive ended while it ran
    progress: str  #: what it is at, in words
    error: str
    error_kind: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "JobRow":
        parsed = {
            "kind": JobKind(row["kind"]), "state": JobState(row["state"]), "params": _params.decode(row["params"]),
        }  # fmt: skip
        return cls(**{**row, **parsed})

    def on_wire(self) -> Job:
        return Job(
            id=self.id, agent=self.agent, kind=self.kind, state=self.state, source=self.source,
            created_at=rfc3339(self.created_at), requester=self.requester, reason=self.reason,
            approval=UNSET if self.approval is None else self.approval,
            parent=UNSET if self.parent is None else self.parent,
            started_at=UNSET if self.started_at is None else rfc3339(self.started_at),
            ended_at=UNSET if self.ended_at is None else rfc3339(self.ended_at),
            attempt=max(1, self.attempts), progress=self.progress, error=self.error or UNSET,
        )  # fmt: skip


class Jobs:
    """The `jobs` table. How a job ends is written by `Decisions.end`, with all that its end changes.

    `on_change` is called with every job that has changed and `on_line` with the lines added to a job's log, after the
    commit. Both may be set at any time and must not block.
    """

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self.on_change: Callable[[JobRow], None] = lambda _row: None
        self.on_line: Callable[[int, list[str]], None] = lambda _id, _lines: None
        self._database = database
        self._clock = clock or SystemClock()

    async def add(self, draft: JobDraft) -> JobRow:
        """Queue it. Where the agent's last queued job is the same work, and no approval's, that one is given instead.

        Raises FaultError (`too_fast`) when too many wait for the agent.
        """
        now = self._clock.now()

        def insert(connection: Connection) -> tuple[JobRow, bool] | FaultError:
            if same := _same_queued(connection, draft):
                return same, False
            return _overfull(connection, draft.agent) or (put(connection, draft, now), True)

        row, _ = await self._database.write(insert, lambda added: self.tell(added[0]) if added[1] else None)
        return row

    async def get(self, id: int) -> JobRow | None:
        found = await self._read("get", {"id": id})
        return found[0] if found else None

    async def unfinished(self) -> list[JobRow]:
        """What is running and then what is queued, each oldest first."""
        return await self._read("unfinished", {})

    async def newest(self, limit: int, agent: str | None = None) -> list[JobRow]:
        """Newest first: of one agent, or all."""
        return await self._read("newest" if agent is None else "newest_of", {"limit": limit, "agent": agent})

    async def before(self, id: int, limit: int) -> list[JobRow]:
        """Those that are older than that one, newest first."""
        return await self._read("before", {"before": id, "limit": limit})

    async def begin(self, id: int) -> JobRow:
        """A queued one runs now; one that ran when the hive ended runs again, as a further attempt.

        Raises FaultError: `unknown_job`; `wrong_state` when it has ended or another job of its agent runs.
        """
        return await self._change("begin", "begin", {"id": id})

    async def cancel(self, id: int, note: str) -> JobRow:
        """Take a queued one out; the approval that it was to carry out fails with the note, in the same transaction.

        Raises FaultError: `unknown_job`, `wrong_state`.
        """
        now = self._clock.now()
        return await self._database.write(lambda connection: cancel(connection, id, note, now), self.tell)

    async def progress(self, id: int, text: str) -> JobRow:
        """What a running job is at. Raises FaultError: `unknown_job`, `wrong_state`."""
        return await self._change("progress", "note the progress of", {"id": id, "text": words(text)})

    async def log(self, id: int, lines: Sequence[str]) -> None:
        """Add to a job's log. Raises FaultError (`unknown_job`)."""
        kept, now = [_line(line) for line in lines], self._clock.now()
        await self._database.write(
            lambda connection: _log(connection, id, kept, now), lambda _: self.on_line(id, kept)
        )  # fmt: skip

    async def lines(self, id: int, after_seq: int = 0) -> list[tuple[int, float, str]]:
        """The log from behind that number on: number, time, text. Numbers rise; a gap is what was left out."""
        values = {"job": id, "after": after_seq}
        return await self._database.read(lambda connection: connection.execute(_SQL["lines"], values).fetchall())

    async def vacuum(self, before: float) -> int:
        """Delete the jobs that ended before that time (Unix seconds), with their logs; how many went."""
        values = {"before": before, "chunk": _VACUUM_CHUNK}
        deleted = 0
        while count := await self._database.write(lambda connection: _vacuum(connection, values)):
            deleted += count
        return deleted

    def tell(self, row: JobRow) -> None:
        """It was changed, by a transaction of others too."""
        self.on_change(row)

    async def _read(self, query: str, values: Mapping[str, Any]) -> list[JobRow]:
        return await self._database.read(lambda connection: rows(connection, query, values))

    async def _change(self, query: str, what: str, values: Mapping[str, Any]) -> JobRow:
        now = self._clock.now()
        return await self._database.write(
            lambda connection: change(connection, query, what, {**values, "now": now}), self.tell
        )


# within a transaction of others


def rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[JobRow]:
    return [JobRow.from_row(row) for row in _SQL.rows(connection, query, values)]


def put(connection: Connection, draft: JobDraft, now: float) -> JobRow:
    """Queue it, whatever else is queued."""
    values = {
        "agent": draft.agent, "kind": draft.kind.value, "params": _encoded(draft.params), "source": draft.source,
        "requester": draft.requester, "reason": words(draft.reason), "approval": draft.approval,
        "parent": draft.parent, "now": now,
    }  # fmt: skip
    return rows(connection, "add", values)[0]


def change(connection: Connection, query: str, what: str, values: Mapping[str, Any]) -> JobRow | FaultError:
    """What the transition made of the job `id`, or why it is not possible; then nothing was changed."""
    found = rows(connection, query, values)
    return found[0] if found else _refusal(connection, values["id"], what)


def cancel(connection: Connection, number: int, note: str, now: float) -> JobRow | FaultError:
    """Take a queued job out, and let its approval fail."""
    row = change(connection, "cancel", "cancel", {"id": number, "note": words(note), "now": now})
    if isinstance(row, JobRow):
        fail_approval(connection, row, now)
    return row


def fail_approval(connection: Connection, row: JobRow, now: float) -> None:
    """What was approved came to nothing, for the reason that the job has."""
    if row.approval is not None:
        approvals.rows(connection, "fail_approved", {"id": row.approval, "note": row.error, "now": now})


def words(text: str) -> str:
    """A text of the size that a job keeps."""
    return storable(text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]} ...")


def _refusal(connection: Connection, number: int, what: str) -> FaultError:
    there = rows(connection, "get", {"id": number})
    if not there:
        return FaultError(FaultKind.UNKNOWN_JOB, f"cannot {what} job {number}: there is none with this id")
    row = there[0]
    if what == "begin" and row.state is JobState.QUEUED:
        reason = "another job of its agent runs; it comes when that has ended"
    elif what == "cancel" and row.state is JobState.RUNNING:
        reason = "it is running, and only what waits can be cancelled"
    else:
        reason = f"it is {row.state}"
    return FaultError(FaultKind.WRONG_STATE, f"cannot {what} job {number} ({row.kind}): {reason}")


def _same_queued(connection: Connection, draft: JobDraft) -> JobRow | None:
    """Only the last one: after another job the same work is not the same."""
    if draft.approval is not None:
        return None
    for row in rows(connection, "last_queued", {"agent": draft.agent}):
        if row.approval is None and (row.kind, dict(row.params)) == (draft.kind, dict(draft.params)):
            return row
    return None


def _overfull(connection: Connection, agent: str) -> FaultError | None:
    queued = _SQL.rows(connection, "count_queued", {"agent": agent})[0]["queued"]
    if queued < MAX_QUEUED:
        return None
    return FaultError(
        FaultKind.TOO_FAST, f"cannot queue a job for {agent!r}: {queued} wait already; wait until some have ended"
    )


def _encoded(params: Mapping[str, Param]) -> str:
    return msgspec.json.encode(dict(params), order="sorted").decode()


def _line(text: str) -> str:
    return text.encode("utf-8", "replace")[:MAX_LINE].decode("utf-8", "ignore")


def _log(connection: Connection, number: int, lines: Sequence[str], now: float) -> FaultError | None:
    if not rows(connection, "get", {"id": number}):
        return FaultError(FaultKind.UNKNOWN_JOB, f"cannot log for job {number}: there is none with this id")
    last: int = _SQL.rows(connection, "last_line", {"job": number})[0]["seq"]
    for seq, text in enumerate(lines, last + 1):
        connection.execute(_SQL["add_line"], {"job": number, "seq": seq, "text": text, "now": now})
    last += len(lines)
    if last > MAX_LINES:
        marker = FIRST_LINES + 1
        connection.execute(_SQL["mark_left_out"], {"job": number, "seq": marker, "text": LEFT_OUT})
        cut = {"job": number, "first": marker, "last": last - (MAX_LINES - marker)}
        connection.execute(_SQL["leave_out"], cut)
    return None


def _vacuum(connection: Connection, values: Mapping[str, Any]) -> int:
    connection.execute(_SQL["vacuum_lines"], values)
    return connection.execute(_SQL["vacuum"], values).rowcount
