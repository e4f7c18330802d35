"""One row for each turn that ended: who, why, how, how long, at what price."""

from dataclasses import asdict, dataclass
from typing import Final

from hyperhive.broker.database import Database
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
