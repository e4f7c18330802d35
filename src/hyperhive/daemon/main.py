"""The daemon: paths and settings into objects, objects into one running hive, and its ordered stop."""

import asyncio
import contextlib
import functools
import os
import signal
import sys
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvloop

from hyperhive.api import host
from hyperhive.api.agent import AgentDoors, AgentSide
from hyperhive.broker.approvals import Approvals
from hyperhive.broker.database import Database
from hyperhive.broker.decisions import Decisions
from hyperhive.broker.deployments import Deployments
from hyperhive.broker.events import EventLog
from hyperhive.broker.jobs import JobDraft, JobRow, Jobs
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.notices import Notices
from hyperhive.broker.questions import Questions
from hyperhive.broker.reminders import Reminders
from hyperhive.broker.roster import Roster
from hyperhive.broker.turns import Turns
from hyperhive.broker.web_sessions import WebSessions
from hyperhive.config import claude
from hyperhive.config.paths import Paths
from hyperhive.containers.bubblewrap import Bubblewrap
from hyperhive.containers.cgroups import find_limiter
from hyperhive.containers.egress import Egress
from hyperhive.containers.host import Host, read_host
from hyperhive.containers.runtime import Runtime
from hyperhive.daemon import logs
from hyperhive.daemon.claim import claimed
from hyperhive.daemon.housekeeping import once, persist, sweep
from hyperhive.daemon.systemd import notify
from hyperhive.hub import directories
from hyperhive.hub.asking import Asking
from hyperhive.hub.chronicle import Chronicle
from hyperhive.hub.config_reader import ConfigReader
from hyperhive.hub.configs import Configs
from hyperhive.hub.desk import Desk
from hyperhive.hub.doors import Doors
from hyperhive.hub.fleet import Fleet, House
from hyperhive.hub.hive import Hive
from hyperhive.hub.plan import Tooling
from hyperhive.hub.queue import JobQueue
from hyperhive.hub.runners import Runners
from hyperhive.hub.shape import Shape
from hyperhive.hub.steering import Steering
from hyperhive.hub.way_out import WayOut
from hyperhive.hub.work import Work
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.credentials import real_credentials
from hyperhive.web.app import create_app
from hyperhive.web.serving import serving
from hyperhive.web.settings import WebSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """Where to open it, as the operator wrote it."""

    address: str  #: HOST:PORT
    tls_cert: Path | None = None
    tls_key: Path | None = None
    public_url: str = ""

    def settings(self) -> WebSettings:
        """Raises FaultError (`bad_config`)."""
        return WebSettings.from_arg(
            self.address, tls_cert=self.tls_cert, tls_key=self.tls_key, public_url=self.public_url
        )


def serve(
    paths: Paths,
    *,
    rehearsal: Path | None,
    log_format: str = "auto",
    manager: bool = True,
    dashboard: Dashboard | None = None,
) -> int:
    """Run the hive until SIGTERM or SIGINT; the process's exit status. Containers live on when it ends.

    With `manager` it makes one when there is none. Without `dashboard` there is none.

    `rehearsal` is the directory of the rehearsal model's socket: then no agent gets a network or a credential.
    """
    logs.configure(log_format)
    os.umask(0o022)  # the manager reads what is applied; where nobody may look, the directory's own mode says so
    try:
        uvloop.run(_serve(paths, rehearsal, manager, dashboard.settings() if dashboard else None))
    except FaultError as fault:
        log.error("cannot run the hive", reason=fault.message)
        sys.stderr.write(f"error: {fault.message}\n")
        return 1
    return 0


async def _serve(paths: Paths, rehearsal: Path | None, manager: bool, web: WebSettings | None) -> None:
    _refuse_both_models(rehearsal)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with hive_at(paths, rehearsal=rehearsal) as hive, dashboard_of(hive, web), host.serving(paths, hive):
        log.info("the hive is ready", socket=str(paths.host_socket), agents=len(hive.fleet.names()))
        notify("READY=1")
        await hive.shape.begin(manager=manager)
        await stop.wait()
        notify("STOPPING=1")
        log.info("the hive stops; its containers run on")


@contextlib.asynccontextmanager
async def dashboard_of(hive: Hive, settings: WebSettings | None) -> AsyncIterator[None]:
    """The hive's pages, for as long as it is entered; nothing without settings. Raises as `serving`."""
    if settings is None:
        yield
        return

    def tell(port: int) -> None:
        if port:
            hive.doors.open_at(settings.url(port))
            log.info("the dashboard is open", url=settings.url(port))
        else:
            hive.doors.close("the daemon is stopping")

    hive.doors.close(f"another program has port {settings.port}; the hive tries again until it is free")
    async with serving(create_app(hive, hive.doors, settings), settings, tell):
        yield


