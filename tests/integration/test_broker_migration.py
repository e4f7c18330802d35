"""A hive that was left at the first schema is opened by this one."""

import sqlite3
from pathlib import Path

from msgspec import Raw

from broker_house import House, play
from hyperhive.broker.database import migrate, migrations
from hyperhive.broker.events import EventLog
from hyperhive.broker.jobs import JobDraft, JobKind
from hyperhive.protocol.events import EventRecord

AN_EARLIER_HIVE = """
INSERT INTO agents (name, role, uid, wanted, deployed_sha, created_at, destroyed_at)
VALUES ('scout', 'agent', 70001, 'up', '', 100, 200), ('scout', 'agent', 70001, 'down', 'abc', 300, NULL);
INSERT INTO mailboxes (name, incarnation, epoch, boot_id) VALUES ('scout', 2, 5, 'boot-number-1');
INSERT INTO messages (sender, sender_incarnation, recipient, recipient_incarnation, kind, body, thread, sent_at)
VALUES ('operator', 0, 'scout', 2, 'operator', 'hello', 1, 400);
INSERT INTO approvals (agent, kind, requested_at, status, resolved_at, note)
VALUES ('scout', 'spawn', 90, 'approved', 95, NULL), ('guard', 'spawn', 96, 'denied', 97, 'no'),
       ('guard', 'spawn', 98, 'pending', NULL, NULL);
INSERT INTO events (agent, incarnation, seq, ts, kind, payload)
VALUES ('scout', 2, 1, 400, 'note', '{"kind":"note","text":"hello"}'), ('scout', 2, 2, 401, 'stream', '{}'),
       ('scout', 2, 3, 402, 'stream', CAST('{"kind":"stream","value":{"type":"stream_event","event":{}}}' AS BLOB));
"""


def leave_an_earlier_hive(folder: Path) -> None:
    connection = sqlite3.connect(folder / "hive.sqlite", isolation_level=None)
    migrate(connection, migrations()[:1])
    connection.executescript(AN_EARLIER_HIVE)
    connection.close()


def test_the_rows_of_an_earlier_hive_are_all_there(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        now, before = await house.roster.lives("scout")
        assert (before.incarnation, before.destroyed_at) == (1, 200)
        assert (now.incarnation, now.uid, now.wanted, now.deployed_sha) == (2, 70001, "down", "abc")
        assert (now.parent, now.built_with) == ("", "")
        assert [row.body for row in await house.mailbox.inbox("scout")] == ["hello"]
        assert [
            (row.status, row.note, row.requester, row.mid, row.warnings) for row in await house.approvals.newest()
        ] == [
            ("pending", None, "operator", None, ()),
            ("denied", "no", "operator", None, ()),
            ("approved", None, "operator", None, ()),
        ]

    leave_an_earlier_hive(tmp_path)
    play(tmp_path, scene)


def test_the_events_of_an_earlier_hive_are_the_history_of_their_agent(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        log = await EventLog.open(house.database, house.clock)
        assert [event.id for event in await log.before(2**62, "scout")] == [2, 1]
        assert await log.append("scout", 2, [EventRecord(seq=4, ts=403, kind="note", payload=Raw(b"{}"))]) == 4
        assert [event.id for event in await log.before(2**62, "scout")] == [4, 2, 1]
        assert [event.id for event in await log.after(0, "scout")] == [1, 2, 3, 4]

    leave_an_earlier_hive(tmp_path)
    play(tmp_path, scene)


def test_what_waited_in_an_earlier_hive_is_decided_in_this_one(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        (waiting,) = await house.approvals.pending()
        job = JobDraft(agent="guard", kind=JobKind.SPAWN, source="approval")
        row, queued = await house.decisions.approve(waiting.id, sha=None, job=job)
        assert (row.id, row.status, queued.approval) == (3, "approved", 3)
        added, _ = await house.approvals.queue(agent="guard", kind="spawn")
        assert added.id == 4
        await house.roster.update("scout", parent="manager", built_with="0.2")
        changed = await house.roster.get("scout")
        assert changed is not None
        assert (changed.parent, changed.built_with) == ("manager", "0.2")

    leave_an_earlier_hive(tmp_path)
    play(tmp_path, scene)


def test_an_upgraded_database_has_the_same_tables_as_a_new_one(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.settled()

    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    leave_an_earlier_hive(tmp_path / "old")
    schemas = []
    for folder in (tmp_path / "old", tmp_path / "new"):
        play(folder, scene)
        with sqlite3.connect(folder / "hive.sqlite") as connection:
            version = connection.execute("PRAGMA user_version").fetchone()
            schemas.append(
                (version, connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall())
            )
        connection.close()
    assert schemas[0] == schemas[1]
