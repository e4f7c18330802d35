"""What happened, in order: an append-only log, and those who follow it live."""

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from msgspec import Struct

from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Change, Connection, Database
from hyperhive.broker.sql import Queries
from hyperhive.protocol.events import MAX_PAYLOAD, EventRecord, HiveEvent
from hyperhive.protocol.faults import FaultError, FaultKind

_SQL: Final = Queries("events")
_MAX_SEQ: Final = 2**63 - 1
_CHUNK: Final = 200
KEEP_S: Final = 7 * 86400
KEEP_EVENTS: Final = 50_000
"""Of each agent."""
MAX_BEHIND: Final = 10_000
"""Events that may wait for one subscriber."""
HIVE: Final = ""
"""In the place of an agent's name: the hive itself."""
_HIVES_OWN: Final = 0
"""In the place of an incarnation: what the hive tells, whomever it is about. No agent has it."""


class Resync(Struct, frozen=True):
    """The subscriber was too slow: what came after event `last` was not kept for it. Read on from `after(last)`."""

    last: int


class Subscription:
    """Events as they come, until it is closed or too far behind; then one Resync, and the end.

    Iterate over single events, or call `batch` for all that wait. One consumer at a time.
    """

    def __init__(self, log: "EventLog", agent: str | None, limit: int, last: int) -> None:
        self._log = log
        self._agent = agent
        self._limit = limit
        self._waiting: list[HiveEvent | Resync] = []
        self._last = last
        self._wake: asyncio.Future[None] | None = None
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def batch(self) -> list[HiveEvent | Resync]:
        """All that wait, at least one; empty at the end."""
        while not self._waiting and not self._ended:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        taken, self._waiting = self._waiting, []
        if taken:
            self._last = last.id if isinstance(last := taken[-1], HiveEvent) else last.last
        return taken

    async def __aiter__(self) -> AsyncIterator[HiveEvent | Resync]:
        while events := await self.batch():
            for event in events:
                yield event

    def close(self) -> None:
        """End it; who waits for the next event gets the end. Harmless when repeated."""
        self._log.leave(self)
        self._ended = True
        self._wake_up()

    def offer(self, events: Sequence[HiveEvent]) -> None:
        """Take those it is for."""
        if self._agent is not None:
            events = [event for event in events if event.agent == self._agent]
        if not events:
            return
        if len(self._waiting) + len(events) > self._limit:
            self._waiting = [Resync(self._last)]
            self.close()
            return
        self._waiting += events
        self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class _Batch(Struct, frozen=True):
    agent: str
    incarnation: int
    records: Sequence[EventRecord]


