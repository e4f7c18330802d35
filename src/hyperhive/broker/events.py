"""What happened, in order: an append-only log, and those who follow it live."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self, get_args

import msgspec
from msgspec import Struct

from hyperhive.broker.bucket import Bucket
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Change, Connection, Database
from hyperhive.broker.sql import Queries
from hyperhive.protocol.events import MAX_PAYLOAD, AnyLiveEvent, EventRecord, HiveEvent
from hyperhive.protocol.faults import FaultError, FaultKind

_SQL: Final = Queries("events")
_MAX_SEQ: Final = 2**63 - 1
_CHUNK: Final = 200
_CHUNK_BYTES: Final = 8 << 20
_MAX_READ_BYTES: Final = 16 << 20
_ROW_BYTES: Final = 64
"""What an event takes beside its payload, about."""
KEEP_S: Final = 7 * 86400
KEEP_EVENTS: Final = 50_000
"""Of each agent."""
KEEP_BYTES: Final = 256 << 20
"""The same, of payloads."""
KEEP_PASSING_S: Final = 3600
"""How long a piece of a text is kept, which a later event has whole. Pieces do not count among KEEP_EVENTS."""
_PASSING: Final = b'{"kind":"stream","value":{"type":"stream_event"'
"""How a piece of a text begins, as our harness encodes it. Whoever writes it another way has it kept for longer."""
_OF_AGENTS: Final = frozenset(str(kind.__struct_config__.tag) for kind in get_args(AnyLiveEvent))
_FOREIGN: Final = "unknown"
"""The kind of what an agent calls by a name that is none of a harness's: it may not pass for the hive's own word."""
BYTES_PER_S: Final = 8 << 20
"""What one agent may add for long."""
BURST_BYTES: Final = 64 << 20
MAX_BEHIND: Final = 10_000
"""Events that may wait for one subscriber."""
MAX_BEHIND_BYTES: Final = 64 << 20
"""The same, of payloads."""
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
        self._waiting_bytes = 0
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
        taken, self._waiting, self._waiting_bytes = self._waiting, [], 0
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
        self._waiting_bytes += sum(len(memoryview(event.payload)) for event in events)
        if len(self._waiting) + len(events) > self._limit or self._waiting_bytes > MAX_BEHIND_BYTES:
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


class _Inflow:
    """What one agent adds."""

    def __init__(self) -> None:
        self.bucket = Bucket(BYTES_PER_S, BURST_BYTES)
        self.untrimmed = 0  #: bytes that it has added since it was last trimmed


class EventLog:
    """The `events` table. An event's id rises over the hive's whole life, restarts included.

    One agent's events can take neither the disk nor the writer's time from the others: it is held to a rate, and one
    that adds much is trimmed as it goes.
    """

    def __init__(self, database: Database, clock: Clock | None = None, keep_bytes: int = KEEP_BYTES) -> None:
        self._database = database
        self._keep_bytes = keep_bytes
        self._clock = clock or SystemClock()
        self._subscriptions: set[Subscription] = set()
        self._append = Change(apply=_append)
        self._last = 0
        self._inflows: dict[str, _Inflow] = {}
        self._trims: set[asyncio.Future[None]] = set()

    @classmethod
    async def open(cls, database: Database, clock: Clock | None = None, keep_bytes: int = KEEP_BYTES) -> Self:
        """`keep_bytes` of payloads are kept of each agent, besides what `trim` says."""
        log = cls(database, clock, keep_bytes)
        log._last = await database.read(_highest_id)
        return log

    @property
    def last(self) -> int:
        """The id of the newest event that subscribers have been told."""
        return self._last

    def append(self, agent: str, incarnation: int, records: Sequence[EventRecord]) -> "asyncio.Future[int]":
        """Store an agent's events; the future is the highest seq stored of it. What was stored before is skipped.

        Raises FaultError and stores none of them: `invalid_params` for a payload or a seq that is too large,
        `too_fast` for more bytes than an agent may add.
        """
        total = 0
        for record in records:
            size = len(memoryview(record.payload))
            total += size + _ROW_BYTES
            if size > MAX_PAYLOAD or record.seq > _MAX_SEQ:
                raise FaultError(
                    FaultKind.INVALID_PARAMS,
                    f"cannot store event {record.seq}: a payload takes {MAX_PAYLOAD} bytes; cut it before sending",
                )
        self._let_in(agent, total)
        return self._store(_Batch(agent, incarnation, records), total)

    def tell(self, kind: str, payload: msgspec.Raw, agent: str = HIVE) -> "asyncio.Future[int]":
        """Store an event of the hive's own: about itself, or about an agent."""
        told = EventRecord(seq=0, ts=self._clock.now(), kind=kind, payload=payload)
        return self._store(_Batch(agent, _HIVES_OWN, [told]), len(memoryview(payload)) + _ROW_BYTES)

    async def seen(self, agent: str, incarnation: int) -> int:
        """The highest seq that is stored of the agent; its harness sends what is above. 0: nothing is."""
        key = {"agent": agent, "incarnation": incarnation}
        return await self._database.read(lambda connection: _seen(connection, key))

    async def after(self, id: int, agent: str | None = None, limit: int = 1000) -> list[HiveEvent]:
        """The events behind an id, oldest first; of one agent (or HIVE), or of all. Fewer where they are large."""
        query = "after" if agent is None else "after_of"
        values = {"id": id, "agent": agent, "limit": limit}
        return await self._database.read(lambda connection: _events(connection, query, values))

    async def before(self, id: int, agent: str, limit: int = 200) -> list[HiveEvent]:
        """What lasts of an agent's events below an id, newest first. Fewer where they are large."""
        values = {"id": id, "agent": agent, "limit": limit}
        return await self._database.read(lambda connection: _events(connection, "before_of", values))

    async def lasting(self, id: int, agent: str, limit: int = 200) -> list[HiveEvent]:
        """What lasts of an agent's events behind an id, oldest first. Fewer where they are large."""
        values = {"id": id, "agent": agent, "limit": limit}
        return await self._database.read(lambda connection: _events(connection, "lasting_after_of", values))

    async def latest(self, agent: str | None = None, limit: int = 1000) -> list[HiveEvent]:
        """The newest, oldest of them first. Fewer where they are large."""
        query = "latest" if agent is None else "latest_of"
        values = {"agent": agent, "limit": limit}
        return (await self._database.read(lambda connection: _events(connection, query, values)))[::-1]

    async def told(self, kind: str, agents: Iterable[str], limit: int = 200) -> list[HiveEvent]:
        """Those of the kind among the newest so many that the hive told about each of these agents, oldest first."""
        values = [{"kind": kind, "agent": agent, "limit": limit} for agent in agents]

        def read(connection: Connection) -> list[HiveEvent]:
            found = [event for each in values for event in _events(connection, "told_of", each)]
            return sorted(found, key=lambda event: event.id)

        return await self._database.read(read)

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
        """End all subscriptions, and trimming."""
        for subscription in list(self._subscriptions):
            subscription.close()
        for trim in self._trims:
            trim.cancel()

    async def trim(self, keep_s: float = KEEP_S, keep_events: int = KEEP_EVENTS) -> int:
        """Delete what is older, and of each agent what is beyond its newest so many; how many went. In small steps.

        Pieces of texts go first, after KEEP_PASSING_S.
        """
        names = await self._database.read(_agents)
        self._inflows = {name: inflow for name, inflow in self._inflows.items() if name in names}
        return sum([await self._trim(name, keep_s, keep_events) for name in names])

    async def _trim(self, agent: str, keep_s: float, keep_events: int) -> int:
        now = self._clock.now()
        common = {"agent": agent, "keep": keep_events, "chunk": _CHUNK, "chunk_bytes": _CHUNK_BYTES}
        passing = {"before": now - min(keep_s, KEEP_PASSING_S), "keep_bytes": self._keep_bytes // 4}
        lasting = {"before": now - keep_s, "keep_bytes": self._keep_bytes}
        gone = await self._thin(_PASSING_ROWS, common | passing)
        return gone + await self._thin(_LASTING_ROWS, common | lasting)

    async def _thin(self, rows: "_Rows", values: dict[str, Any]) -> int:
        values |= {"last": await self._database.read(functools.partial(_last_to_go, rows, values)), "from": 0}
        deleted = 0
        while ids := await self._database.read(functools.partial(_next_to_go, rows, values)):
            deleted += await self._database.write(functools.partial(_delete, ids))
            values["from"] = ids[-1]
        return deleted

    def _let_in(self, agent: str, size: int) -> None:
        inflow = self._inflows.setdefault(agent, _Inflow())
        if wait := inflow.bucket.take(self._clock.monotonic(), size):
            raise FaultError(
                FaultKind.TOO_FAST,
                f"cannot store events: over {BYTES_PER_S >> 20} MiB of them a second; try again in {wait:.2f} s",
            )
        inflow.untrimmed += size
        if inflow.untrimmed > self._keep_bytes // 4:
            inflow.untrimmed = 0
            trim = asyncio.ensure_future(self._trim_as_it_goes(agent))
            self._trims.add(trim)
            trim.add_done_callback(self._trims.discard)

    async def _trim_as_it_goes(self, agent: str) -> None:
        with contextlib.suppress(FaultError):  # a disk that refuses is told to those who store; the next trim does it
            await self._trim(agent, KEEP_S, KEEP_EVENTS)

    def _store(self, batch: _Batch, size: int) -> "asyncio.Future[int]":
        stored: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def settle(result: tuple[int, list[HiveEvent]] | Exception) -> None:
            if isinstance(result, Exception):
                if not stored.done():
                    stored.set_exception(result)
                return
            if not stored.done():
                stored.set_result(result[0])
            self._publish(result[1])

        self._database.submit(self._append, batch, settle, size)
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
            payload = memoryview(record.payload)
            kind = record.kind if batch.incarnation == _HIVES_OWN or record.kind in _OF_AGENTS else _FOREIGN
            passing = bytes(payload[: len(_PASSING)]) == _PASSING
            rows.append((number, batch.agent, batch.incarnation, seq, record.ts, kind, payload, passing))
            events.append(HiveEvent(id=number, ts=record.ts, agent=batch.agent, kind=kind, payload=record.payload))
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
    events: list[HiveEvent] = []
    size = 0
    for number, ts, agent, kind, payload in connection.execute(_SQL[query], values):
        events.append(HiveEvent(id=number, ts=ts, agent=agent, kind=kind, payload=msgspec.Raw(payload)))
        size += len(payload)
        if size > _MAX_READ_BYTES:
            break
    return events


def _agents(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute(_SQL["agents"])}


class _Rows(Struct, frozen=True):
    """The statements that find what goes of one sort of rows: each sort has an index, or needs none."""

    last_to_go: str
    next_to_go: str


_LASTING_ROWS: Final = _Rows(_SQL["last_to_go"], _SQL["next_to_go"])
_PASSING_ROWS: Final = _Rows(_SQL["last_passing_to_go"], _SQL["next_passing_to_go"])


def _last_to_go(rows: _Rows, values: dict[str, Any], connection: Connection) -> int:
    row = connection.execute(rows.last_to_go, values).fetchone()
    return row[0] if row else 0


def _next_to_go(rows: _Rows, values: dict[str, Any], connection: Connection) -> list[int]:
    return [row[0] for row in connection.execute(rows.next_to_go, values)]


def _delete(ids: list[int], connection: Connection) -> int:
    return connection.execute(_SQL["delete"], {"ids": msgspec.json.encode(ids).decode()}).rowcount
