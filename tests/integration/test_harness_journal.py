"""The journal between its store and the hive, without a claude."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from hyperhive.harness.eventlog import EventLog
from hyperhive.harness.journal import Journal
from hyperhive.harness.link import Link
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Hello
from hyperhive.protocol.events import EventRecord, Note
from hyperhive.protocol.rpc import Nothing
from hyperhive.testing.fake_hive import FakeHive


@asynccontextmanager
async def journal_of(place: Path) -> AsyncIterator[tuple[FakeHive, Link, Journal]]:
    async with FakeHive(place / "s").serving() as hive:
        link = Link(hive.socket, Hello(boot_id="a boot of its own"))
        journal = Journal(link, place / "db")
        await journal.open()
        tasks = [asyncio.create_task(part.run()) for part in (link, journal)]
        try:
            yield hive, link, journal
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await journal.close()


def stored(place: Path, count: int, *, bad: int) -> None:
    """A store with events of which the hive can't take one."""
    log = EventLog(place / "db")
    payload = msgspec.Raw(b'{"kind":"note","text":"x"}')
    log.append(
        [
            EventRecord(seq=seq, ts=2e9, kind="x" * 65 if seq == bad else "note", payload=payload)
            for seq in range(1, count + 1)
        ]
    )
    log.close()


def test_an_event_that_the_hive_refuses_is_the_only_one_that_is_lost(tmp_path: Path) -> None:
    stored(tmp_path, 1500, bad=700)

    async def main() -> None:
        async with journal_of(tmp_path) as (hive, _, _journal):
            (note,) = await hive.until(lambda: [n for n in hive.events(Note) if "refused" in n.text])
            assert "refused event 700:" in note.text
            assert [r.seq for r in hive.records] == [seq for seq in range(1, 1502) if seq != 700]

    asyncio.run(main())


def test_without_a_store_what_memory_cannot_hold_is_named_as_lost(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()

    async def main() -> None:
        async with journal_of(tmp_path) as (hive, _, journal):
            await hive.until(lambda: hive.records)
            seen = hive.events_seen
            await hive.down()
            for _ in range(100):
                journal.record(Note(text="x" * 100_000))
            await hive.up()
            (note,) = await hive.until(lambda: [n for n in hive.events(Note) if "are lost" in n.text])
            first_kept = hive.records[1].seq
            assert f"events {seen + 1} to {first_kept - 1} are lost" in note.text
            assert [r.seq for r in hive.records[1:]] == list(range(first_kept, seen + 102))

    asyncio.run(main())


def test_a_row_that_the_agent_wrote_stops_neither_the_replay_nor_what_comes_after(tmp_path: Path) -> None:
    stored(tmp_path, 10, bad=0)
    with sqlite3.connect(tmp_path / "db") as db:
        db.execute("update events set payload_json = x'ff' where id = 5")
    db.close()

    async def main() -> None:
        async with journal_of(tmp_path) as (hive, _, journal):
            await hive.until(lambda: [n for n in hive.events(Note) if "events 1 to 10 are lost" in n.text])
            journal.record(Note(text="and on"))
            await hive.until(lambda: [n for n in hive.events(Note) if n.text == "and on"])

    asyncio.run(main())


def test_a_flush_waits_for_the_batch_that_is_on_its_way_to_the_disk(tmp_path: Path) -> None:
    async def main() -> None:
        async with journal_of(tmp_path) as (hive, link, journal):
            await hive.until(lambda: hive.hellos)
            other = sqlite3.connect(tmp_path / "db", isolation_level=None)
            other.execute("begin immediate")
            journal.record(Note(text="one"))
            await hive.until(lambda: hive.records)
            await hive.down()
            await hive.up()
            await link.call(agent.WHOAMI, lambda _: Nothing())
            flush = asyncio.create_task(journal.flush())
            await link.call(agent.WHOAMI, lambda _: Nothing())
            assert not flush.done()
            other.rollback()
            await flush
            assert other.execute("select count(*) from events").fetchone() == (1,)
            other.close()

    asyncio.run(main())
