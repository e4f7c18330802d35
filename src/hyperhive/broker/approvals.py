"""The approval queue: what waits for the operator, and what was decided. Rows are kept for ever."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from msgspec import UNSET

from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.inbox import rfc3339
from hyperhive.broker.sql import Queries
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Approval

_SQL: Final = Queries("approvals")


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

    def on_wire(self) -> Approval:
        """As the admin socket shows it: what is not there is left out."""
        return Approval(
            id=self.id, agent=self.agent, kind=self.kind, commit_ref=self.commit_ref,
            fetched_sha=UNSET if self.fetched_sha is None else self.fetched_sha,
            requested_at=rfc3339(self.requested_at), status=self.status,
            resolved_at=UNSET if self.resolved_at is None else rfc3339(self.resolved_at),
            note=UNSET if self.note is None else self.note,
            description=UNSET if self.description is None else self.description,
        )  # fmt: skip


class Approvals:
    """The `approvals` table."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def queue(
        self, *, agent: str, kind: str, commit_ref: str = "", fetched_sha: str | None = None,
        description: str | None = None,
    ) -> ApprovalRow:  # fmt: skip
        """A new pending one."""
        values = {
            "agent": agent, "kind": kind, "commit_ref": commit_ref, "fetched_sha": fetched_sha,
            "description": description, "now": self._clock.now(),
        }  # fmt: skip
        return await self._database.write(lambda connection: _rows(connection, "queue", values)[0])

    async def get(self, id: int) -> ApprovalRow | None:
        found = await self._database.read(lambda connection: _rows(connection, "get", {"id": id}))
        return found[0] if found else None

    async def pending(self) -> list[ApprovalRow]:
        """What waits for a decision, oldest first."""
        return await self._database.read(lambda connection: _rows(connection, "pending", {}))

    async def newest(self, limit: int = 100) -> list[ApprovalRow]:
        """The history, newest first."""
        return await self._database.read(lambda connection: _rows(connection, "newest", {"limit": limit}))

    async def resolve(self, id: int, status: ApprovalStatus, note: str | None = None) -> ApprovalRow:
        """Decide a pending one. Of two who decide, one gets FaultError (`wrong_state`, naming what was decided).

        Raises `unknown_approval` when there is none.
        """
        values = {"id": id, "status": status.value, "note": note, "now": self._clock.now()}
        return await self._database.write(lambda connection: _changed(connection, "resolve", values))

    async def fail(self, id: int, note: str) -> ApprovalRow:
        """What was approved could not be done. Raises as `resolve` does."""
        values = {"id": id, "note": note, "now": self._clock.now()}
        return await self._database.write(lambda connection: _changed(connection, "fail", values))

    async def cancel_of(self, agent: str, note: str) -> list[ApprovalRow]:
        """Cancel all that is pending for a destroyed agent."""
        values = {"agent": agent, "note": note, "now": self._clock.now()}
        return await self._database.write(lambda connection: _rows(connection, "cancel_of", values))


def _changed(connection: Connection, query: str, values: Mapping[str, Any]) -> ApprovalRow | FaultError:
    if found := _rows(connection, query, values):
        return found[0]
    number = values["id"]
    there = _rows(connection, "get", {"id": number})
    if not there:
        return FaultError(FaultKind.UNKNOWN_APPROVAL, f"cannot decide approval {number}: there is none with this id")
    return FaultError(FaultKind.WRONG_STATE, f"cannot decide approval {number}: it is {there[0].status} already")


def _rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[ApprovalRow]:
    cursor = connection.execute(_SQL[query], values)
    names = [column[0] for column in cursor.description]
    return [ApprovalRow(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
