"""What was live of each agent, and when. Which of it is live now is `deployed_sha` of the roster."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hyperhive.broker.database import Connection, Database
from hyperhive.broker.sql import Queries, storable

_SQL: Final = Queries("deployments")


@dataclass(frozen=True, kw_only=True)
class DeploymentRow:
    """A commit that was made live. `approval` is its number, and 0 for the first; the time is in Unix seconds."""

    agent: str
    approval: int
    sha: str
    deployed_at: float
    description: str = ""


class Deployments:
    """The `deployments` table. `Decisions.end` writes it, together with the job that deployed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, agent: str, limit: int = 50) -> list[DeploymentRow]:
        """Newest first."""
        return await self._read("of", {"agent": agent, "limit": limit})

    async def get(self, agent: str, approval: int) -> DeploymentRow | None:
        found = await self._read("get", {"agent": agent, "approval": approval})
        return found[0] if found else None

    async def add(self, row: DeploymentRow) -> None:
        """One that no job has made. The same number again is the newer one."""
        await self._database.write(lambda connection: put(connection, row))

    async def forget(self, agent: str) -> None:
        """The agent's repository is gone for good, and its deployments with it."""
        await self._database.write(lambda connection: _SQL.rows(connection, "forget", {"agent": agent}))

    async def _read(self, query: str, values: Mapping[str, Any]) -> list[DeploymentRow]:
        return await self._database.read(
            lambda connection: [DeploymentRow(**row) for row in _SQL.rows(connection, query, values)]
        )


def put(connection: Connection, row: DeploymentRow) -> None:
    """Write it down within a transaction of others. The same number again is the newer one."""
    connection.execute(_SQL["put"], {**asdict(row), "description": storable(row.description)})
