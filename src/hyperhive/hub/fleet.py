"""All agents of this hive: made, started, stopped, put to sleep, destroyed; found again after a restart."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from hyperhive.broker.letters import Draft
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.roster import Roster, Wanted
from hyperhive.config import agent_toml
from hyperhive.config.paths import Paths
from hyperhive.containers.runtime import Exit, Running, Runtime
from hyperhive.containers.spec import ContainerSpec
from hyperhive.hub import directories, prompts
from hyperhive.hub.agents import Agent
from hyperhive.hub.background import Background
from hyperhive.hub.chronicle import Chronicle
from hyperhive.hub.plan import Tooling, check_settings, container_spec, shell_environment
from hyperhive.hub.sleep import Sleep
from hyperhive.hub.supervisor import Hooks, Supervisor, how_it_ended
from hyperhive.hub.way_out import WayOut
from hyperhive.protocol.agent import PAUSE, MessageKind, Pause
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import ShellCommand, Tombstone
from hyperhive.protocol.ids import (
    MANAGER,
    OPERATOR,
    SYSTEM,
    AgentName,
    agent_name,
    closest,
    container_name,
    known_form,
)
from hyperhive.protocol.settings import AgentDocument, AgentSettings

STARTS_AT_ONCE: Final = 4

log = structlog.get_logger(__name__)


class Doors(Protocol):
    """The agents' sockets. `open` is done when connecting works; both are harmless when repeated."""

    async def open(self, agent: Agent) -> None: ...
    async def close(self, name: AgentName) -> None: ...


@dataclass(frozen=True, kw_only=True)
class House:
    """What every container of this hive is built from and runs in."""

    paths: Paths
    tooling: Tooling
    runner_argv: tuple[str, ...]
    runtime: Runtime
    rehearsal: Path | None  #: the directory of the model's socket, when the hive rehearses
    per_agent_uids: bool  #: a root daemon gives every agent a uid of its own


@dataclass(kw_only=True)
class _Member:
    agent: Agent
    supervisor: Supervisor
    sleep: Sleep
    watch: "asyncio.Task[None]"


