"""The one door to sqlite: a writer thread that commits in groups, and readers beside it."""

import asyncio
import contextlib
import fcntl
import os
import queue
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

from hyperhive.protocol.faults import FaultError, FaultKind

Connection = sqlite3.Connection

A = TypeVar("A")
T = TypeVar("T")

MAX_GROUP: Final = 512
"""Operations in one transaction."""
MAX_GROUP_BYTES: Final = 8 << 20
"""Of what they write, as far as those who asked have said: how long everyone else waits for the disk."""
MAX_PENDING: Final = 10_000
"""Writes that wait for their commit; past it `submit` refuses."""
MAX_PENDING_BYTES: Final = 64 << 20
"""The same, in bytes."""
READERS: Final = 2

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_WRITER_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA temp_store = MEMORY",  # an UPDATE ... RETURNING costs 100 us more with its temporary table in a file
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Change(Generic[A, T]):
    """A kind of write. `apply` makes all those that waited together and gives one result for each, in order.

    A FaultError among the results refuses that one, which then must not have written anything. An exception undoes
    the whole group; its operations are then tried again one by one, so `apply` may have no effect beyond the database.
    With `first` they go ahead of other kinds that waited in the same group.
    """

    apply: Callable[[Connection, list[A]], Sequence[T | FaultError]]
    first: bool = False


class _Operation:
    __slots__ = ("change", "item", "settle", "size")

    def __init__(self, change: Change[Any, Any], item: Any, settle: Callable[[Any], None], size: int) -> None:
        self.change = change
        self.item = item
        self.settle = settle
        self.size = size


_kind_of: Final = attrgetter("change")
_SINGLE: Final[Change[Callable[[Connection], Any], Any]] = Change(
    apply=lambda connection, functions: [function(connection) for function in functions]
)


def migrations(folder: Path = _MIGRATIONS) -> list[tuple[int, str]]:
    """The schema's steps in order: `NNNN_what.sql` leads from version NNNN-1 to NNNN."""
    files = sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return [(int(re.match(r"\d+", file.name)[0]), file.read_text()) for file in files]  # type: ignore[index]  # by glob


