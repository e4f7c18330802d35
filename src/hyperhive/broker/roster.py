"""The agents, living and destroyed, and what the operator wants of each."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.sql import Queries
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import closest

_SQL: Final = Queries("roster")


class Wanted(StrEnum):
    """What the operator wants of an agent."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, kw_only=True)
class AgentRow:
    """One life of an agent. `incarnation` is unique over the hive's whole life. Times are Unix seconds."""

    name: str
    incarnation: int
    role: str
    uid: int | None
    wanted: Wanted
    paused: bool  #: takes no mail; its container may run
    description: str
    model: str  #: the operator's choice; empty: as the config says
    failure: str  #: why it is failed, in words; empty when it is not
    asleep: bool
    deployed_sha: str
    parent: str  #: the agent that steers it; empty: the operator alone
    built_with: str  #: what its container was made from, in the hive's own words
    session_id: str
    context_tokens: int
    status_text: str
    status_set_at: float | None
    needs_login: bool
    created_at: float
    destroyed_at: float | None
    backend: BackendKind = BackendKind.BUBBLEWRAP  #: what makes its containers

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "AgentRow":
        flags = {flag: bool(row[flag]) for flag in ("paused", "asleep", "needs_login")}
        kinds = {"wanted": Wanted(row["wanted"]), "backend": BackendKind(row["backend"])}
        return cls(**{**row, **flags, **kinds})


_FIXED: Final = frozenset({"name", "incarnation", "created_at", "destroyed_at"})
CHANGEABLE: Final = frozenset(field.name for field in fields(AgentRow)) - _FIXED
_UPDATES: Final = {
    column: f"UPDATE agents SET {column} = :{column} WHERE name = :name AND destroyed_at IS NULL"
    for column in sorted(CHANGEABLE)
}


class Roster:
    """The `agents` table."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def add(
        self, name: str, *, role: str = "agent", uid: int | None = None, wanted: Wanted = Wanted.UP,
        description: str = "", model: str = "", parent: str = "", deployed_sha: str = "",
        backend: BackendKind = BackendKind.BUBBLEWRAP,
    ) -> AgentRow:  # fmt: skip
        """A new agent under a name that no living one has; raises FaultError (`name_taken`)."""
        values = {
            "name": name, "role": role, "uid": uid, "wanted": wanted.value, "description": description, "model": model,
            "parent": parent, "deployed_sha": deployed_sha, "backend": backend.value, "created_at": self._clock.now(),
        }  # fmt: skip

        def insert(connection: Connection) -> AgentRow | FaultError:
            if _rows(connection, "get", {"name": name}):
                return FaultError(FaultKind.NAME_TAKEN, f"cannot add agent {name!r}: there is one of this name")
            return _rows(connection, "add", values)[0]

        return await self._database.write(insert)

    async def get(self, name: str) -> AgentRow | None:
        """The living agent of that name."""
        found = await self._database.read(lambda connection: _rows(connection, "get", {"name": name}))
        return found[0] if found else None

    async def lives(self, name: str) -> list[AgentRow]:
        """Everyone who ever had the name, newest first."""
        return await self._database.read(lambda connection: _rows(connection, "lives", {"name": name}))

    async def update(self, name: str, **values: str | int | float | bool | None) -> AgentRow:
        """Set columns of a living agent (see CHANGEABLE); raises FaultError (`unknown_agent`)."""
        check_columns(values)

        def set_all(connection: Connection) -> AgentRow | FaultError:
            set_columns(connection, name, values)
            found = _rows(connection, "get", {"name": name})
            return found[0] if found else _unknown(connection, name)

        return await self._database.write(set_all)

    async def destroy(self, name: str) -> AgentRow:
        """End this life of the name; the row stays. Raises FaultError (`unknown_agent`)."""
        values = {"name": name, "now": self._clock.now()}

        def end(connection: Connection) -> AgentRow | FaultError:
            found = _rows(connection, "destroy", values)
            return found[0] if found else _unknown(connection, name)

        return await self._database.write(end)

    async def uids(self) -> set[int]:
        """Those that living agents have."""
        rows = await self._database.read(lambda connection: connection.execute(_SQL["uids"]).fetchall())
        return {row[0] for row in rows}

    async def list(self) -> list[AgentRow]:
        """The living, in the order of their names."""
        return await self._database.read(lambda connection: _rows(connection, "living", {}))


def check_columns(values: Mapping[str, object]) -> None:
    """Raises TypeError for what is not in CHANGEABLE."""
    if unknown := values.keys() - CHANGEABLE:
        raise TypeError(f"no such column: {', '.join(sorted(unknown))}")


def set_columns(connection: Connection, name: str, values: Mapping[str, str | int | float | bool | None]) -> None:
    """Set columns (see CHANGEABLE) of the living agent of that name, if there is one, in a transaction of others."""
    for column, value in values.items():
        connection.execute(_UPDATES[column], {"name": name, column: value})


def _rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[AgentRow]:
    return [AgentRow.from_row(row) for row in _SQL.rows(connection, query, values)]


def _unknown(connection: Connection, name: str) -> FaultError:
    names = [row.name for row in _rows(connection, "living", {})]
    return FaultError(FaultKind.UNKNOWN_AGENT, f"unknown agent {name[:64]!r}: {closest(name[:64], names)}")
