"""The daemon: paths and settings into objects, objects into one running hive, and its ordered stop."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
import uvloop

from hyperhive.api import host
from hyperhive.config.paths import Paths, is_present
from hyperhive.config.settings_file import AgentDefaults, DaemonSettings, DashboardSettings
from hyperhive.containers.spec import Limits
from hyperhive.daemon import logs
from hyperhive.daemon.assembly import hive_at
from hyperhive.daemon.systemd import notify
from hyperhive.hub.hive import Hive
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import LimitSettings
from hyperhive.rehearsal.credentials import real_credentials
from hyperhive.web.settings import WebSettings

log = structlog.get_logger(__name__)


def serve(paths: Paths, settings: DaemonSettings, *, rehearsal: Path | None) -> int:
    """Run the hive until SIGTERM or SIGINT; the process's exit status. Containers live on when it ends.

    `rehearsal` is the directory of the rehearsal model's socket: then no agent gets a network or a credential.
    """
    logs.configure(settings.log_format)
    os.umask(0o022)  # the manager reads what is applied; where nobody may look, the directory's own mode says so
    try:
        _check(settings)
        uvloop.run(_serve(paths, settings, rehearsal, web_settings(settings.dashboard)))
    except FaultError as fault:
        log.error("cannot run the hive", reason=fault.message)
        sys.stderr.write(f"error: {fault.message}\n")
        return 1
    return 0


def web_settings(dashboard: DashboardSettings) -> WebSettings | None:
    """None when there is to be no dashboard. Raises FaultError (`bad_config`)."""
    if not dashboard.enable:
        return None
    return WebSettings.from_arg(
        dashboard.address,
        tls_cert=Path(dashboard.tls_cert) if dashboard.tls_cert else None,
        tls_key=Path(dashboard.tls_key) if dashboard.tls_key else None,
        public_url=dashboard.url,
    )


def _check(settings: DaemonSettings) -> None:
    """What the form of the settings cannot tell. Raises FaultError (`bad_config`)."""
    _check_limits(settings.agents)


def _check_limits(defaults: AgentDefaults) -> None:
    usual = LimitSettings()
    try:
        Limits.from_settings(LimitSettings(cpu=defaults.cpu or usual.cpu, memory=defaults.memory or usual.memory))
    except FaultError as fault:
        raise FaultError(fault.kind, f"cannot use the defaults of agents: {fault.message}") from None


async def _serve(paths: Paths, settings: DaemonSettings, rehearsal: Path | None, web: WebSettings | None) -> None:
    _refuse_both_models(paths, settings, rehearsal)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        hive_at(paths, rehearsal=rehearsal, settings=settings) as hive,
        dashboard_of(hive, web),
        host.serving(paths, hive),
    ):
        log.info("the hive is ready", socket=str(paths.host_socket), agents=len(hive.fleet.names()))
        notify("READY=1")
        await hive.shape.begin(manager=settings.manager)
        await stop.wait()
        notify("STOPPING=1")
        log.info("the hive stops; its containers run on")


@contextlib.asynccontextmanager
async def dashboard_of(hive: Hive, settings: WebSettings | None) -> AsyncIterator[None]:
    """The hive's pages, for as long as it is entered; nothing without settings. Raises as `serving`."""
    if settings is None:
        yield
        return
    from hyperhive.web.app import create_app  # what only a dashboard needs, and a second to load it
    from hyperhive.web.rendering import compile_templates
    from hyperhive.web.serving import serving

    def tell(port: int) -> None:
        if port:
            hive.doors.open_at(settings.url(port))
            log.info("the dashboard is open", url=settings.url(port))
        else:
            hive.doors.close("the daemon is stopping")
            hive.tokens.open.close()

    hive.doors.close(f"another program has port {settings.port}; the hive tries again until it is free")
    async with serving(create_app(hive, hive.doors, settings), settings, tell):
        compiling = asyncio.create_task(asyncio.to_thread(compile_templates))
        try:
            yield
        finally:
            await compiling


def _refuse_both_models(paths: Paths, settings: DaemonSettings, rehearsal: Path | None) -> None:
    found = real_credentials(os.environ) if rehearsal is not None else []
    if found:
        raise FaultError(
            FaultKind.NOT_ALLOWED,
            f"cannot rehearse with real credentials in the environment ({', '.join(found)}): a hive uses the "
            "rehearsal model or real credentials, never both; unset them for this hive",
        )
    named = [settings.credential_file, *(account.credential_file for account in settings.accounts.values())]
    if rehearsal is not None and any(named):
        raise FaultError(
            FaultKind.NOT_ALLOWED,
            f"cannot rehearse with a credential: the settings name {', '.join(filter(None, named))}; a hive uses the "
            "rehearsal model or real credentials, never both",
        )
    if rehearsal is not None and is_present(paths.credential):
        raise FaultError(
            FaultKind.NOT_ALLOWED,
            "cannot rehearse beside the hive's own credential: a hive uses the rehearsal model or real credentials, "
            "never both; `hive auth unset` removes it while the hive runs without --rehearsal",
        )
