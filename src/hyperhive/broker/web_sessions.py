"""One-time links into the dashboard, and the sessions that they began. Of each token only the hash is kept."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.inbox import rfc3339
from hyperhive.broker.sql import Queries, storable
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import WebSession

_SQL: Final = Queries("web_sessions")
LINK_S: Final = 60
IDLE_S: Final = 7 * 86400
"""A session that was not used for so long has ended."""
LASTS_S: Final = 30 * 86400
"""The longest that a session lasts, however much it is used."""
MOST: Final = 100
"""Sessions that are kept; beyond them the oldest ends."""
_TOKEN_BYTES: Final = 32
_LONGEST_TOKEN: Final = 128


@dataclass(frozen=True, kw_only=True)
class SessionRow:
    """A browser that was let in. Times are Unix seconds; `address` and `browser` are what it said of itself."""

    id: int
    hash: bytes
    created_at: float
    seen_at: float
    address: str
    browser: str

    def on_wire(self) -> WebSession:
        return WebSession(
            id=self.id, address=self.address, browser=self.browser, created_at=rfc3339(self.created_at),
            seen_at=rfc3339(self.seen_at),
        )  # fmt: skip


class WebSessions:
    """The tables `web_links` and `web_sessions`."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def invite(self) -> str:
        """A new link's token: good for LINK_S seconds, and for one session."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = self._clock.now()
        values = {"hash": _hash(token), "expires_at": now + LINK_S, "now": now}

        def invite(connection: Connection) -> None:
            connection.execute(_SQL["forget_links"], values)
            connection.execute(_SQL["invite"], values)

        await self._database.write(invite)
        return token

    async def expects(self, link: str) -> bool:
        """Whether the link would begin a session now. Nothing is used up by asking."""
        values = {"hash": _hash(link), "now": self._clock.now()}
        return (
            await self._database.read(lambda connection: connection.execute(_SQL["expects"], values).fetchone())
            is not None
        )

    async def begin(self, link: str, *, address: str, browser: str) -> tuple[str, SessionRow]:
        """Use up the link; the session that it begins and its token.

        Raises FaultError (`not_allowed`) when there is no such link, it was used, or it is too old: all the same.
        """
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        values = {
            **self._alive(), "link": _hash(link), "hash": _hash(token), "address": storable(address)[:64],
            "browser": storable(browser)[:200], "most": MOST,
        }  # fmt: skip
        return token, await self._database.write(lambda connection: _begin(connection, values))

    async def of(self, token: str) -> SessionRow | None:
        """The living session whose token it is."""
        if len(token) > _LONGEST_TOKEN:
            return None
        found = await self._read("of", {**self._alive(), "hash": _hash(token)})
        return found[0] if found else None

    async def seen(self, id: int) -> None:
        """It is in use now."""
        values = {"id": id, "now": self._clock.now()}
        await self._database.write(lambda connection: connection.execute(_SQL["seen"], values).rowcount)

    async def alive(self) -> list[SessionRow]:
        """Newest first."""
        return await self._read("alive", self._alive())

    async def end(self, id: int) -> list[SessionRow]:
        """The session that ended; none when there was none of that id."""
        return await self._database.write(lambda connection: _rows(connection, "end", {"id": id}))

    async def end_all(self) -> list[SessionRow]:
        """Those that ended."""
        return await self._database.write(lambda connection: _rows(connection, "end_all", {}))

    async def _read(self, query: str, values: Mapping[str, Any]) -> list[SessionRow]:
        return await self._database.read(lambda connection: _rows(connection, query, values))

    def _alive(self) -> dict[str, float]:
        now = self._clock.now()
        return {"now": now, "begun_after": now - LASTS_S, "seen_after": now - IDLE_S}


def _begin(connection: Connection, values: Mapping[str, Any]) -> SessionRow | FaultError:
    if not _SQL.rows(connection, "take", {"hash": values["link"], "now": values["now"]}):
        return FaultError(
            FaultKind.NOT_ALLOWED,
            f"cannot log in: the link was used or is older than {LINK_S} seconds; `hive login` makes a new one",
        )
    row = _rows(connection, "begin", values)[0]
    connection.execute(_SQL["forget"], values)
    return row


def _rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[SessionRow]:
    return [SessionRow(**row) for row in _SQL.rows(connection, query, values)]


def _hash(token: str) -> bytes:
    """A token is 256 random bits: nothing slower than this is needed to keep it from being found."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
