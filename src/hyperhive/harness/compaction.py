"""The operator's wish for a shorter conversation: carried out between two turns."""

import asyncio
from collections.abc import Awaitable, Callable

from hyperhive.harness.condition import Condition
from hyperhive.harness.session import Session
from hyperhive.harness.turns import Turns
from hyperhive.protocol.faults import FaultError, FaultKind


class Compaction:
    """At most one is wished for or under way; `run` carries it out when no turn is."""

    def __init__(
        self, *, turns: Turns, session: Session, condition: Condition, system_prompt: Callable[[], Awaitable[str]]
    ) -> None:
        self._turns = turns
        self._session = session
        self._condition = condition
        self._system_prompt = system_prompt
        self._wish: str | None = None
        self._wished = asyncio.Event()
        self._stopping = False

    def wish(self, instructions: str) -> None:
        """It begins now or when the turn under way has ended; raises FaultError when it cannot."""
        if self._session.id is None:
            raise FaultError(FaultKind.WRONG_STATE, "there is no conversation to compact yet")
        if self._condition.lacks_login:
            raise FaultError(FaultKind.WRONG_STATE, "claude needs a login before it can compact the conversation")
        if self._wish is not None:
            raise FaultError(FaultKind.WRONG_STATE, "a compaction is under way already, or waits for the turn to end")
        self._wish = instructions
        self._wished.set()

    def stop(self) -> None:
        """Begin none any more."""
        self._stopping = True

    async def run(self) -> None:
        while True:
            await self._wished.wait()
            self._wished.clear()
            await self._carry_out(self._wish or "")
            self._wish = None

    async def _carry_out(self, instructions: str) -> None:
        system_prompt = await self._system_prompt()
        async with self._turns.claim:
            if not self._stopping and self._session.id is not None:  # a new one may have been asked for meanwhile
                await self._turns.compact(instructions, system_prompt)
