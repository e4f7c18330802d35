import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperhive.broker.database import (
    MAX_GROUP_BYTES,
    MAX_PENDING_BYTES,
    Change,
    Connection,
    Database,
    migrations,
    settling,
)
from hyperhive.protocol.faults import FaultError, FaultKind

TABLE = [(1, "CREATE TABLE things (name TEXT UNIQUE);")]


def adding(name: str) -> Callable[[Connection], str]:
    def add(connection: Connection) -> str:
        connection.execute("INSERT INTO things VALUES (?)", (name,))
        return name

    return add


def names(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM things ORDER BY name")]


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_a_write_is_there_for_readers_once_it_is_answered(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        assert await database.write(adding("one")) == "one"
        assert await database.read(names) == ["one"]
        await database.close()

    asyncio.run(scene())


def test_writes_of_one_tick_share_a_commit(tmp_path: Path) -> None:
    groups: list[int] = []

    def count(connection: Connection, items: list[int]) -> list[int]:
        groups.append(len(items))
        return items

    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        change = Change(apply=count)
        done: list[object] = []
        for number in range(1000):
            database.submit(change, number, done.append)
        await database.write(names)
        assert done == list(range(1000))
        await database.close()

    asyncio.run(scene())
    assert groups == [512, 488]


def test_a_failing_write_fails_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        results = await asyncio.gather(
            *(database.write(adding(name)) for name in ("a", "b", "a", "c")), return_exceptions=True
        )
        assert [result for result in results if isinstance(result, str)] == ["a", "b", "c"]
        assert isinstance(results[2], sqlite3.IntegrityError)
        assert await database.read(names) == ["a", "b", "c"]
        await database.close()

    asyncio.run(scene())


def test_what_a_raising_function_wrote_is_undone(tmp_path: Path) -> None:
    def add_and_refuse(connection: Connection) -> None:
        adding("half")(connection)
        raise FaultError(FaultKind.WRONG_STATE, "no")

    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        with pytest.raises(FaultError, match="no"):
            await database.write(add_and_refuse)
        assert await database.read(names) == []
        await database.close()

    asyncio.run(scene())


def test_a_full_disk_is_an_error_that_stores_nothing_and_passes(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        pages = await database.write(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall())
        with pytest.raises(FaultError) as refused:
            await database.write(adding("x" * 100_000))
        assert refused.value.kind is FaultKind.STORAGE
        assert "nothing was stored" in refused.value.message
        await database.write(adding("small"))
        assert await database.read(names) == ["small"]
        await database.close()

    asyncio.run(scene())


def test_one_that_does_not_fit_the_disk_does_not_take_its_neighbours_along(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 12").fetchall())
        results = await asyncio.gather(
            *(database.write(adding(name)) for name in ("a", "x" * 100_000, "b")), return_exceptions=True
        )
        assert results[0] == "a"
        assert isinstance(results[1], FaultError)
        assert results[2] == "b"
        await database.close()

    asyncio.run(scene())


def test_an_error_of_the_disk_is_answered_and_the_daemon_goes_on(tmp_path: Path) -> None:
    """The limit on file size stands in for a disk that fails."""
    program = """
import asyncio, json, resource, sys
from pathlib import Path
from hyperhive.broker.database import Database
from hyperhive.protocol.faults import FaultError

async def scene():
    database = await Database.open(Path(sys.argv[1]), steps=[(1, "CREATE TABLE things (name TEXT);")])
    add = lambda name: lambda connection: connection.execute("INSERT INTO things VALUES (?)", (name,)).rowcount
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        await database.write(add("x" * 200_000))
        kind = "stored"
    except FaultError as fault:
        kind = fault.kind
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await database.write(add("later"))
    rows = await database.read(lambda connection: connection.execute("SELECT name FROM things").fetchall())
    await database.close()
    print(json.dumps([kind, rows]))

asyncio.run(scene())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "db")], capture_output=True, text=True, timeout=30, check=True
    )
    assert json.loads(done.stdout) == ["storage", [["later"]]]


def test_a_second_hive_on_the_same_state_is_told_whose_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        with pytest.raises(FaultError) as refused:
            await Database.open(tmp_path / "db", steps=TABLE)
        assert refused.value.kind is FaultKind.WRONG_STATE
        assert f"pid {os.getpid()}" in refused.value.message
        await database.close()
        again = await Database.open(tmp_path / "db", steps=TABLE)
        await again.close()

    asyncio.run(scene())


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    async def scene() -> None:
        for place in ("file/db", "missing/db"):
            with pytest.raises(FaultError, match="cannot open the hive's database") as refused:
                await Database.open(tmp_path / place, steps=TABLE)
            assert refused.value.kind is FaultKind.STORAGE

    asyncio.run(scene())


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("hello " * 1000)

    async def scene() -> None:
        with pytest.raises(FaultError, match="not a database"):
            await Database.open(tmp_path / "db", steps=TABLE)

    asyncio.run(scene())


def test_a_database_newer_than_the_code_is_refused_and_left_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        newer = await Database.open(tmp_path / "db", steps=[*TABLE, (2, "CREATE TABLE more (x);")])
        await newer.close()
        with pytest.raises(FaultError, match=r"newer hyperhive wrote it \(schema 2, this one knows 1\)"):
            await Database.open(tmp_path / "db", steps=TABLE)

    asyncio.run(scene())


def test_a_file_of_every_earlier_version_is_brought_up_to_date_and_keeps_its_rows(tmp_path: Path) -> None:
    steps = migrations()
    next_one = (len(steps) + 1, "ALTER TABLE messages ADD COLUMN colour TEXT NOT NULL DEFAULT 'red';\n-- the end\n")

    async def upgrade(version: int) -> None:
        path = tmp_path / f"from-{version}"
        older = await Database.open(path, steps=steps[:version])
        if version:
            await older.write(
                lambda connection: connection.execute("INSERT INTO mailboxes VALUES ('x', 9, 0, '')").rowcount
            )
        await older.close()
        now = await Database.open(path, steps=[*steps, next_one])
        rows = await now.read(lambda connection: connection.execute("SELECT name FROM mailboxes").fetchall())
        colours = await now.read(lambda connection: connection.execute("SELECT colour FROM messages").fetchall())
        await now.close()
        assert sorted(rows) == ([("operator",), ("x",)] if version else [("operator",)])
        assert colours == []

    for version in range(len(steps) + 1):
        asyncio.run(upgrade(version))


def test_a_migration_that_fails_in_the_middle_leaves_the_version_before(tmp_path: Path) -> None:
    async def scene() -> None:
        broken = (2, "CREATE TABLE half (x);\nCREATE TABLE things (x);")
        with pytest.raises(FaultError, match="already exists"):
            await Database.open(tmp_path / "db", steps=[*TABLE, broken])
        database = await Database.open(tmp_path / "db", steps=TABLE)
        tables = await database.read(
            lambda connection: connection.execute("SELECT name FROM sqlite_schema").fetchall()
        )
        assert ("half",) not in tables
        await database.close()

    asyncio.run(scene())


def test_too_many_waiting_writes_are_refused_and_the_pressure_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE, max_pending=8)
        pressure: list[bool] = []
        database.on_pressure = pressure.append
        waiting = [database.write(adding(str(number))) for number in range(8)]
        assert database.busy
        with pytest.raises(FaultError, match="writes wait for the disk") as refused:
            database.write(adding("one too many"))
        assert refused.value.kind is FaultKind.TOO_FAST
        await asyncio.gather(*waiting)
        assert not database.busy
        assert pressure == [True, False]
        await database.close()

    asyncio.run(scene())


def test_too_many_waiting_bytes_are_refused_and_the_pressure_is_told(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        pressure: list[bool] = []
        database.on_pressure = pressure.append
        change: Change[str, str] = Change(apply=lambda _connection, items: items)
        stored: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        database.submit(change, "half", lambda _result: None, MAX_PENDING_BYTES // 2)
        assert database.busy
        database.submit(change, "the rest", settling(stored), MAX_PENDING_BYTES // 2)
        with pytest.raises(FaultError, match="64 MiB") as refused:
            database.write(adding("one too many"))
        assert refused.value.kind is FaultKind.TOO_FAST
        assert await stored == "the rest"
        assert not database.busy
        assert pressure == [True, False]
        assert await database.write(adding("another")) == "another"
        await database.close()

    asyncio.run(scene())


def test_much_to_write_is_many_commits_so_that_others_wait_for_a_part_of_it_alone(tmp_path: Path) -> None:
    groups: list[list[int]] = []

    def note(connection: Connection, items: list[int]) -> list[int]:
        groups.append(items)
        return items

    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        change = Change(apply=note)
        done: list[object] = []
        sizes = [MAX_GROUP_BYTES // 2, MAX_GROUP_BYTES // 2, 1, 2 * MAX_GROUP_BYTES, 1]
        for number, size in enumerate(sizes):
            database.submit(change, number, done.append, size)
        await database.close()
        assert done == [0, 1, 2, 3, 4]

    asyncio.run(scene())
    assert groups == [[0, 1], [2], [3], [4]]


def test_closing_commits_what_waits_and_may_be_repeated(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        waiting = [database.write(adding(str(number))) for number in range(3)]
        await asyncio.gather(database.close(), database.close())
        await database.close()
        assert [await write for write in waiting] == ["0", "1", "2"]
        with pytest.raises(FaultError, match="shutting down"):
            database.write(adding("late"))
        with pytest.raises(FaultError, match="shutting down"):
            await database.read(names)
        assert not (tmp_path / "db-wal").exists(), "the last one out writes the log back into the file"

    asyncio.run(scene())


def test_readers_cannot_write(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await database.read(adding("x"))
        await database.close()

    asyncio.run(scene())


def test_the_file_is_the_hives_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        database = await Database.open(tmp_path / "db", steps=TABLE)
        await database.write(adding("x"))
        modes = await asyncio.to_thread(modes_in, tmp_path)
        assert set(modes.values()) == {0o600}, modes
        await database.close()

    asyncio.run(scene())
