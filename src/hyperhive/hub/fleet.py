"""All agents of this hive: what can be done to one, and finding them all again after a restart.

Jobs decide when (`queue`, `work`); here is how.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from hyperhive.broker.bucket import Buckets
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.notices import Notices
from hyperhive.broker.roster import Roster, Wanted
from hyperhive.containers.keeper import Life
from hyperhive.hub import directories
from hyperhive.hub.agents import Agent, Deployed
from hyperhive.hub.background import Background
from hyperhive.hub.chronicle import Chronicle
from hyperhive.hub.configs import Configs
from hyperhive.hub.deaths import Deaths
from hyperhive.hub.helper_events import helper_event
from hyperhive.hub.house import House
from hyperhive.hub.nixos_agents import NixosAgents
from hyperhive.hub.sleep import Sleep
from hyperhive.hub.supervisor import Hooks, Supervisor
from hyperhive.hub.way_out import WayOut
from hyperhive.images.generations import Generation
from hyperhive.protocol.agent import PAUSE, Pause
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Tombstone
from hyperhive.protocol.ids import MANAGER, AgentName, closest, container_name, known_form

STARTS_AT_ONCE: Final = 4
LOGIN_NEWS_PER_S: Final = 1 / 60
LOGIN_NEWS_BURST: Final = 20
"""How often the manager is told that an agent needs a login or has one: what an agent says costs it nothing."""

log = structlog.get_logger(__name__)


class Doors(Protocol):
    """The agents' sockets. `open` is done when connecting works; both are harmless when repeated."""

    async def open(self, agent: Agent) -> None: ...
    async def close(self, name: AgentName) -> None: ...


@dataclass(kw_only=True)
class _Member:
    agent: Agent
    supervisor: Supervisor
    sleep: Sleep
    watch: "asyncio.Task[None]"


