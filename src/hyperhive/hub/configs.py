"""The agents' configs: what was proposed, what is deployed, and the tags that say what became of each proposal."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from hyperhive.config import agent_toml
from hyperhive.config.beneath import read_beneath
from hyperhive.config.paths import Paths
from hyperhive.hub import settings_check
from hyperhive.hub.agents import Deployed
from hyperhive.hub.config_reader import ConfigReader
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import DiffFile, Setting
from hyperhive.protocol.ids import MANAGER, OPERATOR, AgentName
from hyperhive.protocol.settings import AgentSettings
from hyperhive.repos import proposed
from hyperhive.repos.applied import Applied

FIRST_TAG: Final = "deployed/0"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Configs:
    """All reading and writing of config repositories, off the loop.

    An agent's applied repository is written here and nowhere else; of its proposed one only private copies are read.
    """

    paths: Paths
    reader: ConfigReader
    beneath: Mapping[str, Any] = field(default_factory=dict)  #: the hive's own defaults, as a table of agent.toml
    accounts: Collection[str] = ()  #: that the hive has a credential of, by name

    # what is deployed

    async def begin(self, name: AgentName, files: Mapping[str, str]) -> Deployed:
        """The config that an agent begins its life with: the one of an earlier life, else these files."""
        sha = await asyncio.to_thread(self._begin, name, files)
        return await self.at(name, sha)

    async def at(self, name: AgentName, sha: str) -> Deployed:
        """The settings of a commit in the applied repository; raises FaultError (`bad_config`)."""
        text = await self.text(name, sha)
        settings = await asyncio.to_thread(agent_toml.parse, text, beneath=self.beneath)  # hostile: it may take long
        return Deployed(sha=sha, settings=settings)

    async def settings_of(self, document: bytes) -> AgentSettings:
        """Those of a system's agent.json; raises FaultError (`bad_config`)."""
        return await asyncio.to_thread(agent_toml.from_json, document, beneath=self.beneath)

    async def check_built(self, name: AgentName, document: bytes, agents: Collection[str]) -> AgentSettings:
        """Those of a new system's agent.json, fit for these agents; raises FaultError (`bad_config`)."""
        found = await self.settings_of(document)
        settings_check.check(
            name, found, backend=BackendKind.NIXOS, agents=agents, accounts=self.accounts,
            of="the agent.json of its system",
        )  # fmt: skip
        return found

    async def sources(self, text: str) -> list[Setting]:
        """Every setting that this agent.toml puts into effect, and where each is from."""
        return await asyncio.to_thread(agent_toml.sources, text, beneath=self.beneath)

    async def live(self, name: AgentName, sha: str) -> Deployed:
        """What is deployed, for an agent that lives. When it cannot be read, as little is allowed as there is."""
        try:
            return await self.at(name, sha or await asyncio.to_thread(self._main, name))
        except FaultError as fault:
            log.error("the deployed config cannot be read", agent=name, error=fault.message)
            return Deployed(sha=sha, settings=AgentSettings(allowed_recipients=[MANAGER]), problem=fault.message)

    async def text(self, name: AgentName, sha: str) -> str:
        """agent.toml at that commit; empty where there is none, which means the defaults."""
        return await asyncio.to_thread(self._applied(name).text, sha, agent_toml.FILE) or ""

    async def has(self, name: AgentName, sha: str) -> bool:
        return await asyncio.to_thread(self._has, name, sha)

    async def has_lost(self, name: AgentName, sha: str) -> bool:
        return await asyncio.to_thread(self._applied(name).has_lost, sha)

    async def other_files(self, name: AgentName, sha: str, base: str) -> list[str]:
        """Files beside agent.toml that are not as in the base."""
        changed = await asyncio.to_thread(self._applied(name).changed, base or None, sha)
        return [path for path in changed if path != agent_toml.FILE]

    async def diff(self, name: AgentName, base: str, sha: str) -> list[DiffFile]:
        return await asyncio.to_thread(self._applied(name).diff, base or None, sha)

    # proposals

    async def pin(self, name: AgentName, ref: str) -> str:
        """Copy exactly this commit out of the proposed repository into the applied one; its whole sha.

        Raises FaultError (`bad_commit`) that says what is wrong with it.
        """
        pinned = await self.reader.read(name, ref)
        await asyncio.to_thread(self._applied(name).store, pinned)
        return pinned.sha

    async def edit(self, name: AgentName, base: str, text: str, message: str, author: str = OPERATOR) -> str:
        """The config at `base` with another agent.toml, as a commit of the author's; its sha."""
        files = {agent_toml.FILE: text.encode()}
        return await asyncio.to_thread(lambda: self._applied(name).edit(base, files, message=message, author=author))

    async def check(self, name: AgentName, sha: str, agents: Collection[str], *, backend: BackendKind) -> Deployed:
        """The settings of a commit, fit for this backend and these agents; raises FaultError (`bad_config`)."""
        found = await self.at(name, sha)
        settings_check.check(name, found.settings, backend=backend, agents=agents, accounts=self.accounts)
        return found

    async def tag(self, name: AgentName, tag: str, sha: str, message: str | None = None) -> None:
        """A tag shows what the database has decided: when it cannot be written the log says so, and the next start
        tries again."""
        try:
            await asyncio.to_thread(self._applied(name).tag, tag, sha, message)
        except (FaultError, OSError) as error:
            log.error("cannot tag a commit", agent=name, tag=tag, error=str(error))

    async def complete_tags(self, name: AgentName, wanted: Mapping[str, tuple[str, str | None]]) -> None:
        """Add those that are missing."""
        applied = self._applied(name)
        if not await asyncio.to_thread((applied.path / ".git").exists):
            return  # purged
        try:
            there = await asyncio.to_thread(applied.tags)
        except (FaultError, OSError) as error:
            log.error("cannot read the tags of a config repository", agent=name, error=str(error))
            return
        for tag, (sha, message) in wanted.items():
            if tag not in there and await self.has(name, sha):
                await self.tag(name, tag, sha, message)

    async def go_live(self, name: AgentName, sha: str, tag: str) -> None:
        """Show in the applied repository what is deployed: the tag, main, the working tree."""
        await self.tag(name, tag, sha)
        await self.show_main(name, sha)

    async def show_main(self, name: AgentName, sha: str) -> None:
        """The applied repository's branch and working tree are at this commit."""
        try:
            await asyncio.to_thread(self._applied(name).set_main, sha)
        except (FaultError, OSError) as error:
            log.error("cannot move main", agent=name, sha=sha, error=str(error))

    # repositories

    async def propose_first(self, name: AgentName, files: Mapping[str, str], manager_uid: int | None) -> bool:
        """A proposed repository of what is deployed, or of these files where nothing is.

        False when there is one, which is then not touched.
        """
        return await asyncio.to_thread(self._seed, name, files, manager_uid)

    def _seed(self, name: AgentName, files: Mapping[str, str], manager_uid: int | None) -> bool:
        applied = self._applied(name)
        main = applied.main()
        first = applied.export(main) if main else _encoded(files)
        link = self.paths.agent(name) / "config"
        if link.is_dir() and not link.is_symlink():  # an earlier version's copy to edit: nothing reads it any more
            link.rename(link.with_name("config.old"))
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            link.symlink_to(Path("../../proposed") / name / "config")
        return proposed.seed(
            self.paths.proposed, name, first, uid=manager_uid, staging=self.paths.state_dir / "staging"
        )

    def _begin(self, name: AgentName, files: Mapping[str, str]) -> str:
        return self._applied(name).create(self._plain(name) or _encoded(files), f"The first config of {name}")

    def _plain(self, name: AgentName) -> dict[str, bytes]:
        """The config that an earlier version kept as a mere file."""
        try:
            return {agent_toml.FILE: read_beneath(self.paths.applied(name), agent_toml.FILE, agent_toml.MAX_BYTES)}
        except OSError:
            return {}

    def _main(self, name: AgentName) -> str:
        applied = self._applied(name)
        return applied.main() or self._begin(name, {agent_toml.FILE: agent_toml.template(model=None, description="")})

    def _has(self, name: AgentName, sha: str) -> bool:
        return self._applied(name).has(sha)

    def _applied(self, name: AgentName) -> Applied:
        return Applied(self.paths.applied(name))


def _encoded(files: Mapping[str, str]) -> dict[str, bytes]:
    return {path: text.encode() for path, text in files.items()}


def no_commit(name: str) -> FaultError:
    return FaultError(
        FaultKind.WRONG_STATE, f"agent {name!r} has no deployed config yet; propose a commit: hive propose {name}"
    )
