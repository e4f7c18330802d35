"""One row for each turn that ended: who, why, how, how long, at what price; and what many of them come to."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hyperhive.broker.bucket import Buckets
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.inbox import rfc3339
from hyperhive.broker.sql import Queries, storable
from hyperhive.protocol import host

_SQL: Final = Queries("turns")
MOST_USD: Final = 1000.0
"""What one turn is counted with at most: the harness says what it cost, from inside the container."""
WINDOWS: Final[Mapping[str, tuple[float, int]]] = {"24h": (86400, 24), "7d": (7 * 86400, 28), "30d": (30 * 86400, 30)}
"""Times up to now that statistics are asked for: seconds, and into how many parts they are divided."""
PER_S: Final = 0.5
BURST: Final = 5000
"""Turns of one agent that are kept: a harness that was cut off from the hive for long tells of many at once."""
_VACUUM_CHUNK: Final = 500
_LIMIT: Final = 20
"""Rows of each table."""
_LONGEST: Final = 200
"""Characters of a text."""
_MOST: Final = 2**53
_LETTERS: Final = 64
"""Of a name that comes from a container."""


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


@dataclass(frozen=True, kw_only=True)
class Share:
    """Turns that have something in common."""

    name: str
    turns: int
    cost_usd: float

    def on_wire(self) -> host.TurnShare:
        return host.TurnShare(name=self.name, turns=self.turns, cost_usd=self.cost_usd)


@dataclass(frozen=True, kw_only=True)
class Part:
    """The turns that ended in a part of the time, which begins at `since` (Unix seconds)."""

    since: float
    turns: int = 0
    not_ok: int = 0  #: of them, how many did not end well
    cost_usd: float = 0.0
    tokens: float = 0  #: of every sort
    tool_calls: float = 0
    mean_s: float = 0.0  #: how long they took on average

    def on_wire(self) -> host.TurnPart:
        return host.TurnPart(
            since=rfc3339(self.since), turns=self.turns, not_ok=self.not_ok, cost_usd=self.cost_usd,
            tokens=int(self.tokens), tool_calls=int(self.tool_calls), mean_s=self.mean_s,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TurnSummary:
    """The turns that ended from `since` on and before `until` (Unix seconds). Outcomes, causes, models and agents are
    the most frequent ones or the dearest; names among them are from containers."""

    agent: str | None  #: None: of all
    since: float
    until: float
    turns: int
    cost_usd: float
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    tool_calls: int
    p50_s: float  #: half of the turns took no longer
    p95_s: float
    outcomes: tuple[Share, ...]
    causes: tuple[Share, ...]
    models: tuple[Share, ...]
    agents: tuple[Share, ...]
    parts: tuple[Part, ...]  #: all of the same length, also those without a turn

    @property
    def tools_per_turn(self) -> float:
        return self.tool_calls / self.turns if self.turns else 0.0

    def on_wire(self) -> host.TurnStats:
        return host.TurnStats(
            agent=self.agent or "", since=rfc3339(self.since), until=rfc3339(self.until), turns=self.turns,
            cost_usd=self.cost_usd, input_tokens=self.input_tokens, output_tokens=self.output_tokens,
            cache_read_tokens=self.cache_read_tokens, cache_creation_tokens=self.cache_creation_tokens,
            tool_calls=self.tool_calls, p50_s=self.p50_s, p95_s=self.p95_s,
            outcomes=[each.on_wire() for each in self.outcomes], causes=[each.on_wire() for each in self.causes],
            models=[each.on_wire() for each in self.models], agents=[each.on_wire() for each in self.agents],
            parts=[each.on_wire() for each in self.parts],
        )  # fmt: skip


class Turns:
    """The `turns` table."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._summing = asyncio.Lock()  #: many turns take long, and the readers are few: the others are for the rest
        self._pace = Buckets(PER_S, BURST)
        self._added = 0
        self._spent: tuple[int, float, dict[str, float]] = (-1, 0.0, {})  #: after so many were added: since when, what

    async def add(self, turn: TurnRow) -> None:
        """Harmless when it is there already. Numbers and names are cut to what a turn can have.

        An agent's rows last much longer than its events: more of them than it can have had turns are left out.
        """
        if self._pace.take((turn.agent, turn.incarnation), self._clock.monotonic()):
            return
        values = {name: _bounded(value) for name, value in asdict(turn).items()}
        try:
            await self._database.write(lambda connection: connection.execute(_SQL["add"], values).rowcount)
        finally:
            self._added += 1

    async def latest(self, agent: str) -> TurnRow | None:
        """The agent's turn that ended last."""
        rows = await self._read("latest", {"agent": agent})
        return TurnRow(**rows[0]) if rows else None

    async def spent_since(self, since: float) -> dict[str, float]:
        """US dollars, by the agents that had a turn which ended since then (Unix seconds). Asking again costs nothing
        until a turn has ended."""
        added, known, spent = self._spent
        if (added, known) == (self._added, since):
            return spent
        added = self._added
        rows = await self._read("spent", {"since": since, "most_usd": MOST_USD})
        spent = {row["agent"]: row["cost_usd"] for row in rows}
        self._spent = (added, since, spent)
        return spent

    async def spent_today(self) -> dict[str, float]:
        """The same since midnight, UTC."""
        now = self._clock.now()
        return await self.spent_since(now - now % 86400)

    async def lately(self, agent: str | None, window: str) -> TurnSummary:
        """Of one agent or all, in one of the WINDOWS."""
        length_s, parts = WINDOWS[window]
        return await self.summary(agent, self._clock.now() - length_s, parts=parts)

    async def summary(
        self, agent: str | None, since: float, until: float | None = None, *, parts: int = 1
    ) -> TurnSummary:
        """Of one agent or all: the turns that ended from then (Unix seconds) until now, or until before `until`."""
        end = max(until if until is not None else self._clock.now(), since + 1)
        values = {
            "agent": agent, "since": since, "until": end, "parts": parts, "part_s": (end - since) / parts,
            "most_usd": MOST_USD, "letters": _LETTERS, "limit": _LIMIT,
        }  # fmt: skip
        async with self._summing:
            return await self._database.read(lambda connection: _summary(connection, values))

    async def vacuum(self, before: float) -> int:
        """Delete those that ended before that time (Unix seconds), in small steps; how many went."""
        values, deleted = {"before": before, "chunk": _VACUUM_CHUNK}, 0
        while count := await self._database.write(
            lambda connection: connection.execute(_SQL["vacuum"], values).rowcount
        ):
            deleted += count
        return deleted

    async def _read(self, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        return await self._database.read(lambda connection: _SQL.rows(connection, query, values))


def _bounded(value: float | int | str) -> float | int | str:
    """The harness says what it likes; none of it may be larger than what sums and pages can take."""
    if isinstance(value, str):
        return storable(value[:_LONGEST])
    return min(max(value, 0), _MOST)


def _summary(connection: Connection, values: Mapping[str, Any]) -> TurnSummary:
    totals = _SQL.rows(connection, "totals", values)[0]
    cost_usd, counts = totals.pop("cost_usd"), {name: int(total) for name, total in totals.items()}
    return TurnSummary(
        agent=values["agent"], since=values["since"], until=values["until"], cost_usd=cost_usd, **counts,
        p50_s=_duration(connection, values, counts["turns"], 0.5),
        p95_s=_duration(connection, values, counts["turns"], 0.95),
        outcomes=_shares(connection, "by_outcome", values), causes=_shares(connection, "by_cause", values),
        models=_shares(connection, "by_model", values), agents=_shares(connection, "by_agent", values),
        parts=_parts(connection, values),
    )  # fmt: skip


def _duration(connection: Connection, values: Mapping[str, Any], turns: int, share: float) -> float:
    """Seconds that this share of the turns took at most."""
    place = max(0, math.ceil(share * turns) - 1)
    found = _SQL.rows(connection, "duration", {**values, "place": place})
    return found[0]["seconds"] if found else 0.0


def _shares(connection: Connection, query: str, values: Mapping[str, Any]) -> tuple[Share, ...]:
    return tuple(Share(**row) for row in _SQL.rows(connection, query, values))


def _parts(connection: Connection, values: Mapping[str, Any]) -> tuple[Part, ...]:
    found = {row.pop("part"): row for row in _SQL.rows(connection, "parts", values)}
    since, part_s = values["since"], values["part_s"]
    return tuple(Part(since=since + place * part_s, **found.get(place, {})) for place in range(values["parts"]))
