"""What agents have spent, by day and month, and what the operator added; each event is counted once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hyperhive.broker import notices
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.notices import Notice
from hyperhive.broker.sql import Queries

_SQL: Final = Queries("budgets")
HIVE: Final = ""
"""In the place of an agent: all of them together."""


@dataclass(frozen=True)
class Amount:
    """Money, in US dollars, and tokens of every sort."""

    usd: float = 0.0
    tokens: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.usd + other.usd, self.tokens + other.tokens)


@dataclass(frozen=True)
class Period:
    """Of a day or a month."""

    spent: Amount = Amount()
    added: Amount = Amount()  #: by the operator, to what may be spent


@dataclass(frozen=True)
class Sums:
    day: Period = Period()
    month: Period = Period()


Advance = Callable[[bytes], tuple[bytes, Amount]]
"""From a meter as it was kept, empty for a new one, to what it is now and what was spent meanwhile. May be asked
twice for the same."""


class BudgetBook:
    """The tables of budgets. A `day` is `2026-11-22`, in the hive's time zone; its month is what it begins with."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sums(self, day: str) -> dict[str, Sums]:
        """Of the day and its month, by agent; under HIVE what all spent, and what was added for the whole hive."""
        return await self._database.read(lambda connection: _sums(connection, day))

    async def count(self, agent: str, incarnation: int, day: str, advance: Advance) -> tuple[Amount, dict[str, Sums]]:
        """Let the agent's meter advance, and put what it says to the day; that, and the sums after it."""

        def step(connection: Connection) -> tuple[Amount, dict[str, Sums]]:
            rows = _SQL.rows(connection, "meter", {"agent": agent})
            before = rows[0]["meter"] if rows and rows[0]["incarnation"] == incarnation else b""
            meter, spent = advance(before)
            if meter != before:
                connection.execute(_SQL["put_meter"], {"agent": agent, "incarnation": incarnation, "meter": meter})
            _add(connection, agent, day, Period(spent=spent))
            return spent, _sums(connection, day)

        return await self._database.write(step)

    async def add(self, agent: str, day: str, more: Amount) -> dict[str, Sums]:
        """The operator lets it spend so much more on that day, and in its month; warnings may come anew."""

        def step(connection: Connection) -> dict[str, Sums]:
            _add(connection, agent, day, Period(added=more))
            connection.execute(_SQL["forget_warnings"], {"agent": agent, "day": day, "month": day[:7]})
            return _sums(connection, day)

        return await self._database.write(step)

    async def warn(self, agent: str, period: str, owed: Sequence[Notice], now: float) -> bool:
        """Owe the notices, once for that day or month; whether this was the time. Wake the `Notices` then."""

        def step(connection: Connection) -> bool:
            first = bool(_SQL.rows(connection, "warn", {"agent": agent, "period": period}))
            for notice in owed if first else ():
                notices.put(connection, notice, now)
            return first

        return await self._database.write(step)

    async def hive_limits(self) -> bytes | None:
        rows = await self._database.read(lambda connection: _SQL.rows(connection, "hive_limits", {}))
        return rows[0]["limits"] if rows else None

    async def set_hive_limits(self, limits: bytes) -> None:
        values = {"limits": limits}
        await self._database.write(lambda connection: connection.execute(_SQL["put_hive_limits"], values).rowcount)

    async def vacuum(self, day: str) -> None:
        """Forget the days before that one."""

        def step(connection: Connection) -> None:
            connection.execute(_SQL["vacuum"], {"day": day})
            connection.execute(_SQL["vacuum_warned"], {"month": day[:7]})

        await self._database.write(step)


def _add(connection: Connection, agent: str, day: str, period: Period) -> None:
    spent, added = period.spent, period.added
    if period != Period():
        values = {
            "agent": agent, "day": day, "usd": spent.usd, "tokens": spent.tokens,
            "added_usd": added.usd, "added_tokens": added.tokens,
        }  # fmt: skip
        connection.execute(_SQL["add"], values)


def _sums(connection: Connection, day: str) -> dict[str, Sums]:
    rows = _SQL.rows(connection, "month", {"day": day, "month": day[:7]})
    found = {row["agent"]: Sums(_period(row, "day"), _period(row, "month")) for row in rows}
    own = found.get(HIVE, Sums())
    return {**found, HIVE: Sums(_whole(own.day, [each.day for each in found.values()]),
                                _whole(own.month, [each.month for each in found.values()]))}  # fmt: skip


def _whole(own: Period, each: list[Period]) -> Period:
    return Period(spent=sum((one.spent for one in each), Amount()), added=own.added)


def _period(row: dict[str, Any], name: str) -> Period:
    return Period(
        spent=Amount(row[f"{name}_usd"], row[f"{name}_tokens"]),
        added=Amount(row[f"{name}_added_usd"], row[f"{name}_added_tokens"]),
    )
