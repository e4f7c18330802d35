"""Usage limits: who is held by one, until when, and who goes on first after it.

An agent is held for as long as its own claude says. Those who use the same credential of the hive's share its account:
when one of them is held, the others are for a while, on its word, and then find out for themselves, one after the
other. So an agent that lies delays them; it stops nobody.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hyperhive.broker.clock import Clock, SystemClock, Timer
from hyperhive.broker.reserve import Reserve
from hyperhive.hub.agents import Agent
from hyperhive.hub.background import Background
from hyperhive.hub.credentials import Credentials
from hyperhive.hub.fleet import Fleet
from hyperhive.protocol.agent import Window
from hyperhive.protocol.faults import FaultError

LONGEST_S: Final = 8 * 86400.0
"""Nobody is held for longer: the longest window of an account is a week."""
OTHERS_S: Final = 15 * 60.0
"""How long an agent is held on another's word."""
HEEDED_AGAIN_S: Final = 3600.0
"""How long after one agent's word the next one of it holds others: a liar delays them a quarter of the time."""
APART_S: Final = 10.0
"""Between two agents of an account that go on: enough for the first one's refusal to reach the hive."""
JITTER_S: Final = 20.0
SOONEST_S: Final = 1.0
"""Until it is tried again to let somebody go, whom the disk has kept."""
LOOK_AGAIN_S: Final = 600.0
"""The wall clock may be set: it is looked at least so often."""


class LimitCause(StrEnum):
    LIMIT = "limit"  #: the account's limit is reached
    RESERVE = "reserve"  #: the rest of a window is the operator's


@dataclass(kw_only=True)
class Limits:
    """`open` when the fleet is there, `close` at the end. `jitter` gives a number from 0 to 1."""

    fleet: Fleet
    credentials: Credentials
    kept: Reserve
    clock: Clock = field(default_factory=SystemClock)
    jitter: Callable[[], float] = random.random
    reserve: int = 0  #: percent of each window that is the operator's
    _timer: Timer | None = None
    _background: Background = field(default_factory=Background)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _heeded_at: dict[str, float] = field(default_factory=dict)

    async def open(self) -> None:
        """Who was held before is held, and let go in time."""
        self.reserve = await self.kept.get()
        self.credentials.on_change = self._account_changed
        await self._look()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._background.close()

    # what harnesses say

    async def reported(self, agent: Agent, until: float) -> None:
        """Its claude was refused until then; 0 says that the harness waits no more, which decides nothing."""
        if until == agent.claimed_until:
            return
        agent.claimed_until = until
        try:
            await self._limited(agent, until, LimitCause.LIMIT)
        except FaultError:
            agent.claimed_until = 0.0  # its harness says it again
            raise

    async def used(self, agent: Agent, windows: Sequence[Window]) -> None:
        """How much of its account's windows is used, as its claude has heard."""
        agent.windows = tuple(windows)
        await self._judge(agent)

    async def logged_in(self, agent: Agent) -> None:
        """It may be another account now."""
        if not self.credentials.uses(agent):
            agent.windows = ()
            await self._let_go([agent])

    # the operator's doing

    async def resume(self, name: str) -> None:
        """It goes on, whatever holds it; what the operator keeps is its own until the window ends."""
        agent = self.fleet.get(name)
        agent.excused_until = max(agent.excused_until, agent.limited_until)
        await self._let_go([agent])

    async def set_reserve(self, percent: int) -> None:
        """What is kept of every window from now on."""
        await self.kept.put(percent)
        self.reserve = percent
        await self._let_go([agent for agent in self.fleet.agents() if agent.row.limited_for == LimitCause.RESERVE])
        for agent in self.fleet.agents():
            await self._judge(agent)

    # inside

    async def _judge(self, agent: Agent) -> None:
        mark, now = 1 - self.reserve / 100, self.clock.now()
        full = [w.resets_at for w in agent.windows if self.reserve and w.utilization >= mark and w.resets_at > now]
        until = max(full, default=0.0)
        if until > agent.excused_until and not agent.limited_until:
            await self._limited(agent, until, LimitCause.RESERVE)

    async def _limited(self, agent: Agent, until: float, cause: LimitCause) -> None:
        now = self.clock.now()
        if until <= now:
            return
        if agent.settings.resume == "never":
            await self.fleet.set_paused(agent.name, True)
        async with self._changing:
            try:
                await self._hold(agent, min(until, now + LONGEST_S), "", cause)
                if self._heeded_at.get(agent.name, -HEEDED_AGAIN_S) + HEEDED_AGAIN_S <= self.clock.monotonic():
                    for other in self._others(agent):
                        self._heeded_at[agent.name] = self.clock.monotonic()
                        await self._hold(other, min(until, now + OTHERS_S), agent.name, cause)
            finally:
                self._wait()

    async def _hold(self, agent: Agent, until: float, by: str, cause: LimitCause) -> None:
        agent.asks = False
        sharing = self._sharing(agent)
        place = sharing.index(agent) if agent in sharing else 0  # it may have been destroyed meanwhile
        later = APART_S * place + JITTER_S * self.jitter()
        await self.fleet.set_limit(agent, until=until + later, by=by, cause=cause)

    def _sharing(self, agent: Agent) -> list[Agent]:
        """Who uses the same account, as far as the hive knows of itself; the agent among them."""
        others = self.fleet.agents()
        return [other for other in others if other is agent or self.credentials.share(agent, other)]

    def _others(self, agent: Agent) -> list[Agent]:
        """Those whom its word holds: whoever shares its account and has no word of its own claude's."""
        sharing = [other for other in self._sharing(agent) if other is not agent]
        return [other for other in sharing if not other.limited_until or other.row.limited_by]

    async def _let_go(self, agents: Sequence[Agent]) -> None:
        async with self._changing:
            try:
                for agent in agents:
                    agent.asks = False
                    if agent.limited_until:
                        await self.fleet.set_limit(agent, until=0.0)
            finally:
                self._wait()  # whoever is held still is looked at again, also when one could not be let go

    async def _account_changed(self) -> None:
        users = self.credentials.askers()
        for agent in users:
            agent.windows = ()
        await self._let_go(users)

    async def _look(self) -> None:
        due = [agent for agent in self._held() if agent.limited_until <= self.clock.now()]
        for agent in due:
            if agent.settings.resume == "ask" and not agent.row.limited_by:
                agent.asks = True
                self.fleet.chronicle.changed(agent)
        await self._let_go([agent for agent in due if not agent.asks])

    def _held(self) -> list[Agent]:
        """Those whom time will let go, or will have ask."""
        return [agent for agent in self.fleet.agents() if agent.limited_until and not agent.asks]

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        soonest = min((agent.limited_until for agent in self._held()), default=None)
        if soonest is not None and not self._background.closed:
            delay = min(max(soonest - self.clock.now(), SOONEST_S), LOOK_AGAIN_S)
            self._timer = self.clock.call_later(delay, self._due)

    def _due(self) -> None:
        if not self._background.closed:
            self._background.begin(self._look())
