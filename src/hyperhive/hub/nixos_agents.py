"""Agents whose containers are of NixOS: their systems, from what is deployed to what a container starts with."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace

import structlog

from hyperhive.containers.nixos import NixosKeeper
from hyperhive.hub.agents import Agent, Deployed
from hyperhive.hub.configs import Configs
from hyperhive.hub.house import House
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import AgentName, container_name
from hyperhive.repos.meta_flake import Pin

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class NixosAgents:
    """For an agent of another kind there is nothing to do, and nothing is done."""

    house: House
    configs: Configs
    _built: set[str] = field(default_factory=set)  #: whose next start is in a system that was built for it

    async def sync(self, agents: Iterable[Agent]) -> None:
        """The flake of all systems says what is deployed, of exactly these."""
        if self.house.systems is None:
            return
        pins = {str(agent.name): wanted for agent in agents if (wanted := pin(agent, agent.config)) is not None}
        try:
            await self.house.systems.sync(pins)
        except FaultError as fault:
            log.error("the flake of the agents' systems is not as deployed", error=fault.message)

    async def settle(self, name: str, what: str) -> None:
        """What its system is made of now has worked; or the agent is no more."""
        if (systems := self.house.systems) is None:
            return
        try:
            await (systems.settle(name, what) if systems.wanted(name) else systems.forget(name))
        except FaultError as fault:
            log.error("a deployment is not in the history of systems", agent=name, error=fault.message)

    async def build(self, agent: Agent, config: Deployed, *, renew: bool) -> None:
        """The system that its container will have with that config; what runs runs on.

        Without `renew` the one that it has is good enough, when it is of this config. Raises FaultError when it does
        not build. Cancelled, it ends nix and leaves nothing behind.
        """
        keeper, systems = self.house.keepers.each.get(BackendKind.NIXOS), self.house.systems
        wanted = pin(agent, config)
        if not isinstance(keeper, NixosKeeper) or systems is None or wanted is None:
            return
        if not renew and await keeper.stands(container_name(agent.name)) == config.sha:
            return
        current = systems.current(agent.name) if config.sha == agent.config.sha else ""
        if not current or current != agent.row.built_with:
            await systems.build(agent.name, wanted)
            self._built.add(agent.name)

    async def install(
        self, agent: Agent, agents: Collection[str], check_parent: Callable[[AgentName, str], None]
    ) -> str | None:
        """Its system, and the settings that this has: nix may have made more of them than agent.toml says. What it is
        made of; None for one that has none. Raises FaultError (`bad_config`) for new settings that do not fit a hive
        of these agents.

        A newer one of the same config comes by `build` alone: what does not build keeps nobody from starting.
        """
        keeper = self.house.keeper(agent)
        if not isinstance(keeper, NixosKeeper):
            return None
        of_the_same = "" if agent.name in self._built else agent.config.sha
        found = await keeper.install(container_name(agent.name), agent.name, unless_of=of_the_same)
        self._built.discard(agent.name)
        is_new = agent.config.sha != agent.row.deployed_sha or not agent.row.built_with
        if is_new and found.settings is not None:  # what was deployed before starts, whatever there is no more
            made = await self.configs.check_built(agent.name, found.settings, agents)
            check_parent(agent.name, made.parent)
        await self._take(agent, found.settings)
        return found.made_of

    async def go_back(self, agent: Agent, built_with: str) -> None:
        """To the system that it had: made anew it might be another, or not build any more."""
        self._built.discard(agent.name)
        keeper = self.house.keeper(agent)
        if isinstance(keeper, NixosKeeper):
            try:
                await keeper.go_back(container_name(agent.name), built_with)
            except OSError as error:
                log.error("the former system is not there again", agent=agent.name, error=str(error))

    async def recall_settings(self, agent: Agent) -> None:
        """Those of the system that an earlier daemon installed."""
        keeper = self.house.keepers.each.get(agent.row.backend)
        if isinstance(keeper, NixosKeeper):
            try:
                await self._take(agent, await asyncio.to_thread(keeper.settings, container_name(agent.name)))
            except FaultError as fault:
                log.error("the settings of its system cannot be used", agent=agent.name, error=fault.message)

    async def _take(self, agent: Agent, document: bytes | None) -> None:
        if document is not None:
            settings = await self.configs.settings_of(document)
            agent.config = replace(agent.config, settings=settings)


def pin(agent: Agent, config: Deployed) -> Pin | None:
    """What its system would be made of with that config; None for one that has none."""
    if agent.row.backend is not BackendKind.NIXOS or agent.row.uid is None:
        return None
    return Pin(sha=config.sha, uid=agent.row.uid)
