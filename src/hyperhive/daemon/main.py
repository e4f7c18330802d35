"""The daemon: paths and settings into objects, objects into one running hive, and its ordered stop."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvloop

from hyperhive.api import host
from hyperhive.config.paths import Paths, is_present
from hyperhive.daemon import logs
from hyperhive.daemon.assembly import hive_at
from hyperhive.daemon.systemd import notify
from hyperhive.hub.hive import Hive
from hyperhive.protocol.backend import BackendKind
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
    backend: BackendKind = BackendKind.BUBBLEWRAP,
    dashboard: Dashboard | None = None,
) -> int:
    """Run the hive until SIGTERM or SIGINT; the process's exit status. Containers live on when it ends.

    With `manager` it makes one when there is none. `backend` is that of new agents. Without `dashboard` there is none.

    `rehearsal` is the directory of the rehearsal model's socket: then no agent gets a network or a credential.
    """
    logs.configure(log_format)
    os.umask(0o022)  # the manager reads what is applied; where nobody may look, the directory's own mode says so
    try:
        uvloop.run(_serve(paths, rehearsal, manager, backend, dashboard.settings() if dashboard else None))
    except FaultError as fault:
        log.error("cannot run the hive", reason=fault.message)
        sys.stderr.write(f"error: {fault.message}\n")
        return 1
    return 0


async def _serve(
    paths: Paths, rehearsal: Path | None, manager: bool, backend: BackendKind, web: WebSettings | None
) -> None:
    _refuse_both_models(paths, rehearsal)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        hive_at(paths, rehearsal=rehearsal, backend=backend) as hive,
        dashboard_of(hive, web),
        host.serving(paths, hive),
    ):
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
            hive.tokens.open.close()

    hive.doors.close(f"another program has port {settings.port}; the hive tries again until it is free")
    async with serving(create_app(hive, hive.doors, settings), settings, tell):
        yield


def _refuse_both_models(paths: Paths, rehearsal: Path | None) -> None:
    found = real_credentials(os.environ) if rehearsal is not None else []
    if found:
        raise FaultError(
            FaultKind.NOT_ALLOWED,
            f"cannot rehearse with real credentials in the environment ({', '.join(found)}): a hive uses the "
            "rehearsal model or real credentials, never both; unset them for this hive",
        )
    if rehearsal is not None and is_present(paths.credential):
        raise FaultError(
            FaultKind.NOT_ALLOWED,
            "cannot rehearse beside the hive's own credential: a hive uses the rehearsal model or real credentials, "
            "never both; `hive auth unset` removes it while the hive runs without --rehearsal",
        )