@dataclass(kw_only=True)
class Fleet:
    """The agents by name, and everything that is done to their existence.

    Enter `running()` once; leaving it stops watching and leaves every container as it is. What one caller began is
    carried to its end even when the caller goes away in the middle.
    """

    house: House
    mailbox: Mailbox
    roster: Roster
    chronicle: Chronicle
    doors: Doors
    way_out: WayOut
    _members: dict[AgentName, _Member] = field(default_factory=dict)
    _background: Background = field(default_factory=Background)
    _existence: asyncio.Lock = field(default_factory=asyncio.Lock)
    _starts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STARTS_AT_ONCE))

    # who there is

    def names(self) -> list[AgentName]:
        return sorted(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def agents(self) -> list[Agent]:
        return [self._members[name].agent for name in self.names()]

    def get(self, name: str) -> Agent:
        return self._member(name).agent

    async def tombstones(self) -> list[Tombstone]:
        return await asyncio.to_thread(directories.tombstones, self.house.paths, frozenset(self._members))

    async def logs(self, name: str, *, lines: int, follow: bool) -> AsyncIterator[list[str]]:
        """What the container wrote, hostile text, in batches; with `follow` without an end."""
        container = container_name(self.get(name).name)
        if not follow:
            yield await self.house.runtime.logs(container, lines=lines)
            return
        async for line in self.house.runtime.follow_logs(container, lines=lines):
            yield [line]

    def shell(self, name: str) -> ShellCommand:
        """What the operator executes to get a shell in the agent's container. Raises FaultError when it is down."""
        agent = self.get(name)
        argv = self.house.runtime.enter_argv(
            container_name(agent.name),
            ("/bin/sh", "-l"),
            env=shell_environment(agent, self.house.tooling),
            cwd="/state",
        )
        return ShellCommand(argv=list(argv), needs_root=self.house.per_agent_uids)

    # from start to stop of the daemon

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Adopt what outlived an earlier daemon, start what is wanted, watch it all until the end."""
        await self._find_again()
        try:
            yield
        finally:
            await self._background.close()

    async def _find_again(self) -> None:
        for row in await self.roster.list():
            settings = await asyncio.to_thread(self._deployed, AgentName(row.name))
            await self._join(Agent(row=row, settings=settings))
        for name in set(self.mailbox.agents) - set(self.names()):  # the daemon was killed while destroying them
            await self.mailbox.forget(name)
        adopted = {running.name: running for running in await self.house.runtime.adopt()}
        for name, member in self._members.items():
            running = adopted.pop(container_name(name), None)
            if running is not None:
                member.agent.recall_status()
                await member.supervisor.adopt(running)
            if member.agent.should_run != (running is not None):
                self._background.begin(member.supervisor.align())
        for name in await self.mailbox.unread_counts():
            self.mail_waits(name)
        for stray in adopted:
            log.warning("stopping a container that belongs to no agent", container=stray)
            self._background.begin(self._end_stray(stray))
        await self._let_out()

    async def _let_out(self) -> None:
        """Tell the proxy who there is; a failure keeps them in, and is the log's."""
        try:
            await self.way_out.declare(self.agents())
        except FaultError as fault:
            log.error("agents may have no way out to the network", error=fault.message)

    async def _end_stray(self, container: str) -> None:
        await self.house.runtime.stop(container, grace_s=5)

    # existence

    async def spawn(self, name: str, *, model: str | None = None, description: str = "") -> None:
        """A new agent, up; with the state it had when one of that name was destroyed and kept."""
        await self._background.carry_out(self._spawn(agent_name(name), model, description))

    async def _spawn(self, name: AgentName, model: str | None, description: str) -> None:
        async with self._existence:
            await self._make(name, model, description)
        try:
            await self._member(name).supervisor.start()
        except FaultError as fault:
            raise FaultError(
                fault.kind, f"agent {name!r} was made, but {fault.message}; then: hive start {name}"
            ) from fault

    async def _make(self, name: AgentName, model: str | None, description: str) -> None:
        if name in self._members:
            raise FaultError(FaultKind.NAME_TAKEN, f"cannot spawn {name!r}: there is an agent of that name")
        paths, uid = self.house.paths, None
        paths.agent_socket(name)  # asked for here, so that a path too long is refused before anything is made
        if self.house.per_agent_uids:
            uid = await asyncio.to_thread(directories.choose_uid, paths, name, await self.roster.uids())
        await asyncio.to_thread(directories.make, paths, name, uid)
        await asyncio.to_thread(agent_toml.seed, paths.agent_config(name), model=model, description=description)
        settings = await self._deploy(name)
        row = await self.roster.add(name, uid=uid, role=settings.role, description=settings.description)
        try:
            await self._join(Agent(row=row, settings=settings))
        except BaseException:
            await self.roster.destroy(name)  # without a mailbox and a door it is no agent
            raise
        self.chronicle.note(name, "spawned", {})

    async def destroy(self, name: str, *, purge: bool) -> None:
        """Ends the agent. Its state is kept as a tombstone unless purged; a tombstone can be purged by name too."""
        checked = known_form(name)
        if checked == MANAGER:
            raise FaultError(FaultKind.NOT_ALLOWED, "cannot destroy the manager")
        await self._background.carry_out(self._destroy(checked, purge))

    async def _destroy(self, name: AgentName, purge: bool) -> None:
        async with self._existence:
            if name in self._members:
                await self._end(self._members[name], purge)
            elif purge and directories.has_kept_state(self.house.paths, name):
                await asyncio.to_thread(directories.purge, self.house.paths, name)
            else:
                raise self._unknown(name)

    async def _end(self, member: _Member, purge: bool) -> None:
        agent, paths = member.agent, self.house.paths
        member.sleep.stay_awake()
        with contextlib.suppress(FaultError):  # an earlier try came this far
            await self.roster.destroy(agent.name)
        await member.supervisor.retire()
        await self.doors.close(agent.name)
        await self.mailbox.forget(agent.name)
        member.watch.cancel()
        self._members.pop(agent.name, None)
        await self._let_out()
        await self.house.runtime.erase(container_name(agent.name))
        await asyncio.to_thread(directories.remove_runtime, paths, agent.name)
        if purge:
            await asyncio.to_thread(directories.purge, paths, agent.name)
        self.chronicle.note(agent.name, "destroyed", {"purged": purge})
        self.chronicle.changed(agent)

    async def rebuild(self, name: str) -> None:
        """Deploy what agent.toml says now, and start the container anew from it. A wrong one changes nothing."""
        member = self._member(name)
        settings = await self._deploy(member.agent.name)
        await self._background.carry_out(self._rebuild(member, settings))

    async def _rebuild(self, member: _Member, settings: AgentSettings) -> None:
        agent = member.agent
        await self._record(agent, description=settings.description, role=settings.role)
        self.chronicle.note(agent.name, "rebuilt", {})
        if agent.should_run:
            await member.supervisor.restart()
            await self._kick(agent, "rebuilt with the current agent.toml and started again")

    # run state

    async def start(self, name: str) -> None:
        member = self._member(name)
        await self._background.carry_out(self._start(member))

    async def _start(self, member: _Member) -> None:
        agent, was_up = member.agent, member.agent.running
        await self._record(agent, wanted=Wanted.UP, asleep=False)
        await member.supervisor.start()
        if not was_up:
            await self._kick(agent, "started")

    async def stop(self, name: str, *, graceful: bool = False) -> None:
        member = self._member(name)
        await self._background.carry_out(self._stop(member, graceful))

    async def _stop(self, member: _Member, graceful: bool) -> None:
        await self._record(member.agent, wanted=Wanted.DOWN, asleep=False)
        member.sleep.stay_awake()
        await member.supervisor.stop(graceful=graceful)
        await self._let_out()
        self.chronicle.note(member.agent.name, "killed", {})

    async def restart(self, name: str) -> None:
        member = self._member(name)
        await self._background.carry_out(self._restart(member))

    async def _restart(self, member: _Member) -> None:
        await self._record(member.agent, wanted=Wanted.UP, asleep=False)
        await member.supervisor.restart()
        await self._kick(member.agent, "restarted")

    async def set_paused(self, name: str, paused: bool) -> None:
        """A paused agent finishes its turn and then takes no mail; it works on a stopped one too."""
        agent = self._member(name).agent
        await self._record(agent, paused=paused)
        self.mailbox.set_held(agent.name, paused)
        if agent.peer is not None:
            agent.peer.notify(PAUSE, Pause(paused=paused))
        if not paused and await self.mailbox.unread(agent.name):
            self.mail_waits(agent.name)

    # sleep

    def rest_changed(self, name: AgentName) -> None:
        self._members[name].sleep.rest_changed()

    def mail_waits(self, name: str) -> None:
        """Mail can be leased to the agent and nobody waits for it: a sleeper is woken."""
        if member := self._members.get(AgentName(name)):
            member.sleep.mail_waits()

    async def _record_sleep(self, agent: Agent, asleep: bool) -> None:
        await self._record(agent, asleep=asleep)

    # the supervisor's hooks

    async def _launch(self, agent: Agent) -> Running:
        async with self._starts:
            return await self.house.runtime.start(await self._prepare(agent))

    async def _prepare(self, agent: Agent) -> ContainerSpec:
        house = self.house
        agent.settings = await asyncio.to_thread(agent_toml.load, house.paths.applied(agent.name))
        document = AgentDocument(name=agent.name, settings=agent.settings, peers=list(self.names()))
        await asyncio.to_thread(directories.make_runtime, house.paths, agent.name, agent.row.uid, document)
        agent.furnished = True
        await self.doors.open(agent)
        await self.way_out.open(agent, self.agents())
        return container_spec(
            agent, paths=house.paths, tooling=house.tooling, rehearsal=house.rehearsal, argv=house.runner_argv
        )

    async def _died(self, agent: Agent, exit_: Exit) -> None:
        log.warning("a container died", agent=agent.name, how=how_it_ended(exit_))
        self.chronicle.note(agent.name, "container_crash", {"note": how_it_ended(exit_), "oom": exit_.oom})
        await self.mailbox.container_died(agent.name)

    async def _gave_up(self, agent: Agent, last: str) -> None:
        log.error("giving up on an agent", agent=agent.name, last=last)
        await self._tell(OPERATOR, prompts.gave_up(agent.name, last))

    # small things

    async def _join(self, agent: Agent) -> None:
        hooks = Hooks(launch=self._launch, changed=self.chronicle.changed, died=self._died, gave_up=self._gave_up)
        supervisor = Supervisor(agent, self.house.runtime, hooks)
        agent.furnished = await asyncio.to_thread(self.house.paths.agent_runtime(agent.name).is_dir)
        await self.mailbox.register(agent.name, agent.row.incarnation)
        self.mailbox.set_held(agent.name, agent.row.paused)
        if agent.furnished:
            await self.doors.open(agent)
        sleep = Sleep(agent, supervisor, self.mailbox, self._background, self._record_sleep)
        watch = self._background.begin(supervisor.run())
        self._members[agent.name] = _Member(agent=agent, supervisor=supervisor, sleep=sleep, watch=watch)

    async def _record(self, agent: Agent, **changes: Any) -> None:
        agent.row = await self.roster.update(agent.name, **changes)
        self.chronicle.changed(agent)

    async def _kick(self, agent: Agent, reason: str) -> None:
        await self._tell(agent.name, prompts.kick(reason))

    async def _tell(self, to: str, body: str) -> None:
        draft = Draft(sender=SYSTEM, kind=MessageKind.SYSTEM, mid=uuid.uuid4().hex, to=to, body=body)
        try:
            await self.mailbox.send(draft)
        except FaultError as fault:
            log.error("cannot deliver a message of the hive", to=to, error=fault.message)

    async def _deploy(self, name: AgentName) -> AgentSettings:
        """What the agent.toml says is deployed from now on; a wrong one changes nothing and is refused."""
        paths = self.house.paths
        return await asyncio.to_thread(
            agent_toml.deploy, paths.agent_config(name), paths.applied(name), check=check_settings
        )

    def _deployed(self, name: AgentName) -> AgentSettings:
        try:
            return agent_toml.load(self.house.paths.applied(name))
        except FaultError as fault:
            log.error("the deployed agent.toml cannot be read", agent=name, error=fault.message)
            return AgentSettings(allowed_recipients=[MANAGER])  # what it may do is not known: as little as there is

    def _member(self, name: str) -> _Member:
        member = self._members.get(known_form(name))
        if member is None:
            raise self._unknown(name)
        return member

    def _unknown(self, name: str) -> FaultError:
        hint = closest(name, self.names())
        return FaultError(FaultKind.UNKNOWN_AGENT, f'agent "{name}" is not managed by this hive; {hint}')
