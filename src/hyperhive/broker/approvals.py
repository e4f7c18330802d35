"""The approval queue: what waits for the operator, and what was decided. Rows are kept for ever."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.inbox import rfc3339
from hyperhive.broker.sql import Queries, storable
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Approval
from hyperhive.protocol.ids import OPERATOR

_SQL: Final = Queries("approvals")
_strings: Final = msgspec.json.Decoder(tuple[str, ...])
MAX_PENDING: Final = 100
"""Requests of one agent that may wait for the operator."""


class ApprovalStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class ApprovalRow:
    """One request and its decision. Times are Unix seconds. A status this version does not know is kept as it is."""

    id: int
    agent: str
    kind: str
    commit_ref: str
    fetched_sha: str | None
    requested_at: float
    status: str
    resolved_at: float | None
    note: str | None
    description: str | None
    requester: str
    mid: str | None
    warnings: tuple[str, ...]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "ApprovalRow":
        return cls(**{**row, "warnings": _strings.decode(row["warnings"])})

    def on_wire(self) -> Approval:
        """As the admin socket shows it: what is not there is left out."""
        return Approval(
            id=self.id, agent=self.agent, kind=self.kind, commit_ref=self.commit_ref,
            fetched_sha=UNSET if self.fetched_sha is None else self.fetched_sha,
            requested_at=rfc3339(self.requested_at), status=self.status,
            resolved_at=UNSET if self.resolved_at is None else rfc3339(self.resolved_at),
            note=UNSET if self.note is None else self.note,
            description=UNSET if self.description is None else self.description,
            requester=self.requester, warnings=list(self.warnings) or UNSET,
        )  # fmt: skip


class Approvals:
    """The `approvals` table. What changes more than it is decided in `decisions`."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def queue(
        self, *, agent: str, kind: str, commit_ref: str = "", fetched_sha: str | None = None,
        description: str | None = None, requester: str = OPERATOR, mid: str | None = None,
        warnings: Sequence[str] = (), alone: bool = False,
    ) -> tuple[ApprovalRow, bool]:  # fmt: skip
        """A new pending one, and whether it is new: the same (requester, mid) again gives the first. So does, with
        `alone`, one that asks for the same and is pending, whoever asked for it.

        Raises FaultError (`wrong_state`) when too much that an agent asked for waits already.
        """
        values = fields(
            agent=agent, kind=kind, commit_ref=commit_ref, fetched_sha=fetched_sha, description=description,
            requester=requester, mid=mid, warnings=warnings, now=self._clock.now(),
        )  # fmt: skip
        return await self._database.write(lambda connection: _queue(connection, values, alone=alone))

    async def get(self, id: int) -> ApprovalRow | None:
        found = await self._read("get", {"id": id})
        return found[0] if found else None

    async def pending(self) -> list[ApprovalRow]:
        """What waits for a decision, oldest first."""
        return await self._read("pending", {})

    async def newest(self, limit: int = 100, agent: str | None = None) -> list[ApprovalRow]:
        """The history, newest first: of one agent, or all."""
        query = "newest" if agent is None else "newest_of"
        return await self._read(query, {"limit": limit, "agent": agent})

    async def before(self, id: int, limit: int) -> list[ApprovalRow]:
        """Those that are older than that one, newest first."""
        return await self._read("before", {"before": id, "limit": limit})

    async def of(self, agent: str) -> list[ApprovalRow]:
        """All that there ever was about the agent's name, oldest first."""
        return await self._read("of", {"agent": agent})

    async def previous_queued(self, row: ApprovalRow) -> ApprovalRow | None:
        """The commit of the same agent that was proposed just before this one, whatever became of it."""
        found = await self._read("previous_queued", {"agent": row.agent, "before": row.id})
        return found[0] if found else None

    async def last_approved(self, agent: str, before_id: int) -> ApprovalRow | None:
        """The newest commit of the agent before this approval that was approved and has not failed."""
        found = await self._read("last_approved", {"agent": agent, "before": before_id})
        return found[0] if found else None

    async def resolve(self, id: int, status: ApprovalStatus, note: str | None = None) -> ApprovalRow:
        """Decide a pending one. Of two who decide, one gets FaultError (`wrong_state`, naming what was decided).

        Raises `unknown_approval` when there is none.
        """
        return await self._change("resolve", {"id": id, "status": status.value, "note": note})

    async def cancel_of(self, agent: str, note: str) -> list[ApprovalRow]:
        """Cancel all that is pending for a destroyed agent."""
        values = {"agent": agent, "note": note, "now": self._clock.now()}
        return await self._database.write(lambda connection: rows(connection, "cancel_of", values))

    async def _read(self, query: str, values: Mapping[str, Any]) -> list[ApprovalRow]:
        return await self._database.read(lambda connection: rows(connection, query, values))

    async def _change(self, query: str, values: Mapping[str, Any]) -> ApprovalRow:
        now = self._clock.now()
        return await self._database.write(lambda connection: change(connection, query, {**values, "now": now}))


# within a transaction of others


def fields(
    *, agent: str, kind: str, commit_ref: str, fetched_sha: str | None, description: str | None, requester: str,
    mid: str | None, warnings: Sequence[str], now: float,
) -> dict[str, Any]:  # fmt: skip
    """The columns of a new row."""
    return {
        "agent": agent, "kind": kind, "commit_ref": storable(commit_ref), "fetched_sha": fetched_sha,
        "description": None if description is None else storable(description), "requester": requester, "mid": mid,
        "warnings": msgspec.json.encode([storable(warning) for warning in warnings]).decode(), "now": now,
    }  # fmt: skip


def rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[ApprovalRow]:
    return [ApprovalRow.from_row(row) for row in _SQL.rows(connection, query, values)]


def change(connection: Connection, query: str, values: Mapping[str, Any]) -> ApprovalRow | FaultError:
    """What the transition made of the approval `id`, or why it is not possible; then nothing was changed."""
    note = values.get("note")
    found = rows(connection, query, values if note is None else {**values, "note": storable(note)})
    return found[0] if found else _refusal(connection, values)


def _refusal(connection: Connection, values: Mapping[str, Any]) -> FaultError:
    number, sha = values["id"], values.get("sha")
    there = rows(connection, "get", {"id": number})
    if not there:
        return FaultError(FaultKind.UNKNOWN_APPROVAL, f"cannot decide approval {number}: there is none with this id")
    row = there[0]
    if row.status == ApprovalStatus.PENDING and sha is not None:
        return FaultError(
            FaultKind.SHA_MISMATCH,
            f"cannot approve {number} at {sha[:64]!r}: what it asks for is "
            f"{row.fetched_sha or 'not a commit'}; look at it again, and say that sha or none",
        )
    return FaultError(FaultKind.WRONG_STATE, f"cannot decide approval {number}: it is {row.status} already")


def _queue(connection: Connection, values: Mapping[str, Any], *, alone: bool) -> tuple[ApprovalRow, bool] | FaultError:
    alike = rows(connection, "pending_alike", values) if alone else []
    if first := rows(connection, "first", values) or alike:
        return first[0], False
    requester = values["requester"]
    waiting = _SQL.rows(connection, "count_pending", values)[0]["pending"]
    if requester != OPERATOR and waiting >= MAX_PENDING:
        return FaultError(
            FaultKind.WRONG_STATE,
            f"cannot ask for more: {waiting} requests of {requester!r} wait for the operator; "
            "wait for a decision, or cancel some",
        )
    return rows(connection, "queue", values)[0], True