class Database:
    """A sqlite file in WAL mode with full durability, owned by one process.

    Made by `open`; `close` ends it. Writes from the loop are collected until its tick ends and are committed in one
    transaction with everything that queued while the last commit ran; their results come back in one call.
    """

    def __init__(self, path: Path, steps: Sequence[tuple[int, str]] | None, max_pending: int) -> None:
        self.path = path
        self.on_pressure: Callable[[bool], None] = lambda _busy: None
        self._steps = steps
        self._max_pending = max_pending
        self._loop = asyncio.get_running_loop()
        self.tick = 0  #: rises whenever what was gathered goes to the writer: what shares it shares a commit, mostly
        self._gathered: list[_Operation] = []
        self._queue: queue.SimpleQueue[list[_Operation]] = queue.SimpleQueue()
        self._pending = 0
        self._pending_bytes = 0
        self._busy = False
        self._closing = False
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._reading = threading.local()
        self._read_connections: list[Connection] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="hive-read")
        self._thread = threading.Thread(target=self._run, name="hive-write", daemon=True)

    @classmethod
    async def open(
        cls, path: Path, *, steps: Sequence[tuple[int, str]] | None = None, max_pending: int = MAX_PENDING
    ) -> Self:
        """Open or create the file and bring its schema up to date.

        Raises FaultError: `wrong_state` when another process has it open or it is newer than this code,
        `storage` when the place cannot be written or the file is damaged.
        """
        database = cls(path, steps, max_pending)
        database._thread.start()
        try:
            await asyncio.shield(database._opened)
        except asyncio.CancelledError:
            database._queue.put([])
            raise
        return database

    @property
    def busy(self) -> bool:
        """Whether so many writes wait that callers should be read no further. `on_pressure` is told of each change."""
        return self._busy

    @property
    def closed(self) -> bool:
        """Whether `close` was called: nothing is written or read any more."""
        return self._closing

    def write(
        self, function: Callable[[Connection], T | FaultError], then: Callable[[T], None] | None = None
    ) -> "asyncio.Future[T]":
        """Run the function in a transaction; the future is its result, after the commit.

        What it raises comes back and nothing of it is stored. It may be run again when a neighbour in its group fails.
        `then` is called with the result after the commit, also when nobody waits for the future any more.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self.submit(_SINGLE, function, settling(future, then))
        return future

    def submit(self, change: Change[A, T], item: A, settle: Callable[[T | Exception], None], size: int = 0) -> None:
        """Queue one operation; `settle` is called on the loop with its result after the commit, or with what failed.

        `size` is about how many bytes it writes, where that may be many.
        Raises FaultError: `too_fast` when too many wait, `unavailable` when closed.
        """
        if self._closing:
            raise FaultError(FaultKind.UNAVAILABLE, "cannot store: the hive is shutting down")
        if self._fullness() >= 1:
            raise FaultError(
                FaultKind.TOO_FAST,
                f"cannot store: {self._pending} writes wait for the disk, {self._pending_bytes >> 20} MiB; "
                "try again in a second",
            )
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(_Operation(change, item, settle, size))
        self._pending += 1
        self._pending_bytes += size
        if not self._busy and self._fullness() >= 1 / 2:
            self._press(True)

    async def read(self, look: Callable[[Connection], T]) -> T:
        """Run the function on a read-only connection in a reader thread; it sees every finished commit."""
        if self._closing:
            raise FaultError(FaultKind.UNAVAILABLE, "cannot read: the hive is shutting down")
        return await self._loop.run_in_executor(self._readers, self._look, look)

    async def close(self) -> None:
        """Commit what waits, end the threads, close the connections, release the file. Harmless when repeated."""
        if not self._closing:
            self._hand_over()
            self._closing = True
            await asyncio.to_thread(self._readers.shutdown)  # first, so that the writer's close is the checkpoint
            self._queue.put([])
        await asyncio.shield(self._ended)

    # on the loop

    def _hand_over(self) -> None:
        if self._gathered:
            self.tick += 1
            gathered, self._gathered = self._gathered, []
            self._queue.put(gathered)

    def _fullness(self) -> float:
        return max(self._pending / self._max_pending, self._pending_bytes / MAX_PENDING_BYTES)

    def _deliver(self, group: list[_Operation], results: list[Any]) -> None:
        self._pending -= len(group)
        self._pending_bytes -= sum(operation.size for operation in group)
        for operation, result in zip(group, results, strict=True):
            try:
                operation.settle(result)
            except Exception as error:  # noqa: BLE001 (one caller's mistake must not cost the others their results)
                self._loop.call_exception_handler({"message": "a write's settle failed", "exception": error})
        if self._busy and self._fullness() <= 1 / 8:
            self._press(False)

    def _press(self, busy: bool) -> None:
        self._busy = busy
        self.on_pressure(busy)

    # on the writer thread

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as held:
                connection = self._open(held)
                self._tell(_end, self._opened)
                self._serve(connection)
        except (OSError, sqlite3.Error, FaultError) as error:
            self._tell(_end_with_error, self._opened, self._cannot_open(error))
        finally:
            self._tell(_end, self._ended)

    def _open(self, held: contextlib.ExitStack) -> Connection:
        held.enter_context(_lock(self.path))
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # sqlite's own files take its mode
        connection = sqlite3.connect(self.path, isolation_level=None, cached_statements=512)
        held.callback(connection.close)
        held.callback(self._close_readers)
        for pragma in _WRITER_PRAGMAS:
            connection.execute(pragma)
        migrate(connection, migrations() if self._steps is None else self._steps)
        return connection

    def _serve(self, connection: Connection) -> None:
        left: list[_Operation] = []
        ending = False
        while left or not ending:
            group = left or self._queue.get()
            ending = ending or not group
            while len(group) < MAX_GROUP:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                ending = ending or not more
                group += more
            fitting = _how_many_fit(group)
            group, left = group[:fitting], group[fitting:]
            group.sort(key=_is_later)
            self._tell(self._deliver, group, self._commit(connection, group))

    def _commit(self, connection: Connection, group: list[_Operation]) -> list[Any]:
        try:
            return _transact(connection, group)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is the answer to the operation that caused it)
            if len(group) > 1:
                return [self._commit(connection, [operation])[0] for operation in group]
            return [self._cannot_store(error) if isinstance(error, sqlite3.Error) else error]

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed under us: nobody is left to tell
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _cannot_store(self, error: sqlite3.Error) -> Exception:
        if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.InterfaceError):
            return error  # a mistake of ours, not of the disk
        return FaultError(
            FaultKind.STORAGE,
            f"cannot store in {str(self.path)!r}: {error}; nothing was stored; check the disk's space",
        )

    def _cannot_open(self, error: Exception) -> FaultError:
        if isinstance(error, FaultError):
            return error
        reason = f"cannot open the hive's database {str(self.path)!r}: {error}; "
        return FaultError(FaultKind.STORAGE, reason + "its directory must exist and be writable by the hive's user")

    # on the reader threads

    def _look(self, look: Callable[[Connection], T]) -> T:
        connection: Connection | None = getattr(self._reading, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA busy_timeout = 5000")
            self._reading.connection = connection
            self._read_connections.append(connection)
        return look(connection)

    def _close_readers(self) -> None:
        for connection in self._read_connections:
            connection.close()


def settling(future: "asyncio.Future[T]", then: Callable[[T], None] | None = None) -> Callable[[T | Exception], None]:
    """A `settle` that ends the future, and calls `then` with a result, even if the future was cancelled."""

    def settle(result: T | Exception) -> None:
        if isinstance(result, Exception):
            if not future.done():
                future.set_exception(result)
            return
        if not future.done():
            future.set_result(result)
        if then is not None:
            then(result)

    return settle


def migrate(connection: Connection, steps: Iterable[tuple[int, str]]) -> None:
    """Apply the steps above the file's version, each in its own transaction; refuse a file newer than they are."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    known = 0
    for known, text in steps:
        if known > version:
            _apply(connection, known, text)
    if version > known:
        raise FaultError(
            FaultKind.WRONG_STATE,
            f"cannot open the hive's database: a newer hyperhive wrote it (schema {version}, this one knows {known}); "
            "install that version, or restore a backup",
        )


