"""The agent's events on disk: `events(id, ts, kind, payload_json)`, the id being the event's seq.

The only user of sqlite in the harness. Use it from one thread.
"""

import errno
import os
import sqlite3
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from hyperhive.protocol.events import EventRecord

KEEP_SECONDS: Final = 7 * 86400
KEEP_ROWS: Final = 20_000
TRIM_STEP: Final = 500
"""Rows deleted at a time, at most twice per append, so that no append waits long."""
TRIM_EVERY: Final = 200
"""Appended rows between two trims; less than a trim deletes, so that the store converges."""

MAX_SEQ: Final = 1 << 62
"""No number of ours comes near it: a store that has one was written by somebody else."""
_UNUSABLE: Final = (sqlite3.Error, OverflowError, TypeError, ValueError, RecursionError)
"""What sqlite and our own reading raise for a file that the agent wrote into."""

_SCHEMA: Final = """
create table if not exists events(
    id integer primary key autoincrement, ts integer not null, kind text not null, payload_json text not null);
create index if not exists events_ts on events(ts);
"""


class EventLogError(Exception):
    """The store can't be used; the text says why."""


class EventLog:
    def __init__(self, path: Path) -> None:
        """Open or create the store; raises EventLogError, also for a symlink in its place. Close it after use."""
        try:
            _refuse_links(path)
            self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise EventLogError(f"cannot open {path}: {_reason(error)}") from error
        try:
            self._prepare()
        except _UNUSABLE as error:
            self._db.close()
            raise EventLogError(f"cannot use {path}: {_reason(error)}") from error
        self._untrimmed = 0

    def _prepare(self) -> None:
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=normal")
        self._db.execute("pragma cache_size=-512")
        self._db.executescript(_SCHEMA)
        (last,) = self._db.execute(
            "select max(coalesce((select seq from sqlite_sequence where name='events'), 0),"
            " coalesce((select max(id) from events), 0))"
        ).fetchone()
        if not isinstance(last, int) or last >= MAX_SEQ:
            raise ValueError("its numbers are not the harness's")
        self.last = last
        self._db.execute("select id, ts, kind, payload_json from events order by id desc limit 1").fetchone()

    def append(self, records: Sequence[EventRecord]) -> None:
        """Store them in one transaction; raises EventLogError."""
        rows = [(r.seq, int(r.ts), r.kind, bytes(r.payload).decode()) for r in records]
        try:
            self._db.execute("begin immediate")
            try:
                self._db.executemany("insert or replace into events values(?, ?, ?, ?)", rows)
                self._trim(len(rows))
                self._db.execute("commit")
            except BaseException:
                self._db.rollback()
                raise
        except _UNUSABLE as error:
            raise EventLogError(f"cannot store events: {_reason(error)}") from error
        self.last = max(self.last, records[-1].seq)

    def after(self, seq: int, limit: int) -> list[EventRecord]:
        """The oldest stored events above `seq`; raises EventLogError."""
        try:
            rows = self._db.execute(
                "select id, ts, kind, payload_json from events where id > ? order by id limit ?", (seq, limit)
            ).fetchall()
            return [_record(*row) for row in rows]
        except _UNUSABLE as error:
            raise EventLogError(f"cannot read events: {_reason(error)}") from error

    def close(self) -> None:
        self._db.close()

    def _trim(self, added: int) -> None:
        self._untrimmed += added
        if self._untrimmed < TRIM_EVERY:
            return
        self._untrimmed = 0
        step = max(TRIM_STEP, added)
        self._db.execute(
            "delete from events where id in"
            " (select id from events where id <= (select max(id) from events) - ? order by id limit ?)",
            (KEEP_ROWS, step),
        )
        self._db.execute(
            "delete from events where id in (select id from events where ts < ? order by ts limit ?)",
            (int(time.time()) - KEEP_SECONDS, step),
        )


def _record(seq: int, ts: object, kind: object, payload: object) -> EventRecord:
    if not (isinstance(ts, int | float) and isinstance(kind, str) and isinstance(payload, str)):
        raise TypeError(f"row {seq} is not the harness's")
    return EventRecord(seq=seq, ts=float(ts), kind=kind, payload=msgspec.json.decode(payload, type=msgspec.Raw))


def _refuse_links(path: Path) -> None:
    for companion in ("-wal", "-shm", "-journal"):
        if path.with_name(path.name + companion).is_symlink():
            raise OSError(errno.ELOOP, f"a symlink stands in the place of its {companion} file")
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise OSError(error.errno, _link_or(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
    finally:
        os.close(fd)


def _link_or(error: OSError) -> str:
    return "a symlink stands in its place" if error.errno == errno.ELOOP else str(error.strerror)


def _reason(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else str(error)
