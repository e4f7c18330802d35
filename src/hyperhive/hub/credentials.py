"""The hive's own credential for claude, and which agents get it: those whose config asks for it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.config import credentials as file
from hyperhive.config import private_file
from hyperhive.config.credentials import HiveCredential
from hyperhive.hub.agents import Agent
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.status import rfc3339
from hyperhive.protocol import agent as wire
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind

log = structlog.get_logger(__name__)


class Credentials:
    """`open` reads what an earlier daemon kept. No answer, log line or event has a value of it: only `given_to`."""

    def __init__(self, path: Path, fleet: Fleet, *, rehearsing: bool, clock: Clock | None = None) -> None:
        self._path = path
        self._fleet = fleet
        self._rehearsing = rehearsing
        self._clock = clock or SystemClock()
        self._now: HiveCredential | None = None
        self._problem: FaultError | None = None
        self._changing = asyncio.Lock()

    async def open(self, given: Path | None = None) -> None:
        """A file that cannot be read is logged, and said to whoever asks; the hive runs without it.

        `given` is a file of the host's own with a credential, which takes the place of the one that was kept.
        """
        try:
            self._now = await asyncio.to_thread(file.read, self._path)
            if given is not None:
                await self._take(*await asyncio.to_thread(file.of_file, given))
        except FaultError as fault:
            self._problem = fault
            log.error("agents do not get the hive's credential", error=fault.message)

    def given_to(self, agent: Agent) -> wire.Credential:
        """What the agent's claude gets: nothing, unless its config asks and there is one."""
        if self._now is None or self._rehearsing or agent.settings.credentials != "hive":
            return wire.Credential()
        return wire.Credential(env=self._now.env, mark=self._now.mark)

    @property
    def is_there(self) -> bool:
        return self._now is not None

    def shown(self) -> host.HiveCredential | None:
        """All of it that anybody is shown; None when there is none. Raises FaultError (`bad_config`)."""
        if self._problem is not None:
            raise self._problem
        now = self._now
        if now is None:
            return None
        return host.HiveCredential(
            kind=now.kind,
            variables=sorted(now.env),
            fingerprint=now.fingerprint,
            set_at=rfc3339(now.set_at),
            agents=[agent.name for agent in self._agents()],
        )

    async def set(self, secret: str, env_file: str) -> host.HiveCredential | None:
        """In the place of the one before; agents have it from claude's next start. Raises FaultError."""
        if self._rehearsing:
            raise FaultError(
                FaultKind.NOT_ALLOWED,
                "cannot set a credential: this hive plays the rehearsal model; a hive uses that or real credentials, "
                "never both",
            )
        if bool(secret) == bool(env_file):
            raise FaultError(FaultKind.INVALID_PARAMS, "cannot set a credential: give one secret or one env file")
        kind, env = file.of_secret(secret) if secret else (file.ENVIRONMENT, file.of_env_file(env_file))
        async with self._changing:
            await self._keep(kind, env)
        self._tell()
        return self.shown()

    async def _take(self, kind: str, env: Mapping[str, str]) -> None:
        """The same one as before stays the same: no claude has to start again for it."""
        if self._now is None or self._now.env != env:
            await self._keep(kind, env)

    async def _keep(self, kind: str, env: Mapping[str, str]) -> None:
        now = file.credential(kind, env, before=self._now, now=self._clock.now())
        await asyncio.to_thread(private_file.write, self._path, now)
        self._now, self._problem = now, None
        log.info("the hive has a credential", kind=now.kind, fingerprint=now.fingerprint)

    async def unset(self) -> bool:
        """Whether there was one. It stays in every claude that has it until that one ends."""
        async with self._changing:
            was_there = await asyncio.to_thread(private_file.remove, self._path)
            self._now = self._problem = None
        if was_there:
            log.info("the hive has no credential any more")
            self._tell()
        return was_there

    def _agents(self) -> list[Agent]:
        return [agent for agent in self._fleet.agents() if agent.settings.credentials == "hive"]

    def _tell(self) -> None:
        for agent in self._agents():
            if agent.peer is not None:
                mark = wire.CredentialMark(mark=self.given_to(agent).mark)
                agent.peer.notify(wire.CREDENTIAL_CHANGED, mark)