class EventLog:
    """The `events` table. An event's id rises over the hive's whole life, restarts included."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._subscriptions: set[Subscription] = set()
        self._append = Change(apply=_append)
        self._last = 0

    @classmethod
    async def open(cls, database: Database, clock: Clock | None = None) -> Self:
        log = cls(database, clock)
        log._last = await database.read(_highest_id)
        return log

    @property
    def last(self) -> int:
        """The id of the newest event that subscribers have been told."""
        return self._last

    def append(self, agent: str, incarnation: int, records: Sequence[EventRecord]) -> "asyncio.Future[int]":
        """Store an agent's events; the future is the highest seq stored of it. What was stored before is skipped.

        Raises FaultError (`invalid_params`) for a payload or a seq that is too large, and then stores none of them.
        """
        for record in records:
            if len(memoryview(record.payload)) > MAX_PAYLOAD or record.seq > _MAX_SEQ:
                raise FaultError(
                    FaultKind.INVALID_PARAMS,
                    f"cannot store event {record.seq}: a payload takes {MAX_PAYLOAD} bytes; cut it before sending",
                )
        return self._store(_Batch(agent, incarnation, records))

    def tell(self, kind: str, payload: msgspec.Raw, agent: str = HIVE) -> "asyncio.Future[int]":
        """Store an event of the hive's own: about itself, or about an agent."""
        return self._store(
            _Batch(agent, _HIVES_OWN, [EventRecord(seq=0, ts=self._clock.now(), kind=kind, payload=payload)])
        )

    async def seen(self, agent: str, incarnation: int) -> int:
        """The highest seq that is stored of the agent; its harness sends what is above. 0: nothing is."""
        key = {"agent": agent, "incarnation": incarnation}
        return await self._database.read(lambda connection: _seen(connection, key))

    async def after(self, id: int, agent: str | None = None, limit: int = 1000) -> list[HiveEvent]:
        """The events behind an id, oldest first; of one agent (or HIVE), or of all."""
        query = "after" if agent is None else "after_of"
        values = {"id": id, "agent": agent, "limit": limit}
        return await self._database.read(lambda connection: _events(connection, query, values))

    async def latest(self, agent: str | None = None, limit: int = 1000) -> list[HiveEvent]:
        """The newest, oldest of them first."""
        query = "latest" if agent is None else "latest_of"
        values = {"agent": agent, "limit": limit}
        return (await self._database.read(lambda connection: _events(connection, query, values)))[::-1]

    def subscribe(self, agent: str | None = None, limit: int = MAX_BEHIND) -> Subscription:
        """Follow one agent (or HIVE), or everything, from now on. Close it, or use it in a `with`.

        To have history without a gap: subscribe, then read it, then skip live events whose id you have.
        """
        subscription = Subscription(self, agent, limit, self._last)
        self._subscriptions.add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End all subscriptions."""
        for subscription in list(self._subscriptions):
            subscription.close()

    async def trim(self, keep_s: float = KEEP_S, keep_events: int = KEEP_EVENTS) -> int:
        """Delete what is older, and of each agent what is beyond its newest so many, in small steps; how many went."""
        before = self._clock.now() - keep_s
        names = await self._database.read(lambda connection: connection.execute(_SQL["agents"]).fetchall())
        deleted = 0
        for (agent,) in names:
            values = {"agent": agent, "keep": keep_events, "before": before, "chunk": _CHUNK}
            values["last"] = await self._database.read(functools.partial(_last_to_go, values))
            step = functools.partial(_trim, values)
            while count := await self._database.write(step):
                deleted += count
        return deleted

    def _store(self, batch: _Batch) -> "asyncio.Future[int]":
        stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def settle(result: tuple[int, list[HiveEvent]] | Exception) -> None:
            if isinstance(result, Exception):
                if not stored.done():
                    stored.set_exception(result)
                return
            if not stored.done():
                stored.set_result(result[0])
            self._publish(result[1])

        self._database.submit(self._append, batch, settle)
        return stored

    def _publish(self, events: list[HiveEvent]) -> None:
        if events:
            for subscription in list(self._subscriptions):
                subscription.offer(events)
            self._last = events[-1].id


def _append(connection: Connection, batches: list[_Batch]) -> list[tuple[int, list[HiveEvent]]]:
    next_id = _highest_id(connection) + 1
    results = []
    for batch in batches:
        if batch.incarnation == _HIVES_OWN:
            seen, seqs = next_id, [(next_id, record) for record in batch.records]
        else:
            seen, seqs = _above(connection, batch)
        rows: list[tuple[Any, ...]] = []
        events: list[HiveEvent] = []
        for number, (seq, record) in enumerate(seqs, next_id):
            payload = record.payload
            rows.append((number, batch.agent, batch.incarnation, seq, record.ts, record.kind, memoryview(payload)))
            events.append(HiveEvent(id=number, ts=record.ts, agent=batch.agent, kind=record.kind, payload=payload))
        connection.executemany(_SQL["insert"], rows)
        next_id += len(rows)
        results.append((seen, events))
    return results


def _above(connection: Connection, batch: _Batch) -> tuple[int, list[tuple[int, EventRecord]]]:
    """The records that are new, each with its seq, and the highest seq with them."""
    seen = _seen(connection, {"agent": batch.agent, "incarnation": batch.incarnation})
    new = []
    for record in batch.records:
        if record.seq > seen:
            seen = record.seq
            new.append((seen, record))
    return seen, new


def _seen(connection: Connection, key: dict[str, Any]) -> int:
    seen: int | None = connection.execute(_SQL["seen"], key).fetchone()[0]
    return seen or 0


def _highest_id(connection: Connection) -> int:
    row = connection.execute(_SQL["highest_id"]).fetchone()
    return row[0] if row else 0


def _events(connection: Connection, query: str, values: dict[str, Any]) -> list[HiveEvent]:
    return [
        HiveEvent(id=number, ts=ts, agent=agent, kind=kind, payload=msgspec.Raw(payload))
        for number, ts, agent, kind, payload in connection.execute(_SQL[query], values)
    ]


def _last_to_go(values: dict[str, Any], connection: Connection) -> int:
    row = connection.execute(_SQL["first_kept"], values).fetchone()
    return row[0] if row else 0


def _trim(values: dict[str, Any], connection: Connection) -> int:
    return connection.execute(_SQL["trim"], values).rowcount
