"""What containers are made of and furnished with: the same house for all agents of a hive."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from hyperhive.config.paths import Paths
from hyperhive.containers.keeper import Keeper, Keepers
from hyperhive.containers.spec import ContainerSpec
from hyperhive.hub import directories
from hyperhive.hub.agents import Agent
from hyperhive.hub.plan import Tooling, container_spec, nixos_spec
from hyperhive.hub.systems import Systems
from hyperhive.images.generations import Generation
from hyperhive.images.images import Images
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.ids import MANAGER
from hyperhive.protocol.settings import SYSTEMS, AgentDocument

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class House:
    """What every container of this hive is built from and runs in."""

    paths: Paths
    tooling: Tooling
    runner_argv: tuple[str, ...]
    keepers: Keepers
    rehearsal: Path | None  #: the directory of the model's socket, when the hive rehearses
    per_agent_uids: bool  #: a root daemon gives every agent a uid of its own
    images: Images

    systems: Systems | None = None  #: what containers of NixOS are built from, where there are such

    def keeper(self, agent: Agent) -> Keeper:
        """Of the agent's container. Raises FaultError (`backend`) when this hive has none of its kind."""
        return self.keepers.of(agent.row.backend)

    def tool_groups(self, agent: Agent) -> list[str]:
        """Those that it has in this hive."""
        about_all = agent.name == MANAGER and self.systems is not None
        return [*agent.tool_groups, *([SYSTEMS] if about_all else [])]

    def document(self, agent: Agent, peers: Sequence[str]) -> AgentDocument:
        """The agent's agent.json."""
        return AgentDocument(
            name=agent.name,
            settings=agent.settings,
            peers=list(peers),
            tool_groups=self.tool_groups(agent),
            deployed_sha=agent.config.sha,
        )

    # from what it is made

    def needs_update(self, agent: Agent) -> bool:
        """Whether its container was made from other software than it would be made from now."""
        made = bool(agent.row.built_with) or agent.running
        return made and agent.row.built_with != self.made_of(agent, self.images.today)

    def made_of(self, agent: Agent, base: str) -> str:
        """Another text when its container would be made from something else now; `base` is an image's."""
        if agent.row.backend is BackendKind.NIXOS and self.systems is not None:
            return self.systems.made.get(agent.name, agent.row.built_with)
        return f"{self.tooling.fingerprint} {base if agent.row.backend is BackendKind.NSPAWN else ''}".rstrip()

    async def generation(self, agent: Agent) -> Generation | None:
        """What its container is made from, where that is not the host's own software."""
        if agent.row.backend is not BackendKind.NSPAWN:
            return None
        found = await self.images.usable(agent.name, agent.settings.packages.apt, _say_in_log)
        if found != await self.images.current(agent.name):
            await self.images.switch(agent.name, found)
        return found

    async def is_of_another_config(self, agent: Agent) -> bool:
        """Whether its container was furnished for another commit than what is deployed."""
        try:
            text = await asyncio.to_thread((self.paths.agent_runtime(agent.name) / "agent.json").read_bytes)
            furnished_for = msgspec.json.decode(text, type=AgentDocument).deployed_sha
        except (OSError, msgspec.MsgspecError):
            return False
        return furnished_for not in ("", agent.config.sha)

    # before it starts

    async def furnish(self, agent: Agent, peers: Sequence[str]) -> None:
        """Its directories are the agent's own and have its agent.json in them."""
        if agent.row.uid is not None:
            await directories.give(self.paths, agent.name, agent.row.uid)
        document = self.document(agent, peers)
        await asyncio.to_thread(directories.make_runtime, self.paths, agent.name, agent.row.uid, document)
        agent.furnished = True

    async def spec(self, agent: Agent, generation: Generation | None) -> ContainerSpec:
        """Its container, once it is furnished and its sockets are there. Raises FaultError (`backend`)."""
        if agent.row.backend is BackendKind.NIXOS:
            return nixos_spec(agent, paths=self.paths, rehearsal=self.rehearsal)
        return await asyncio.to_thread(  # it looks where links lead
            container_spec,
            agent,
            paths=self.paths,
            tooling=self.tooling,
            rehearsal=self.rehearsal,
            argv=self.runner_argv,
            generation=generation,
        )


async def _say_in_log(text: str) -> None:
    log.info("making an image", said=text)
