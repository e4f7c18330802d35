"""The operator's wish for a shorter conversation: carried out between two turns."""

import asyncio
from collections.abc import Awaitable, Callable

from hyperhive.harness.condition import Condition
from hyperhive.harness.session import Session
from hyperhive.harness.turn import Ended
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
        self._begun = False
        self._wished = asyncio.Event()
        self._stopping = False
        self.on_end: Callable[[Ended], None] = lambda _: None
        """Called with how one has ended."""

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

    def forget(self) -> bool:
        """The one that waits for the turn to end will not begin; whether there was one."""
        if self._wish is None or self._begun:
            return False
        self._wish = None
        return True

    def stop(self) -> None:
        """Begin none any more."""
        self._stopping = True

    async def run(self) -> None:
        while True:
            await self._wished.wait()
            self._wished.clear()
            await self._carry_out()
            self._wish, self._begun = None, False

    async def _carry_out(self) -> None:
        system_prompt = await self._system_prompt()
        async with self._turns.claim:
            if self._wish is None or self._stopping or self._session.id is None:  # a new one may have been asked for
                return
            self._begun = True
            ended = await self._turns.compact(self._wish, system_prompt)
        self.on_end(ended)
