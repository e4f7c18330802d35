"""`hive migrate-from-hyperhive`: an installation of the original becomes one of this hive."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from hyperhive.cli.options import Json
from hyperhive.cli.output import put_json, say
from hyperhive.config.paths import Paths
from hyperhive.protocol.backend import BackendKind


def run(
    old: Annotated[Path, typer.Argument(metavar="DIR", help="The original's state: /var/lib/hyperhive, or a copy.")],
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this it is only looked at.")] = False,
    backend: Annotated[
        BackendKind, typer.Option(help="How the containers of its agents are made.")
    ] = BackendKind.NIXOS,
    containers: Annotated[
        Path, typer.Option(metavar="DIR", help="Where nixos-container keeps its files: who is there lives.")
    ] = Path("/etc/nixos-containers"),
    json: Json = False,
) -> None:
    """Take over agents, configs, logins, state, mail and reminders of the original. Looks only, unless told otherwise.

    Everything is copied; the old tree is not written to. When it lies where this hive's state belongs, it is moved
    aside as a whole, last of all. Agents are down afterwards.
    """
    from hyperhive.daemon.migration import Migration

    paths = Paths.from_environment(os.environ, os.geteuid())
    migration = Migration(old=old.absolute(), target=paths, backend=backend, containers=containers)
    report = asyncio.run(migration.apply() if apply else migration.look())
    if json:
        put_json(report)
        return
    say(f"{report.old} → {report.new}")
    for line in report.taken:
        say(f"  taken  {line}" if apply else f"  would take  {line}")
    for line in report.left:
        say(f"  left   {line}" if apply else f"  would leave  {line}")
    if report.aside:
        say(f"the old tree is {report.aside}")
    say(
        "done; start the hive, look at `hive list`, then `hive start NAME`"
        if apply
        else "nothing was changed; --apply does it"
    )
