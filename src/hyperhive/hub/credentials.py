"""The hive's own credentials for claude, and which agents get one: those whose config asks for it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

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

NO_ACCOUNTS: Final[Mapping[str, Path]] = MappingProxyType({})

log = structlog.get_logger(__name__)


class Credentials:
    """`open` reads what an earlier daemon kept: at `path`, and of accounts in the directory `kept`. No answer, log
    line or event has a value of it: only `given_to`."""

    def __init__(self, path: Path, fleet: Fleet, *, kept: Path, rehearsing: bool, clock: Clock | None = None) -> None:
        self._path = path
        self._kept = kept
        self._fleet = fleet
        self._rehearsing = rehearsing
        self._clock = clock or SystemClock()
        self._now: HiveCredential | None = None
        self._accounts: Mapping[str, HiveCredential] = {}
        self._problem: FaultError | None = None
        self._changing = asyncio.Lock()
        self.on_change: Callable[[], Awaitable[None]] = _nobody_cares
        """Called when there is another one, or none any more."""

    async def open(self, given: Path | None = None, accounts: Mapping[str, Path] = NO_ACCOUNTS) -> None:
        """A file that cannot be read is logged, and said to whoever asks; the hive runs without it.

        `given` is a file of the host's own with a credential, which takes the place of the one that was kept, and
        `accounts` such files by the names of the accounts that they are for: those and no others.
        """
        self._accounts = await asyncio.to_thread(self._read_accounts, accounts)
        try:
            self._now = await asyncio.to_thread(file.read, self._path)
            if given is not None:
                await self._take(*await asyncio.to_thread(file.of_file, given))
        except FaultError as fault:
            self._now, self._problem = None, fault
            log.error("agents do not get the hive's credential", error=fault.message)

    def given_to(self, agent: Agent) -> wire.Credential:
        """What the agent's claude gets: nothing, unless its config asks and there is one."""
        found = self._meant_for(agent)
        return wire.Credential() if found is None else wire.Credential(env=found.env, mark=found.mark)

    def uses(self, agent: Agent) -> bool:
        """Whether what the agent's claude spends is this credential's: its config has none that goes before it."""
        return bool(self.given_to(agent).env) and not file.SECRET_NAMES & {*agent.settings.env}

    def share(self, one: Agent, other: Agent) -> bool:
        """Whether both spend from the same credential of the hive's."""
        return self.uses(one) and self.uses(other) and self.given_to(one).env == self.given_to(other).env

    @property
    def is_there(self) -> bool:
        return self._now is not None

    def has_for(self, agent: Agent) -> bool:
        """Whether there is the one that its config asks for."""
        return self._of(agent) is not None

    def shown(self) -> host.HiveCredential | None:
        """All of it that anybody is shown; None when there is none. Raises FaultError (`bad_config`)."""
        if self._problem is not None:
            raise self._problem
        return None if self._now is None else self._shown(self._now)

    def accounts(self) -> list[host.HiveCredential]:
        """The same of each of the further accounts."""
        return [self._shown(one, account=name) for name, one in sorted(self._accounts.items())]

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
        await self.on_change()
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
            await self.on_change()
        return was_there

    def askers(self, account: str | None = None) -> list[Agent]:
        """Those whose config asks for that account's credential; without a name, for the one of no account."""
        asking = [agent for agent in self._fleet.agents() if agent.settings.credentials == "hive"]
        return [agent for agent in asking if agent.settings.account == account]

    def _meant_for(self, agent: Agent) -> HiveCredential | None:
        return None if self._rehearsing or agent.settings.credentials != "hive" else self._of(agent)

    def _of(self, agent: Agent) -> HiveCredential | None:
        account = agent.settings.account
        return self._now if account is None else self._accounts.get(account)

    def _shown(self, one: HiveCredential, account: str | None = None) -> host.HiveCredential:
        return host.HiveCredential(
            kind=one.kind,
            variables=sorted(one.env),
            fingerprint=one.fingerprint,
            set_at=rfc3339(one.set_at),
            agents=[agent.name for agent in self.askers(account)],
            account=account or "",
        )

    def _read_accounts(self, given: Mapping[str, Path]) -> dict[str, HiveCredential]:
        """Each stays the same while its file's content does: no claude has to start again for it."""
        found = {}
        if given:
            self._kept.mkdir(mode=0o700, exist_ok=True)
        for left in {path.stem for path in self._kept.glob("*.json")} - {*given}:
            private_file.remove(self._kept / f"{left}.json")
        for name, path in given.items():
            try:
                found[name] = self._account(self._kept / f"{name}.json", *file.of_file(path))
            except FaultError as fault:
                log.error("agents of an account do not get its credential", account=name, error=fault.message)
        return found

    def _account(self, kept: Path, kind: str, env: Mapping[str, str]) -> HiveCredential:
        before = private_file.read(kept, HiveCredential, writer="hive serve", remedy="remove it")
        if before is not None and before.env == env:
            return before
        now = file.credential(kind, env, before=before, now=self._clock.now())
        private_file.write(kept, now)
        return now

    def _tell(self) -> None:
        for agent in self.askers():
            if agent.peer is not None:
                mark = wire.CredentialMark(mark=self.given_to(agent).mark)
                agent.peer.notify(wire.CREDENTIAL_CHANGED, mark)


async def _nobody_cares() -> None:
    pass
