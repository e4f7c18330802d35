"""`hive serve`: the daemon itself. The one command that is not a client."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hyperhive.config.paths import Paths
from hyperhive.protocol.backend import BackendKind


def run(
    rehearsal: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Play the rehearsal model whose model.sock is in DIR: no login, no cost."),
    ] = None,
    log_format: Annotated[str, typer.Option(metavar="auto|text|json", help="How to write the log.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Write the log as JSON lines.")] = False,
    manager: Annotated[
        bool, typer.Option("--manager/--no-manager", help="Make a manager agent when there is none.")
    ] = True,
    backend: Annotated[
        BackendKind, typer.Option(help="How the containers of new agents are made, unless their spawn says otherwise.")
    ] = BackendKind.BUBBLEWRAP,
    dashboard: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the dashboard listens; port 0 is a free one.")
    ] = "127.0.0.1:7000",
    no_dashboard: Annotated[bool, typer.Option("--no-dashboard", help="Open no dashboard.")] = False,
    dashboard_url: Annotated[
        str, typer.Option(metavar="URL", help="How browsers reach it by another name, as https://hive.example.org.")
    ] = "",
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The dashboard's certificate with its chain, in PEM.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key, in PEM.")] = None,
) -> int:
    """Run the hive in the foreground until it is told to stop."""
    if log_format not in ("auto", "text", "json"):
        raise typer.BadParameter("--log-format takes auto, text or json")
    from hyperhive.daemon.main import Dashboard, serve

    paths = Paths.from_environment(os.environ, os.geteuid())
    pages = Dashboard(address=dashboard, tls_cert=tls_cert, tls_key=tls_key, public_url=dashboard_url)
    return serve(
        paths,
        rehearsal=rehearsal,
        log_format="json" if json else log_format,
        manager=manager,
        backend=backend,
        dashboard=None if no_dashboard else pages,
    )
