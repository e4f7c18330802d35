"""The agents' way to the network: each one's allow-list, told to the egress proxy."""

import asyncio
from collections.abc import Iterable

import structlog

from hyperhive.broker.roster import Wanted
from hyperhive.config.paths import Paths
from hyperhive.containers.egress import Egress, EgressRule
from hyperhive.containers.egress_rules import CLAUDE_HOSTS
from hyperhive.hub.agents import Agent
from hyperhive.protocol.faults import FaultError

log = structlog.get_logger(__name__)


class WayOut:
    """Starts the proxy with the first agent that needs it; a hive that rehearses has none."""

    def __init__(self, egress: Egress, paths: Paths, *, closed: bool) -> None:
        self._egress = egress
        self._paths = paths
        self._closed = closed
        self._started = False
        self._declaring = asyncio.Lock()

    async def declare(self, agents: Iterable[Agent]) -> None:
        """Make it so for all of them at once. Raises FaultError (`backend`, `bad_config`)."""
        if self._closed:
            return
        rules = {str(agent.name): self._rule(agent) for agent in agents if _needs_one(agent)}
        async with self._declaring:
            if rules and not self._started:
                await self._egress.start()
                self._started = True
            if self._started:
                await self._egress.declare(rules)

    async def tell(self, agents: Iterable[Agent]) -> None:
        """The same for what follows from it; a failure keeps them in, and is the log's."""
        try:
            await self.declare(agents)
        except FaultError as fault:
            log.error("agents may have no way out to the network", error=fault.message)

    async def open(self, agent: Agent, agents: Iterable[Agent]) -> None:
        """The same, for the sake of one agent: raises FaultError when that one got no way out."""
        try:
            await self.declare(agents)
        except FaultError:
            if _needs_one(agent) and not await asyncio.to_thread(self._rule(agent).socket.is_socket):
                raise

    def _rule(self, agent: Agent) -> EgressRule:
        return EgressRule(
            socket=self._paths.agent_runtime(agent.name) / "proxy.sock",
            allow=(*CLAUDE_HOSTS, *agent.settings.network.allow),
            uid=agent.row.uid,
        )


def _needs_one(agent: Agent) -> bool:
    """A stopped agent needs none; when nobody does, the proxy ends with the daemon."""
    return agent.furnished and agent.row.wanted is Wanted.UP and agent.settings.network.mode == "allowlist"
