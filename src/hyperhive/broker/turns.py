"""One row for each turn that ended: who, why, how, how long, at what price."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hyperhive.broker.database import Connection, Database
from hyperhive.broker.sql import Queries

_SQL: Final = Queries("turns")


@dataclass(frozen=True, kw_only=True)
class TurnRow:
    """Times are Unix seconds; tokens and cost are this turn's alone."""

    agent: str
    incarnation: int
    turn: str
    outcome: str
    started_at: float
    ended_at: float
    model: str = ""
    cause: str = ""  #: who sent what began it
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cost_usd: float = 0.0
    tool_calls: int = 0


class Turns:
    """The `turns` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, turn: TurnRow) -> None:
        """Harmless when it is there already."""
        values = asdict(turn)
        await self._database.write(lambda connection: connection.execute(_SQL["add"], values).rowcount)

    async def latest(self, agent: str, limit: int = 100) -> list[TurnRow]:
        """The agent's, newest first; of earlier lives of its name as well."""
        return await self._read("latest", {"agent": agent, "limit": limit})

    async def since(self, time: float, limit: int = 10_000) -> list[TurnRow]:
        """Everyone's that ended since, oldest first."""
        return await self._read("since", {"since": time, "limit": limit})

    async def _read(self, query: str, values: Mapping[str, Any]) -> list[TurnRow]:
        return await self._database.read(lambda connection: _rows(connection, query, values))


def _rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[TurnRow]:
    cursor = connection.execute(_SQL[query], values)
    names = [column[0] for column in cursor.description]
    return [TurnRow(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
