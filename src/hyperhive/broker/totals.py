"""Numbers of the whole hive, added up by the database when somebody asks."""

import asyncio
import functools
from dataclasses import dataclass, fields, replace
from typing import Final

from msgspec import json

from hyperhive.broker.database import Connection, Database
from hyperhive.broker.sql import Queries
from hyperhive.broker.turns import MOST_USD
from hyperhive.protocol.events import Outcome

_SQL: Final = Queries("totals")
OTHER: Final = "other"
"""In the place of an outcome that is none of ours: sums are kept of each, and a harness may make up many."""
_OUTCOMES: Final = json.encode([*Outcome]).decode()


@dataclass(frozen=True, kw_only=True)
class TurnSum:
    """Of all turns of one agent that ended in one way, as far back as turns are kept."""

    agent: str
    outcome: str  #: an Outcome, or OTHER
    turns: int
    seconds: float
    cost_usd: float
    input_tokens: float
    output_tokens: float
    cache_read_tokens: float
    cache_creation_tokens: float
    tool_calls: float


_AMOUNTS: Final = tuple(field for field in fields(TurnSum) if field.name not in ("agent", "outcome"))


@dataclass(frozen=True, kw_only=True)
class Sums:
    """All of one moment."""

    jobs: dict[str, int]  #: by state; those that ended as long as they are kept
    pending_approvals: int
    open_questions: int
    turns: list[TurnSum]


class Totals:
    """Reads tables of others and changes nothing. Turns stay as they are once they have ended, so that what was added
    up before is not read again: asking costs what happened since."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._summing = asyncio.Lock()  #: the first time takes long where many turns are kept: one reader is enough
        self._turns: dict[tuple[str, str], TurnSum] = {}
        self._last = 0  #: the id of the newest turn in them

    async def now(self) -> Sums:
        async with self._summing:
            sums, last = await self._database.read(functools.partial(_sums, self._last))
            for row in sums.turns:
                before = self._turns.get((row.agent, row.outcome))
                self._turns[row.agent, row.outcome] = _added(before, row) if before else row
            self._last = last
            return replace(sums, turns=[*self._turns.values()])


def _sums(after: int, connection: Connection) -> tuple[Sums, int]:
    """The turns behind that one alone, and the newest of them."""
    last = _count(connection, "last_turn")
    values = {"after": after, "last": last, "most_usd": MOST_USD, "outcomes": _OUTCOMES, "other": OTHER}
    turns = _SQL.rows(connection, "turns", values)
    return Sums(
        jobs=dict(connection.execute(_SQL["jobs"]).fetchall()),
        pending_approvals=_count(connection, "pending_approvals"),
        open_questions=_count(connection, "open_questions"),
        turns=[TurnSum(**row) for row in turns],
    ), last  # fmt: skip


def _count(connection: Connection, query: str) -> int:
    count: int = connection.execute(_SQL[query]).fetchone()[0]
    return count


def _added(one: TurnSum, other: TurnSum) -> TurnSum:
    amounts = {field.name: getattr(one, field.name) + getattr(other, field.name) for field in _AMOUNTS}
    return replace(one, **amounts)
