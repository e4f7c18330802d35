"""Numbers of the whole hive, added up by the database when somebody asks."""

import asyncio
from dataclasses import dataclass
from typing import Final

from hyperhive.broker.database import Connection, Database
from hyperhive.broker.sql import Queries
from hyperhive.broker.turns import MOST_USD

_SQL: Final = Queries("totals")


@dataclass(frozen=True, kw_only=True)
class TurnSum:
    """Of all turns of one agent that ended in one way, as far back as turns are kept."""

    agent: str
    outcome: str
    turns: int
    seconds: float
    cost_usd: float
    input_tokens: float
    output_tokens: float
    cache_read_tokens: float
    cache_creation_tokens: float
    tool_calls: float


@dataclass(frozen=True, kw_only=True)
class Sums:
    """All of one moment."""

    jobs: dict[str, int]  #: by state; those that ended as long as they are kept
    pending_approvals: int
    open_questions: int
    turns: list[TurnSum]


class Totals:
    """Reads tables of others and changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._summing = asyncio.Lock()  #: it takes long where many turns are kept: one reader is enough for it

    async def now(self) -> Sums:
        async with self._summing:
            return await self._database.read(_sums)


def _sums(connection: Connection) -> Sums:
    return Sums(
        jobs=dict(connection.execute(_SQL["jobs"]).fetchall()),
        pending_approvals=connection.execute(_SQL["pending_approvals"]).fetchone()[0],
        open_questions=connection.execute(_SQL["open_questions"]).fetchone()[0],
        turns=[TurnSum(**row) for row in _SQL.rows(connection, "turns", {"most_usd": MOST_USD})],
    )
