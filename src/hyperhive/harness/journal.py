"""The agent's events: numbered once, stored in the agent's state, sent to the hive in order, again after a gap."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from hyperhive.harness.eventlog import EventLog, EventLogError
from hyperhive.harness.link import OUR_MISTAKES, Link
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Events, Welcome
from hyperhive.protocol.events import AnyLiveEvent, EventRecord, Note, record
from hyperhive.protocol.faults import FaultError

T = TypeVar("T")

MAX_TAIL: Final = 4 << 20
"""Bytes of events in memory; older ones are read from the store again, or are lost without one."""
GAP_NOTE: Final = 1024
"""Bytes for the event that says which ones were lost."""
MAX_UNSTORED: Final = 8 << 20
"""Bytes of events waiting for the disk; past it those who make events wait, too."""
BATCH: Final = 1000
BATCH_BYTES: Final = 512 * 1024
"""Of one call to the hive; with one event on top it stays within a line."""
RETRY_S: Final = 1.0
"""Before a call is repeated, and after an event was dropped."""


class Journal:
    """Numbers begin with the first welcome, above what the hive and the store have seen.

    Disk and hive each take what has gathered while they were busy with the batch before.
    """

    def __init__(self, link: Link, path: Path) -> None:
        self._link = link
        self._path = path
        self._log: EventLog | None = None
        self._thread = ThreadPoolExecutor(1, "events")
        self._early: list[tuple[float, AnyLiveEvent]] = []
        self._last: int | None = None  # the newest number; none before the first welcome
        self._confirmed = 0
        self._tail: deque[EventRecord] = deque()
        self._tail_bytes = 0
        self._unstored: list[EventRecord] = []
        self._unstored_bytes = 0
        self._storing = False
        self._most = BATCH  # events of the next call; fewer after a refusal, to find the one that it is about
        self._to_send = asyncio.Event()
        self._to_store = asyncio.Event()
        self._all_stored = asyncio.Event()
        self._all_sent = asyncio.Event()
        link.on_welcome.append(self._resume)

    async def open(self) -> None:
        """Open the store, before `run`. Without one events are still sent, and a note says what is wrong."""
        try:
            self._log = await self._on_thread(lambda: EventLog(self._path))
        except EventLogError as error:
            self._go_without(error)

    def record(self, event: AnyLiveEvent) -> None:
        """Add an event; it is on its way when this returns."""
        now = time.time()
        if self._last is None:
            self._early.append((now, event))
        else:
            self._add(now, event)

    async def room(self) -> None:
        """Wait until the disk has caught up, when it is far behind."""
        if self._unstored_bytes > MAX_UNSTORED:
            await self._all_stored.wait()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._store())
            group.create_task(self._send())

    async def flush(self) -> None:
        """Wait until everything is stored and the hive has it."""
        if self._last is not None:
            await self._all_stored.wait()
            await self._all_sent.wait()

    async def close(self) -> None:
        """Close the store. Nothing may be running any more."""
        if self._log is not None:
            await self._on_thread(self._log.close)
        self._thread.shutdown(wait=False)

    # numbering

    def _resume(self, welcome: Welcome) -> None:
        stored = self._log.last if self._log is not None else 0
        self._last = max(self._last or 0, stored, welcome.events_seen)
        self._confirmed = welcome.events_seen
        early, self._early = self._early, []
        for ts, event in early:
            self._add(ts, event)
        self._wake()

    def _add(self, ts: float, event: AnyLiveEvent) -> None:
        assert self._last is not None
        self._last += 1
        one = record(self._last, ts, event)
        size = len(bytes(one.payload))
        self._tail.append(one)
        self._tail_bytes += size
        if self._log is not None:
            self._unstored.append(one)
            self._unstored_bytes += size
        self._shorten_tail()
        self._wake()

    def _wake(self) -> None:
        if self._unstored:
            self._all_stored.clear()
            self._to_store.set()
        elif not self._storing:
            self._all_stored.set()
        if self._last is not None and self._confirmed < self._last:
            self._all_sent.clear()
            self._to_send.set()
        else:
            self._all_sent.set()

    def _shorten_tail(self, *, room: int = 0) -> None:
        """Forget what the hive has; past the bound also what can be read from the store again, or without one."""
        while self._tail and (self._tail[0].seq <= self._confirmed or self._may_drop(self._tail[0].seq, room)):
            self._tail_bytes -= len(bytes(self._tail.popleft().payload))

    def _may_drop(self, seq: int, room: int) -> bool:
        return self._tail_bytes + room > MAX_TAIL and (self._log is None or seq <= self._log.last)

    # the disk

    async def _store(self) -> None:
        while True:
            await self._to_store.wait()
            self._to_store.clear()
            batch, self._unstored, self._unstored_bytes = self._unstored, [], 0
            log = self._log
            if not batch or log is None:
                continue
            self._storing = True
            try:
                await self._on_thread(partial(log.append, batch))
            except EventLogError as error:
                self._go_without(error)
            self._storing = False
            self._wake()

    def _go_without(self, error: EventLogError) -> None:
        self._log, self._unstored, self._unstored_bytes = None, [], 0
        text = f"events are not kept in the agent's state, only sent: {error}"
        self.record(Note(text=text, level="warning"))

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # the hive

    async def _send(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while batch := await self._next_batch():
                await self._deliver(batch)
            self._wake_if_sent()

    def _wake_if_sent(self) -> None:
        if self._last is not None and self._confirmed >= self._last:
            self._all_sent.set()

    async def _deliver(self, batch: list[EventRecord]) -> None:
        try:
            seen = await self._link.call(agent.EVENTS, lambda _: Events(records=batch))
        except FaultError as fault:
            if fault.kind in OUR_MISTAKES and len(batch) > 1:
                self._most = len(batch) // 2
                return
            if fault.kind in OUR_MISTAKES:
                self._confirmed = batch[0].seq  # it would be refused for ever, and everything behind it wait
                self.record(Note(text=f"the hive refused event {batch[0].seq}: {fault.message}", level="error"))
            await asyncio.sleep(RETRY_S)
            return
        self._most = min(2 * self._most, BATCH)
        self._confirmed = max(seen.seq, batch[-1].seq)
        self._shorten_tail()

    async def _next_batch(self) -> list[EventRecord]:
        """The oldest events that the hive has not seen, from memory where it reaches back so far."""
        if self._last is None or self._confirmed >= self._last:
            return []
        seq = self._confirmed
        if self._log is not None and (not self._tail or self._tail[0].seq > seq + 1):
            log = self._log
            try:
                stored = await self._on_thread(lambda: log.after(seq, self._most))
            except EventLogError as error:
                self._go_without(error)
                stored = []
            if stored:
                return _fitting(stored)
        self._note_gap()
        return _fitting(list(islice((one for one in self._tail if one.seq > seq), self._most)))

    def _note_gap(self) -> None:
        """What is neither in the store nor in memory is lost; the hive goes on behind it."""
        if self._confirmed >= self._before_tail():
            return
        self._shorten_tail(room=GAP_NOTE)
        first, last = self._confirmed + 1, self._before_tail()
        self._confirmed = last
        text = f"events {first} to {last} are lost: they are not in the agent's state, and memory could not hold them"
        self.record(Note(text=text, level="warning"))

    def _before_tail(self) -> int:
        return self._tail[0].seq - 1 if self._tail else self._last or 0


def _fitting(records: list[EventRecord]) -> list[EventRecord]:
    """The first of them that go into one call."""
    size = 0
    for count, one in enumerate(records):
        size += len(bytes(one.payload)) + 64
        if count and size > BATCH_BYTES:
            return records[:count]
    return records
