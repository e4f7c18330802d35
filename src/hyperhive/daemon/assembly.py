"""How a hive is put together, and in which order it is taken apart."""

import asyncio
import contextlib
import functools
import os
import sys
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from hyperhive.api.agent import AgentDoors, AgentSide
from hyperhive.broker.api_tokens import ApiTokens
from hyperhive.broker.approvals import Approvals
from hyperhive.broker.budgets import BudgetBook
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Database
from hyperhive.broker.decisions import Decisions
from hyperhive.broker.deployments import Deployments
from hyperhive.broker.events import EventLog
from hyperhive.broker.jobs import JobDraft, JobRow, Jobs
from hyperhive.broker.letters import MailChange
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.notices import Notices
from hyperhive.broker.questions import Questions
from hyperhive.broker.reminders import Reminders
from hyperhive.broker.reserve import Reserve
from hyperhive.broker.roster import Roster
from hyperhive.broker.schedules import Schedules
from hyperhive.broker.totals import Totals
from hyperhive.broker.turns import Turns
from hyperhive.broker.web_sessions import WebSessions
from hyperhive.config import claude
from hyperhive.config.paths import Paths
from hyperhive.config.settings_file import DaemonSettings
from hyperhive.containers import nixos_host, systemd
from hyperhive.containers.bubblewrap import Bubblewrap
from hyperhive.containers.cgroups import Limiter, find_limiter
from hyperhive.containers.egress import Egress
from hyperhive.containers.host import Host, read_host
from hyperhive.containers.journals import Journals
from hyperhive.containers.keeper import Keeper, Keepers
from hyperhive.containers.nixos import NixosKeeper
from hyperhive.containers.nixos_host import NixosHost
from hyperhive.containers.nspawn import Nspawn
from hyperhive.containers.runtime import Runtime
from hyperhive.daemon.claim import claimed
from hyperhive.daemon.housekeeping import once, persist, sweep
from hyperhive.hub import directories
from hyperhive.hub.asking import Asking
from hyperhive.hub.background import Background
from hyperhive.hub.budgets import Budgets
from hyperhive.hub.chronicle import Chronicle
from hyperhive.hub.config_reader import ConfigReader
from hyperhive.hub.configs import Configs
from hyperhive.hub.credentials import Credentials
from hyperhive.hub.deaths import Deaths
from hyperhive.hub.desk import Desk
from hyperhive.hub.disk_guard import DiskGuard
from hyperhive.hub.disk_house import DiskHouse
from hyperhive.hub.doors import Doors
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.hive import Hive
from hyperhive.hub.house import House
from hyperhive.hub.limits import Limits
from hyperhive.hub.lookout import Lookout
from hyperhive.hub.nixos_agents import NixosAgents, pin
from hyperhive.hub.notify.newsroom import Newsroom
from hyperhive.hub.notify.notifications import Notifications, Sender
from hyperhive.hub.plan import Tooling
from hyperhive.hub.prices import Prices
from hyperhive.hub.queue import JobQueue
from hyperhive.hub.runners import Runners
from hyperhive.hub.schedules import Scheduling
from hyperhive.hub.shape import Shape
from hyperhive.hub.steering import Steering
from hyperhive.hub.systems import Systems
from hyperhive.hub.tokens import Tokens
from hyperhive.hub.way_out import WayOut
from hyperhive.hub.work import Work
from hyperhive.images.images import Images
from hyperhive.protocol.backend import BackendKind
from hyperhive.repos.meta import MetaRepository
from hyperhive.repos.meta_flake import Base


@dataclass(frozen=True, kw_only=True)
class _Store:
    """What is kept in the database, as far as more than one part of the hive needs it."""

    database: Database
    mailbox: Mailbox
    notices: Notices
    chronicle: Chronicle