@contextlib.asynccontextmanager
async def hive_at(paths: Paths, *, rehearsal: Path | None) -> AsyncIterator[Hive]:
    """A whole hive without its admin socket, for as long as it is entered.

    Left in the reverse order of what follows: stop watching containers (they run on), end the agents' connections
    (their runners come back), leave the egress proxy serving, and last of all flush and close the database.
    """
    await asyncio.to_thread(directories.make_hive, paths)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(claimed(paths.runtime_dir))
        await asyncio.to_thread(directories.sweep, paths)
        database = await Database.open(paths.database)
        stack.push_async_callback(database.close)
        events = await EventLog.open(database)
        stack.callback(events.close)
        chronicle = Chronicle(events)
        mailbox = await Mailbox.open(database)
        stack.callback(mailbox.close)
        machine = await read_host()
        egress = Egress(
            paths.runtime_dir / "egress",
            lambda refusal: desk.egress_refused(refusal),
            prefix=_own_unit(machine, paths),
        )
        stack.push_async_callback(egress.close, stop=False)

        def side_of_this_hive() -> AgentSide:
            return side

        doors = AgentDoors(paths, side_of_this_hive)
        house = await _house(paths, machine, rehearsal)
        stack.push_async_callback(house.runtime.close)
        notices = Notices(database, mailbox)
        configs = _configs(house)
        fleet = Fleet(
            house=house,
            mailbox=mailbox,
            roster=Roster(database),
            chronicle=chronicle,
            doors=doors,
            way_out=WayOut(egress, paths, closed=rehearsal is not None),
            configs=configs,
            notices=notices,
        )
        desk = Desk(fleet=fleet, mailbox=mailbox, chronicle=chronicle)
        shape = _shape(database, fleet, configs, notices)
        asking = Asking(
            fleet=fleet,
            questions=shape.work.questions,
            reminders=shape.work.reminders,
            approvals=shape.approvals,
            shape=shape,
        )
        side = AgentSide(
            runners=Runners(fleet=fleet, mailbox=mailbox, events=events, turns=Turns(database), chronicle=chronicle),
            asking=asking,
            steering=Steering(fleet=fleet, shape=shape, queue=shape.queue),
        )
        mailbox.on_change = desk.mail_moved
        mailbox.on_queued = fleet.mail_waits
        database.on_pressure = doors.press
        asking.questions.on_change = asking.question_changed
        asking.reminders.on_change = asking.reminder_changed
        stack.push_async_callback(doors.close_all)
        await stack.enter_async_context(fleet.running())
        await _open_timers(stack, asking)
        await stack.enter_async_context(shape.queue.running())
        for name, task in (
            ("sweeper", sweep(mailbox, events, shape.work, shape.queue.jobs)),
            ("notices", persist("delivering notices", notices.run)),
            ("tags", once("making git agree with the database", shape.settle)),
        ):
            stack.callback(asyncio.create_task(task, name=name).cancel)
        yield Hive(
            fleet=fleet, desk=desk, mailbox=mailbox, shape=shape, queue=shape.queue, asking=asking,
            doors=Doors(WebSessions(database)),
        )  # fmt: skip


def _configs(house: House) -> Configs:
    reader = ConfigReader(
        paths=house.paths, tooling=house.tooling, runtime=house.runtime, per_agent_uids=house.per_agent_uids
    )
    return Configs(paths=house.paths, backend=house.runtime.backend.kind, reader=reader)


def _shape(database: Database, fleet: Fleet, configs: Configs, notices: Notices) -> Shape:
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


async def _open_timers(stack: contextlib.AsyncExitStack, asking: Asking) -> None:
    await asking.questions.open()
    stack.callback(asking.questions.close)
    await asking.reminders.open()
    stack.callback(asking.reminders.close)


async def _house(paths: Paths, machine: Host, rehearsal: Path | None) -> House:
    tooling = await asyncio.to_thread(lambda: Tooling.of_this_process(claude.find(os.environ)))
    limiter = await asyncio.to_thread(
        functools.partial(find_limiter, _slice(paths), systemd_version=machine.systemd_version)
    )
    return House(
        paths=paths,
        tooling=tooling,
        runner_argv=(sys.executable, "-I", "-m", "hyperhive.harness.runner"),
        runtime=Runtime(paths.containers, Bubblewrap(machine), limiter),
        rehearsal=rehearsal,
        per_agent_uids=os.geteuid() == 0,
    )


def _slice(paths: Paths) -> str:
    """Keeps the control groups of two hives on one host apart."""
    return f"hyperhive-{zlib.crc32(bytes(paths.runtime_dir)):08x}"


def _own_unit(machine: Host, paths: Paths) -> tuple[str, ...]:
    """What keeps the egress proxy alive when systemd ends the daemon's own unit."""
    if not machine.systemd_version:
        return ()
    manager = () if os.geteuid() == 0 else ("--user",)
    return ("systemd-run", *manager, "--quiet", "--scope", "--collect", f"--unit={_slice(paths)}-egress", "--")


def _refuse_both_models(rehearsal: Path | None) -> None:
    found = real_credentials(os.environ) if rehearsal is not None else []
    if found:
        raise FaultError(
            FaultKind.NOT_ALLOWED,
            f"cannot rehearse with real credentials in the environment ({', '.join(found)}): a hive uses the "
            "rehearsal model or real credentials, never both; unset them for this hive",
        )
