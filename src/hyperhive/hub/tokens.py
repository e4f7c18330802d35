"""Programs that may use the dashboard's API: who they are, and what they have open."""

import contextlib
from typing import Final

from hyperhive.broker.api_tokens import ApiTokens, TokenRow
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.hub.presence import Presence
from hyperhive.protocol.faults import FaultError, FaultKind

DAY_S: Final = 86400
_USED_AGAIN_S: Final = 60
"""How exact `used_at` of a token is."""


class Tokens:
    """`open` is what their requests have open: revoking a token ends it."""

    def __init__(self, tokens: ApiTokens, clock: Clock | None = None) -> None:
        self._tokens = tokens
        self._clock = clock or SystemClock()
        self.open = Presence()

    async def create(self, name: str, scope: str, days: int | None) -> tuple[str, TokenRow]:
        """The token, which is shown this once, and what is kept of it. Raises FaultError (`wrong_state`)."""
        return await self._tokens.create(name, scope, None if days is None else days * DAY_S)

    async def who(self, token: str) -> TokenRow | None:
        """Whose token it is, which counts as used now; None for one that is wrong, revoked or too old."""
        row = await self._tokens.of(token)
        if row is not None and self._clock.now() - (row.used_at or 0.0) > _USED_AGAIN_S:
            with contextlib.suppress(FaultError):  # a disk that is full keeps nobody out who comes to see why
                await self._tokens.used(row.id)
        return None if row is None or self.open.has_ended(row.id) else row

    async def alive(self) -> list[TokenRow]:
        """Newest first."""
        return await self._tokens.alive()

    async def revoke(self, id: int) -> None:
        """It is good for nothing from now on, and what it has open ends. Raises FaultError (`unknown_token`)."""
        if not await self._tokens.revoke(id):
            raise FaultError(
                FaultKind.UNKNOWN_TOKEN, f"cannot revoke token {id}: there is none; `hive token list` shows them"
            )
        self.open.end(id)
