"""The disk is full, and the operator comes to see why: who was let in before still is."""

import asyncio
from pathlib import Path

import pytest

from hand_clock import HandClock
from hyperhive.broker.api_tokens import ApiTokens
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.web_sessions import WebSessions
from hyperhive.hub.doors import Doors
from hyperhive.hub.tokens import Tokens
from hyperhive.protocol.faults import FaultError, FaultKind

AN_HOUR_S = 3600


def fill(connection: Connection) -> None:
    """From now on each change of a session or a token takes more than there is."""
    connection.execute("CREATE TABLE ballast (bytes BLOB)")
    for table in ("web_sessions", "api_tokens"):
        connection.execute(
            f"CREATE TRIGGER no_{table} BEFORE UPDATE ON {table} BEGIN "
            "INSERT INTO ballast VALUES (zeroblob(100000)); END"
        )
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()


def test_a_full_disk_keeps_neither_the_operator_nor_a_program_out(tmp_path: Path) -> None:
    async def scene() -> None:
        clock = HandClock()
        database = await Database.open(tmp_path / "hive.sqlite")
        sessions = WebSessions(database, clock)
        doors, tokens = Doors(sessions, clock), Tokens(ApiTokens(database, clock), clock)
        token, _ = await tokens.create("scripts", "read", None)
        session = await doors.enter(await sessions.invite(), address="", browser="")
        row = await doors.who(session)
        assert row is not None
        await database.write(fill)
        clock.advance(AN_HOUR_S)
        with pytest.raises(FaultError) as refused:
            await sessions.seen(row.id)
        assert refused.value.kind is FaultKind.STORAGE
        assert await doors.who(session) == row
        assert await tokens.who(token) is not None
        await database.close()

    asyncio.run(scene())
