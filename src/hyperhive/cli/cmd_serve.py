"""`hive serve`: the daemon itself. The one command that is not a client."""

import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from msgspec import structs

from hyperhive.config import settings_file
from hyperhive.config.paths import Paths
from hyperhive.config.settings_file import DaemonSettings, DashboardSettings
from hyperhive.protocol.backend import BackendKind

S = TypeVar("S", DaemonSettings, DashboardSettings)


def run(
    settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A file with settings, in JSON; the options beside it go before what it says."
        ),
    ] = None,
    rehearsal: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Play the rehearsal model whose model.sock is in DIR: no login, no cost."),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="auto|text|json", help="How to write the log; auto unless set.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write the log as JSON lines.")] = False,
    manager: Annotated[
        bool | None, typer.Option("--manager/--no-manager", help="Make a manager agent when there is none, or not.")
    ] = None,
    backend: Annotated[
        BackendKind | None,
        typer.Option(help="How the containers of new agents are made, unless their spawn says otherwise."),
    ] = None,
    dashboard: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Where the dashboard listens, 127.0.0.1:7000 unless set; port 0 is a free one."
        ),
    ] = None,
    no_dashboard: Annotated[bool, typer.Option("--no-dashboard", help="Open no dashboard.")] = False,
    dashboard_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="How browsers reach it by another name, as https://hive.example.org."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The dashboard's certificate with its chain, in PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key, in PEM.")] = None,
) -> int:
    """Run the hive in the foreground until it is told to stop."""
    if log_format not in (None, "auto", "text", "json"):
        raise typer.BadParameter("--log-format takes auto, text or json")
    from hyperhive.daemon.main import serve

    paths = Paths.from_environment(os.environ, os.geteuid())
    written = DaemonSettings() if settings is None else settings_file.read(settings)
    pages = _with(
        written.dashboard, enable=False if no_dashboard else None, address=dashboard, url=dashboard_url,
        tls_cert=_text(tls_cert), tls_key=_text(tls_key),
    )  # fmt: skip
    wanted = _with(
        written, log_format="json" if json else log_format, manager=manager, dashboard=pages, backend=backend
    )
    return serve(paths, wanted, rehearsal=rehearsal)


def _with(settings: S, **given: Any) -> S:
    return structs.replace(settings, **{key: value for key, value in given.items() if value is not None})


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
