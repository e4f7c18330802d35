"""What programs show to use the dashboard's API. Of each token only the hash is kept."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET

from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.inbox import rfc3339
from hyperhive.broker.sql import Queries, storable
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import ApiToken

_SQL: Final = Queries("api_tokens")
MOST: Final = 1000
"""Tokens that there may be; then one has to be revoked first."""
PREFIX: Final = "hive_"
"""So that whoever finds one, a program that looks for leaked secrets included, knows what it is."""
_TOKEN_BYTES: Final = 32
_LONGEST_TOKEN: Final = 128


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """A token without the token. Times are Unix seconds."""

    id: int
    hash: bytes
    name: str  #: what it is for
    scope: str  #: read, operate
    created_at: float
    expires_at: float | None
    used_at: float | None

    def on_wire(self) -> ApiToken:
        return ApiToken(
            id=self.id, name=self.name, scope=self.scope, created_at=rfc3339(self.created_at),
            expires_at=UNSET if self.expires_at is None else rfc3339(self.expires_at),
            used_at=UNSET if self.used_at is None else rfc3339(self.used_at),
        )  # fmt: skip


class ApiTokens:
    """The table `api_tokens`. What has expired is as if it were not there."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    async def create(self, name: str, scope: str, lasts_s: float | None) -> tuple[str, TokenRow]:
        """A new token, which is shown nowhere else, and what is kept of it.

        Raises FaultError (`wrong_state`) when there are too many.
        """
        token, now = PREFIX + secrets.token_urlsafe(_TOKEN_BYTES), self._clock.now()
        values = {
            "hash": hash_of(token), "name": storable(name), "scope": scope, "now": now, "most": MOST,
            "expires_at": None if lasts_s is None else now + lasts_s,
        }  # fmt: skip
        return token, await self._database.write(lambda connection: _create(connection, values))

    async def of(self, token: str) -> TokenRow | None:
        """What is kept of the token, if it is good."""
        if len(token) > _LONGEST_TOKEN:
            return None
        found = await self._read("of", {"hash": hash_of(token), "now": self._clock.now()})
        return found[0] if found else None

    async def used(self, id: int) -> None:
        """It is in use now."""
        values = {"id": id, "now": self._clock.now()}
        await self._database.write(lambda connection: connection.execute(_SQL["used"], values).rowcount)

    async def alive(self) -> list[TokenRow]:
        """Newest first."""
        return await self._read("alive", {"now": self._clock.now()})

    async def revoke(self, id: int) -> bool:
        """Whether there was one."""
        values = {"id": id, "now": self._clock.now()}
        return bool(await self._database.write(lambda connection: _rows(connection, "revoke", values)))

    async def _read(self, query: str, values: Mapping[str, Any]) -> list[TokenRow]:
        return await self._database.read(lambda connection: _rows(connection, query, values))


def _create(connection: Connection, values: Mapping[str, Any]) -> TokenRow | FaultError:
    connection.execute(_SQL["forget"], values)
    made = _rows(connection, "create", values)
    return made[0] if made else FaultError(
        FaultKind.WRONG_STATE, f"cannot make a token: there are {MOST}; `hive token revoke ID` ends one"
    )  # fmt: skip


def _rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[TokenRow]:
    return [TokenRow(**row) for row in _SQL.rows(connection, query, values)]


def hash_of(token: str) -> bytes:
    """A token is 256 random bits: nothing slower than this is needed to keep it from being found."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