@contextlib.asynccontextmanager
async def hive_at(
    paths: Paths, *, rehearsal: Path | None, settings: DaemonSettings | None = None, clock: Clock | None = None
) -> AsyncIterator[Hive]:
    """A whole hive without its admin socket, for as long as it is entered. By the clock it watches its agents.

    Left in the reverse order of what follows: stop watching containers (they run on), end the agents' connections
    (their runners come back), leave the egress proxy serving, and last of all flush and close the database.
    """
    settings = settings or DaemonSettings()
    await asyncio.to_thread(directories.make_hive, paths)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(claimed(paths.runtime_dir))
        await asyncio.to_thread(directories.sweep, paths)
        store = await stack.enter_async_context(_store(paths))
        machine = await read_host()
        egress = Egress(paths.runtime_dir / "egress", store.chronicle.egress_refused, prefix=_own_unit(machine, paths))
        stack.push_async_callback(egress.close, stop=False)
        doors = AgentDoors(paths)
        house = await _house(paths, machine, rehearsal, settings)
        stack.push_async_callback(house.keepers.close)
        await house.images.open()
        configs = _configs(house, settings)
        fleet = Fleet(
            house=house,
            mailbox=store.mailbox,
            roster=Roster(store.database),
            chronicle=store.chronicle,
            doors=doors,
            way_out=WayOut(egress, paths, closed=rehearsal is not None),
            configs=configs,
            notices=store.notices,
            nixos=NixosAgents(house=house, configs=configs),
            deaths=Deaths(house=house, mailbox=store.mailbox, chronicle=store.chronicle, notices=store.notices),
        )
        if house.systems is not None:
            house.systems.wanted = lambda name: pin(agent := fleet.get(name), agent.config) if name in fleet else None
        shape, rehearsing = _shape(store, fleet, configs), rehearsal is not None
        hive = _hive(store, fleet, shape, rehearsing=rehearsing, clock=clock or SystemClock())
        await _open_credentials(hive, settings)
        doors.answer_with(_agents_side(store, hive))
        _listen(store, hive, doors)
        stack.push_async_callback(doors.close_all)
        await hive.budgets.load()
        await stack.enter_async_context(fleet.running())
        await hive.budgets.open()
        stack.push_async_callback(hive.budgets.close)
        await hive.limits.open()
        stack.push_async_callback(hive.limits.close)
        await hive.lookout.open()
        stack.push_async_callback(hive.lookout.close)
        await stack.enter_async_context(_guarded_disk(store, hive, settings))
        await stack.enter_async_context(_timers(hive.asking, hive.scheduling))
        await stack.enter_async_context(hive.queue.running())
        await stack.enter_async_context(_upkeep(store, hive))
        await stack.enter_async_context(hive.notifications.running())
        yield hive


async def _open_credentials(hive: Hive, settings: DaemonSettings) -> None:
    own = Path(settings.credential_file) if settings.credential_file else None
    accounts = {name: Path(account.credential_file) for name, account in settings.accounts.items()}
    await hive.credentials.open(own, accounts)


# what is kept


@contextlib.asynccontextmanager
async def _store(paths: Paths) -> AsyncIterator[_Store]:
    async with contextlib.AsyncExitStack() as stack:
        database = await Database.open(paths.database)
        stack.push_async_callback(database.close)
        events = await EventLog.open(database)
        stack.callback(events.close)
        mailbox = await Mailbox.open(database)
        stack.callback(mailbox.close)
        yield _Store(
            database=database, mailbox=mailbox, notices=Notices(database, mailbox), chronicle=Chronicle(events)
        )


# what agents are made from


async def _house(paths: Paths, machine: Host, rehearsal: Path | None, settings: DaemonSettings) -> House:
    tooling = await asyncio.to_thread(lambda: Tooling.of_this_process(claude.find(os.environ)))
    limiter = await _limiter(paths, machine)
    bubblewrap = Runtime(paths.containers, Bubblewrap(machine), limiter)
    nspawn = Runtime(
        paths.containers.with_name("nspawn"),
        Nspawn(machine),
        await _limiter(paths, machine, "-nspawn"),
        journals=Journals(keeper=bubblewrap),
    )
    each: dict[BackendKind, Keeper] = {BackendKind.BUBBLEWRAP: bubblewrap, BackendKind.NSPAWN: nspawn}
    nixos = await _nixos_host()
    systems = None if nixos is None else _systems(paths, settings, nixos)
    if nixos is not None and systems is not None:
        each[BackendKind.NIXOS] = NixosKeeper(paths.state_dir / "nixos", nixos, systems)
    keepers = Keepers(each=each, usual=BackendKind(settings.backend))
    keepers.of(keepers.usual)  # a hive that could make no agent says so when it starts
    return House(
        paths=paths,
        tooling=tooling,
        runner_argv=(sys.executable, "-I", "-m", "hyperhive.harness.runner"),
        keepers=keepers,
        rehearsal=rehearsal,
        systems=systems,
        per_agent_uids=os.geteuid() == 0,
        images=Images(paths.images, limiter),
    )


