"""What the operator keeps of every account's windows, in percent."""

from typing import Final

from hyperhive.broker.database import Database
from hyperhive.broker.sql import Queries

_SQL: Final = Queries("reserve")


class Reserve:
    """The table of one row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self) -> int:
        rows = await self._database.read(lambda connection: _SQL.rows(connection, "get", {}))
        return rows[0]["percent"] if rows else 0

    async def put(self, percent: int) -> None:
        values = {"percent": percent}
        await self._database.write(lambda connection: connection.execute(_SQL["put"], values).rowcount)