def _apply(connection: Connection, version: int, text: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(text):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _statements(text: str) -> Iterable[str]:
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _transact(connection: Connection, group: list[_Operation]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        results: list[Any] = []
        for change, operations in groupby(group, key=_kind_of):
            results += change.apply(connection, [operation.item for operation in operations])
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise
    return results


def _roll_back(connection: Connection) -> None:
    if connection.in_transaction:  # sqlite has rolled back by itself after some errors
        connection.execute("ROLLBACK")


def _how_many_fit(group: list[_Operation]) -> int:
    """How many of the first make one transaction; at least one, if there is any."""
    total = 0
    for number, operation in enumerate(group[:MAX_GROUP]):
        total += operation.size
        if number and total > MAX_GROUP_BYTES:
            return number
    return MAX_GROUP


def _is_later(operation: _Operation) -> bool:
    return not operation.change.first


def _end(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _end_with_error(future: "asyncio.Future[None]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the file beside the database that says whose it is; raises FaultError (`wrong_state`) naming the holder."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise FaultError(
                FaultKind.WRONG_STATE,
                f"cannot open the hive's database {str(path)!r}: a hive with pid {holder} has it open; stop that one",
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


def read_tables(
    path: Path, tables: Sequence[str], beside: Path
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, int]]:
    """Rows of another program's database, as far as it has these tables; at most a million of each. Of its other
    tables, how many rows they have.

    It is copied into the directory `beside` first, with what has not been written into it yet, and never opened where
    it lies. Raises FaultError (`storage`).
    """
    copy = beside / "original.sqlite"
    try:
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                copy.with_name(copy.name + suffix).write_bytes(source.read_bytes())
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            connection.row_factory = sqlite3.Row
            there = [row[0] for row in connection.execute(_TABLES)]
            rows = {
                table: [dict(row) for row in connection.execute(f'SELECT * FROM "{table}" LIMIT 1000000')]
                for table in tables
                if table in there
            }
            return rows, {table: _count(connection, table) for table in there if table not in rows}
    except (OSError, sqlite3.Error) as error:
        raise FaultError(FaultKind.STORAGE, f"cannot read the database {path}: {error}") from error


def _count(connection: sqlite3.Connection, table: str) -> int:
    name = table.replace('"', '""')
    return int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])