async def _limiter(paths: Paths, machine: Host, part: str = "") -> Limiter:
    """Each keeper has its own, so that none takes another's container of the same name for a left-over."""
    return await asyncio.to_thread(
        functools.partial(find_limiter, _slice(machine, paths) + part, systemd_version=machine.systemd_version)
    )


async def _nixos_host() -> NixosHost | None:
    """None where containers of NixOS cannot be made."""
    named = os.environ.get(nixos_host.ROOT_VARIABLE, "")
    return await nixos_host.read_nixos_host(Path(named) if named else None) if os.geteuid() == 0 else None


def _systems(paths: Paths, settings: DaemonSettings, machine: NixosHost) -> Systems:
    own = settings.nixos
    return Systems(
        repository=MetaRepository(paths.meta),
        applied=paths.state_dir / "applied",
        base=Base(
            hyperhive=own.flake, system=own.system, allow_unfree=own.allow_unfree, defaults=settings.agents.beneath()
        ),
        nix=machine,
        wanted=lambda _: None,
    )


def _slice(machine: Host, paths: Paths) -> str:
    """Keeps the control groups of two hives on one host apart; an operator reads it in the names of units."""
    if machine.systemd_version and paths.are_the_systems:
        return "hyperhive"
    return f"hyperhive-{zlib.crc32(bytes(paths.runtime_dir)):08x}"


def _own_unit(machine: Host, paths: Paths) -> tuple[str, ...]:
    """What keeps the egress proxy alive when systemd ends the daemon's own unit."""
    manager = systemd.own_manager()
    return manager.scope(f"{_slice(machine, paths)}-egress") if machine.systemd_version and manager.is_there else ()


def _configs(house: House, settings: DaemonSettings) -> Configs:
    reader = ConfigReader(
        paths=house.paths,
        tooling=house.tooling,
        keeper=house.keepers.of(BackendKind.BUBBLEWRAP),  # whatever the agents' own: it needs nothing but the hive
        per_agent_uids=house.per_agent_uids,
    )
    return Configs(
        paths=house.paths, reader=reader, beneath=settings.agents.beneath(), accounts=frozenset(settings.accounts)
    )


# who decides and who does


def _shape(store: _Store, fleet: Fleet, configs: Configs) -> Shape:
    database, notices = store.database, store.notices
    jobs, approvals, deployments = Jobs(database), Approvals(database), Deployments(database)
    decisions = Decisions(database, jobs, notices)

    async def submit(draft: JobDraft) -> JobRow:
        return await queue.submit(draft)

    work = Work(
        fleet=fleet,
        configs=configs,
        approvals=approvals,
        deployments=deployments,
        questions=Questions(database, notices),
        reminders=Reminders(database, notices),
        schedules=Schedules(database, notices),
        images=fleet.house.images,
        submit=submit,
    )
    queue = JobQueue(jobs, decisions, work)
    return Shape(
        fleet=fleet,
        configs=configs,
        approvals=approvals,
        decisions=decisions,
        deployments=deployments,
        queue=queue,
        work=work,
    )