@dataclass(kw_only=True)
class Fleet:
    """The agents by name, and everything that can be done to them.

    Enter `running()` once; leaving it stops watching and leaves every container as it is. Of one agent one thing is
    done at a time: that is the job queue's care.
    """

    house: House
    mailbox: Mailbox
    roster: Roster
    chronicle: Chronicle
    doors: Doors
    way_out: WayOut
    configs: Configs
    notices: Notices
    nixos: NixosAgents
    deaths: Deaths
    _members: dict[AgentName, _Member] = field(default_factory=dict)
    _background: Background = field(default_factory=Background)
    _existence: asyncio.Lock = field(default_factory=asyncio.Lock)
    _news_of_logins: Buckets = field(default_factory=lambda: Buckets(LOGIN_NEWS_PER_S, LOGIN_NEWS_BURST))
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

    def backend_of(self, name: AgentName) -> BackendKind:
        """What makes its containers, or would if it were made now."""
        return self.get(name).row.backend if name in self else self.house.keepers.usual

    async def tombstones(self) -> list[Tombstone]:
        return await asyncio.to_thread(directories.tombstones, self.house.paths, frozenset(self._members))

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
            config = await self.configs.live(AgentName(row.name), row.deployed_sha)
            if not row.deployed_sha and config.sha:  # an earlier version kept a mere file: it is a commit now
                row = await self.roster.update(row.name, deployed_sha=config.sha, parent=config.settings.parent)
            await self._join(Agent(row=row, config=config))
        for forgotten in set(self.mailbox.agents) - set(self.names()):  # the daemon was killed while destroying them
            await self.mailbox.forget(forgotten)
        adopted = {
            (kind, running.name): running
            for kind, keeper in self.house.keepers.each.items()
            for running in await keeper.adopt()
        }
        for member in self._members.values():
            running = adopted.pop((member.agent.row.backend, container_name(member.agent.name)), None)
            if running is not None and await self.house.is_of_another_config(member.agent):  # a deploy was cut off
                await self._end_stray(member.agent.row.backend, running.name)
                running = None
            await self.nixos.recall_settings(member.agent)
            if running is not None:
                member.agent.recall_status()
                await member.supervisor.adopt(running)
            if member.agent.should_run != (running is not None):
                self._background.begin(member.supervisor.align())
        for waiting in await self.mailbox.unread_counts():
            self.mail_waits(waiting)
        for kind, stray in adopted:
            log.warning("stopping a container that belongs to no agent", container=stray)
            await self._end_stray(kind, stray)
        await self.way_out.tell(self.agents())

    async def _end_stray(self, kind: BackendKind, container: str) -> None:
        try:
            await self.house.keepers.of(kind).kill(container)
        except FaultError as fault:
            log.error("cannot end a stray container", container=container, error=fault.message)

    # existence

    async def make(
        self, name: AgentName, files: Mapping[str, str], *, deployed: Deployed | None = None, description: str = "",
        backend: str = "",
    ) -> Agent:  # fmt: skip
        """A new agent, wanted up and not started yet; with the state it had when one of that name was destroyed.

        Its config is `deployed`, or that of its earlier life, or these files; so is its backend, where none is named.
        Raises FaultError.
        """
        async with self._existence:
            if name in self._members:
                raise FaultError(FaultKind.NAME_TAKEN, f"cannot spawn {name!r}: there is an agent of that name")
            self.house.paths.agent_socket(name)  # so that a path too long is refused before anything is made
            kind = BackendKind(backend) if backend else await self._backend_before(name)
            self.house.keepers.of(kind).check_name(container_name(name))
            uid = await self._make_directories(name, kind)
            config = deployed or await self.configs.begin(name, files)
            agent = await self._enlist(name, uid, config, description, kind)
            await self._propose_first(agent)
            self.chronicle.note(name, "spawned", {"sha": config.sha})
            return agent

    async def _make_directories(self, name: AgentName, kind: BackendKind) -> int | None:
        paths, uid = self.house.paths, None
        if self.house.per_agent_uids:
            living = await self.roster.uids()
            uid = await asyncio.to_thread(
                directories.choose_uid, paths, name, living, same_inside=kind is BackendKind.NIXOS
            )
        await asyncio.to_thread(directories.make, paths, name, uid)
        if name == MANAGER and uid is not None:
            await asyncio.to_thread(directories.give_proposed, paths, uid)
        return uid

    async def _backend_before(self, name: AgentName) -> BackendKind:
        """That of the life whose state is kept; else the usual one."""
        kept = await asyncio.to_thread(directories.has_kept_state, self.house.paths, name)
        lives = await self.roster.lives(name) if kept else []
        return lives[0].backend if lives else self.house.keepers.usual

    async def _enlist(
        self, name: AgentName, uid: int | None, config: Deployed, description: str, backend: BackendKind
    ) -> Agent:
        settings = config.settings
        about = settings.description or description
        row = await self.roster.add(
            name, uid=uid, role=settings.role, description=about, parent=settings.parent, deployed_sha=config.sha,
            backend=backend,
        )  # fmt: skip
        agent = Agent(row=row, config=config)
        try:
            await self._join(agent)
        except BaseException:
            await self.roster.destroy(name)  # without a mailbox and a door it is no agent
            raise
        return agent

    async def repair_proposed(self) -> None:
        """Whoever has no proposed repository gets one."""
        for agent in self.agents():
            await self._propose_first(agent)

    async def _propose_first(self, agent: Agent) -> None:
        """A proposed repository that says what is deployed, where there is none."""
        manager = self._members.get(MANAGER)
        try:
            await self.configs.propose_first(agent.name, {}, manager.agent.row.uid if manager else None)
        except (FaultError, OSError) as error:
            log.error("cannot make a config repository for proposals", agent=agent.name, error=str(error))

    async def end(self, name: AgentName) -> None:
        """The agent is no more; what is kept of it stays. May be repeated after a death in the middle of it."""
        async with self._existence:
            if name in self._members:
                await self._retire(self._members[name])
            await self.mailbox.forget(name)
            for keeper in self.house.keepers.each.values():
                await keeper.erase(container_name(name))
            await asyncio.to_thread(directories.remove_runtime, self.house.paths, name)

    async def purge(self, name: AgentName) -> None:
        """Delete all that is kept of an agent that is no more. May be repeated."""
        async with self._existence:
            await asyncio.to_thread(directories.purge, self.house.paths, name)
            await self.house.images.forget(name)

    async def _retire(self, member: _Member) -> None:
        agent = member.agent
        member.sleep.stay_awake()
        with contextlib.suppress(FaultError):  # an earlier try came this far
            await self.roster.destroy(agent.name)
        await member.supervisor.retire()
        await self.doors.close(agent.name)
        member.watch.cancel()
        self._members.pop(agent.name, None)
        await self.way_out.tell(self.agents())
        self.chronicle.changed(agent)

    # run state

    async def start(self, name: str) -> bool:
        """Up when it returns; whether it was down before."""
        member = self._member(name)
        was_up = member.agent.running
        self._give_room(member.agent)
        await self._record(member.agent, wanted=Wanted.UP, asleep=False)
        await member.supervisor.start()
        return not was_up

    async def stop(self, name: str, hurried: asyncio.Event | None = None) -> None:
        """Down when it returns. With `hurried` the turn under way may end first, until that is set."""
        member = self._member(name)
        await self._record(member.agent, wanted=Wanted.DOWN, asleep=False)
        member.sleep.stay_awake()
        await member.supervisor.stop(hurried)
        await self.way_out.tell(self.agents())

    async def restart(self, name: str) -> None:
        member = self._member(name)
        self._give_room(member.agent)
        await self._record(member.agent, wanted=Wanted.UP, asleep=False)
        await member.supervisor.restart()

    async def begin_anew(self, agent: Agent) -> None:
        """Its container is ended whatever it is at; another comes where one is wanted."""
        if agent.should_run:
            await self._member(agent.name).supervisor.restart()
        else:  # it is being stopped, and given time for that
            await self.house.keeper(agent).kill(container_name(agent.name))

    async def keep_down(self, name: str, why: str, *, at_once: bool) -> None:
        """For the disk's sake it has no container until `let_up` or a start; its messages go back unharmed."""
        member = self._member(name)
        agent = member.agent
        agent.no_room = why
        self.hold(agent)
        member.sleep.stay_awake()
        await (member.supervisor.halt() if at_once else member.supervisor.align())
        self.mailbox.take_back(agent.name, "the hive has stopped its container: there is no room on the disk")

    async def let_up(self, name: str) -> bool:
        """Its container comes again where it is wanted; whether the disk had kept it down."""
        member = self._member(name)
        if not member.agent.no_room:
            return False
        self._give_room(member.agent)
        await member.supervisor.align()
        return True

    def _give_room(self, agent: Agent) -> None:
        if agent.no_room:
            agent.no_room = ""
            self.hold(agent)

    async def switch(
        self, name: str, config: Deployed, given_up: asyncio.Event, generation: Generation | None = None
    ) -> bool:
        """From now on the agent is what this config says, made from this generation where its backend has such;
        whether its container was made anew for it.

        Raises FaultError when the new container does not come up, or it is given up. However it fails, the agent has
        its former config and generation again, and a container that is made from them.
        """
        member = self._member(name)
        agent, before = member.agent, member.agent.config
        built_with = agent.row.built_with
        made_from = await self.house.images.current(name) if generation else None
        agent.config = config
        try:
            if generation is not None:
                await self.house.images.switch(name, generation)
        except BaseException:
            agent.config = before
            raise
        if not agent.should_run:
            return False
        member.sleep.stay_awake()
        try:
            await member.supervisor.replace(given_up)
        except BaseException as error:
            agent.config = before
            if made_from is not None:
                await self._switch_back(name, made_from)
            if isinstance(error, Exception):
                await self.nixos.go_back(agent, built_with)
                await self._come_back(member)
            raise
        return True

    async def _switch_back(self, name: str, generation: Generation) -> None:
        """A disk that has no room for it keeps nobody down: the start finds one that has the config's packages."""
        try:
            await self.house.images.switch(name, generation)
        except (FaultError, OSError) as error:
            log.error("the former generation is not the current one again", agent=name, error=str(error))

    async def move(self, name: str, to: BackendKind, before: BackendKind, given_up: asyncio.Event) -> bool:
        """Its containers are made by that backend from now on; whether one was made.

        Raises FaultError when the new one does not come up, or it is given up: then it is as it was.
        """
        member = self._member(name)
        agent = member.agent
        member.sleep.stay_awake()
        await member.supervisor.stop()
        try:
            await self._settle_in(agent, to)
            if agent.should_run:
                await member.supervisor.replace(given_up)
        except BaseException as error:
            await asyncio.shield(self._record(agent, backend=before))
            if isinstance(error, Exception) and agent.should_run:
                await self._come_back(member)
            raise
        await self.house.keepers.of(before).erase(container_name(agent.name))
        return agent.should_run

    async def _settle_in(self, agent: Agent, backend: BackendKind) -> None:
        """What is the agent's is owned as its new containers want it."""
        before = agent.row.uid
        if backend is BackendKind.NSPAWN and before is not None and before in directories.FORMER_UIDS:
            uid = await asyncio.to_thread(directories.new_uid, self.house.paths, await self.roster.uids())
            await self.doors.close(agent.name)
            await self._record(agent, backend=backend, uid=uid)  # first: the next start gives what is not given yet
        else:
            await self._record(agent, backend=backend)

    async def _come_back(self, member: _Member) -> None:
        try:
            await member.supervisor.restart()  # what the attempt left running is not of the former config
        except FaultError as fault:
            log.error("the former container does not start again", agent=member.agent.name, error=fault.message)

    async def refresh(self, name: str) -> None:
        """The roster's row of the agent was written by others."""
        if (member := self._members.get(AgentName(name))) and (row := await self.roster.get(name)):
            member.agent.row = row
            self.chronicle.changed(member.agent)

    async def set_paused(self, name: str, paused: bool) -> None:
        """A paused agent finishes its turn and then takes no mail; it works on a stopped one too."""
        agent = self._member(name).agent
        await self._record(agent, paused=paused)
        self.mailbox.set_held(agent.name, agent.held)
        if agent.peer is not None:
            agent.peer.notify(PAUSE, Pause(paused=paused))
        if not paused and await self.mailbox.unread(agent.name):
            self.mail_waits(agent.name)

    def hold(self, agent: Agent) -> None:
        """What says whether it is given mail has changed."""
        self.mailbox.set_held(agent.name, agent.held)
        if not agent.held:
            self.mail_waits(agent.name)
        self.chronicle.changed(agent)

    async def set_limit(self, agent: Agent, *, until: float, by: str = "", cause: str = "") -> None:
        """A usage limit holds it until then; with 0 it goes on."""
        await self._record(agent, limited_until=until, limited_by=by, limited_for=cause if until else "")
        self.hold(agent)
        if not until and agent.peer is not None and not agent.row.paused:
            agent.peer.notify(PAUSE, Pause(paused=False))  # its harness waits, too

    async def set_needs_login(self, agent: Agent, needed: bool, why: str = "") -> None:
        """The harness has found out; whoever should know is told when it is news."""
        if needed != agent.row.needs_login:
            await self._record(agent, needs_login=needed)
            if self._news_of_logins.take(agent.name, asyncio.get_running_loop().time()):
                return  # only a harness that means harm changes its mind so often
            event = "needs_login" if needed else "logged_in"
            await self.notices.add(helper_event(event, agent=agent.name, note=why if needed else ""))

    def check_parent(self, name: AgentName, parent: str) -> None:
        """Raises FaultError (`bad_config`) when the parent is steered, at whatever remove, by the agent itself."""
        above = parent
        for _ in range(len(self._members)):
            if above == name:
                raise FaultError(
                    FaultKind.BAD_CONFIG, f"cannot use agent.toml: {parent!r} is steered by {name!r} itself"
                )
            above = self.get(above).parent if above in self else ""

    # sleep

    def rest_changed(self, name: AgentName) -> None:
        self._members[name].sleep.rest_changed()

    def mail_waits(self, name: str) -> None:
        """Mail can be leased to the agent and nobody waits for it: a sleeper is woken."""
        if member := self._members.get(AgentName(name)):
            member.sleep.mail_waits()

    async def _record_sleep(self, agent: Agent, asleep: bool) -> None:
        await self._record(agent, asleep=asleep)

    # what it is made of

    async def _launch(self, agent: Agent) -> Life:
        if agent.config.problem:
            agent.config = await self.configs.at(agent.name, agent.row.deployed_sha)
        generation = await self.house.generation(agent)
        await self._record_make(agent, generation)
        async with self._starts:
            await self.house.furnish(agent, self.names())
            await self.doors.open(agent)
            await self.way_out.open(agent, self.agents())
            return await self.house.keeper(agent).start(await self.house.spec(agent, generation))

    async def _record_make(self, agent: Agent, generation: Generation | None) -> None:
        """What it is made of is there, and written down: what runs is never of unknown make."""
        # It may take as long as a build: those who only start need not wait.
        made_of = await self.nixos.install(agent, [str(name) for name in self.names()], self.check_parent)
        if made_of is None:
            made_of = self.house.made_of(agent, generation.recipe.base if generation else "")
        if agent.row.built_with != made_of:
            await self._record(agent, built_with=made_of)

    # small things

    async def _join(self, agent: Agent) -> None:
        hooks = Hooks(
            launch=self._launch, changed=self.chronicle.changed, died=self.deaths.died, gave_up=self.deaths.gave_up
        )
        supervisor = Supervisor(agent, lambda: self.house.keeper(agent), hooks)
        agent.furnished = await asyncio.to_thread(self.house.paths.agent_runtime(agent.name).is_dir)
        await self.mailbox.register(agent.name, agent.row.incarnation)
        self.mailbox.set_held(agent.name, agent.held)
        if agent.furnished:
            await self.doors.open(agent)
        sleep = Sleep(agent, supervisor, self.mailbox, self._background, self._record_sleep)
        watch = self._background.begin(supervisor.run())
        self._members[agent.name] = _Member(agent=agent, supervisor=supervisor, sleep=sleep, watch=watch)

    async def _record(self, agent: Agent, **changes: Any) -> None:
        agent.row = await self.roster.update(agent.name, **changes)
        self.chronicle.changed(agent)

    def _member(self, name: str) -> _Member:
        member = self._members.get(known_form(name))
        if member is None:
            raise self.unknown(name)
        return member

    def unknown(self, name: str) -> FaultError:
        """To raise for a name that no agent has."""
        hint = closest(name, self.names())
        return FaultError(FaultKind.UNKNOWN_AGENT, f'agent "{name}" is not managed by this hive; {hint}')
