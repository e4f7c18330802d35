"""`hive open`: the dashboard in the browser."""

import html
import os
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from hyperhive.cli.hive import ask
from hyperhive.cli.output import put, put_json, say
from hyperhive.protocol import host


def run(
    json: Annotated[bool, typer.Option("--json", help="Print the link as JSON, for a program that opens it.")] = False,
) -> None:
    """Open the dashboard in your browser, logged in. Where there is no browser, print the link instead."""
    answer = ask(host.LoginLink())
    link = str(answer.login_link)
    if json:
        put_json(answer)
    elif webbrowser.open(leading_to(link).as_uri()):
        say("the dashboard is open in your browser")
    else:
        put(link)
        say("there is no browser here; open the link within a minute, it works once")


def leading_to(link: str) -> Path:
    """A page that only this user can read and that leads there: everyone on the machine sees a program's arguments."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    page = Path(runtime or tempfile.mkdtemp(prefix="hive-open-")) / "hive-open.html"
    page.unlink(missing_ok=True)
    descriptor = os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={html.escape(link)}">\n')
    return page