def _hive(store: _Store, fleet: Fleet, shape: Shape, *, rehearsing: bool, clock: Clock) -> Hive:
    asking = Asking(
        fleet=fleet,
        questions=shape.work.questions,
        reminders=shape.work.reminders,
        approvals=shape.approvals,
        shape=shape,
    )
    doors = Doors(WebSessions(store.database))
    paths = fleet.house.paths
    credentials = Credentials(paths.credential, fleet, kept=paths.accounts, rehearsing=rehearsing)
    return Hive(
        fleet=fleet,
        desk=Desk(fleet=fleet, mailbox=store.mailbox, chronicle=store.chronicle),
        mailbox=store.mailbox,
        shape=shape,
        queue=shape.queue,
        asking=asking,
        scheduling=Scheduling(fleet=fleet, schedules=shape.work.schedules),
        turns=Turns(store.database),
        budgets=Budgets(
            fleet=fleet,
            book=BudgetBook(store.database),
            notices=store.notices,
            prices=Prices.from_file(fleet.house.paths.prices),
        ),
        doors=doors,
        tokens=Tokens(ApiTokens(store.database)),
        totals=Totals(store.database),
        notifications=Notifications(
            fleet.house.paths.notify,
            Newsroom(fleet=fleet, mailbox=store.mailbox, asking=asking),
            Sender(loopback_only=rehearsing),
            lambda: doors.url,
        ),
        credentials=credentials,
        limits=Limits(fleet=fleet, credentials=credentials, kept=Reserve(store.database)),
        lookout=Lookout(
            fleet=fleet, mailbox=store.mailbox, notices=store.notices, submit=shape.queue.submit, clock=clock
        ),
    )


def _agents_side(store: _Store, hive: Hive) -> AgentSide:
    runners = Runners(
        fleet=hive.fleet,
        mailbox=store.mailbox,
        events=store.chronicle.events,
        turns=hive.turns,
        budgets=hive.budgets,
        chronicle=store.chronicle,
        credentials=hive.credentials,
        limits=hive.limits,
        lookout=hive.lookout,
    )
    steering = Steering(fleet=hive.fleet, shape=hive.shape, queue=hive.queue)
    return AgentSide(runners=runners, asking=hive.asking, steering=steering)


def _listen(store: _Store, hive: Hive, doors: AgentDoors) -> None:
    def mail_moved(change: MailChange) -> None:
        hive.desk.mail_moved(change)
        hive.lookout.mail_moved(change)

    def mail_waits(name: str) -> None:
        hive.fleet.mail_waits(name)
        hive.lookout.mail_waits(name)

    def press(busy: bool) -> None:
        doors.press(busy)
        hive.lookout.press(busy)

    store.mailbox.on_change = mail_moved
    store.mailbox.on_queued = mail_waits
    store.database.on_pressure = press
    hive.asking.questions.on_change = hive.asking.question_changed
    hive.asking.reminders.on_change = hive.asking.reminder_changed
    hive.scheduling.schedules.on_change = hive.scheduling.changed
    hive.scheduling.schedules.on_sent = hive.scheduling.sent


# what goes on by itself


@contextlib.asynccontextmanager
async def _timers(asking: Asking, scheduling: Scheduling) -> AsyncIterator[None]:
    await asking.questions.open()
    try:
        await asking.reminders.open()
        await scheduling.open()
        yield
    finally:
        scheduling.schedules.close()
        asking.questions.close()
        asking.reminders.close()


@contextlib.asynccontextmanager
async def _guarded_disk(store: _Store, hive: Hive, settings: DaemonSettings) -> AsyncIterator[None]:
    paths, mib = hive.fleet.house.paths, settings.disk_floor_mib
    house = DiskHouse(fleet=hive.fleet, notices=store.notices)
    guard = DiskGuard(
        place=paths.state_dir, commons=paths.shared, landlord=house, wanted_floor=None if mib is None else mib << 20
    )
    await guard.open()
    try:
        yield
    finally:
        await guard.close()
        await house.close()


@contextlib.asynccontextmanager
async def _upkeep(store: _Store, hive: Hive) -> AsyncIterator[None]:
    background = Background()
    background.begin(sweep(store.mailbox, store.chronicle.events, hive.shape.work, hive.queue.jobs, hive.turns))
    background.begin(persist("delivering notices", store.notices.run))
    background.begin(once("making git agree with the database", hive.shape.settle))
    try:
        yield
    finally:
        await background.close()
