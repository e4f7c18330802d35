"""`hive demo`: a complete hive at work, without a login and without cost."""

import asyncio
import contextlib
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from hyperhive.cli.options import Json
from hyperhive.cli.output import CliError, console, put_json, say
from hyperhive.cli.row import block
from hyperhive.cli.safe import one_line
from hyperhive.cli.terminal import Terminal
from hyperhive.config import trees
from hyperhive.config.paths import Paths

if TYPE_CHECKING:
    from rich.console import Console

    from hyperhive.cli.demo_play import Ending, Show
    from hyperhive.client import Client
    from hyperhive.rehearsal.script import Script


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    ok: bool
    seconds: float
    sender: str = msgspec.field(name="from")
    summary: str
    file: str | None
    content: str


def run(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep the hive here. Without it: in a directory that is removed.")
    ] = None,
    exit_when_done: Annotated[bool, typer.Option("--exit-when-done", help="End when the summary has come.")] = False,
    script: Annotated[str, typer.Option(help="Another scenario of the rehearsal model, or its file.")] = "demo",
    timeout: Annotated[float, typer.Option(min=1, max=3600, help="Seconds to wait for the summary at most.")] = 180,
    json: Json = False,
) -> int:
    """Play a scenario with a whole hive: real containers, the real claude, a scripted model; no login, no cost."""
    from hyperhive.cli import demo_hive
    from hyperhive.rehearsal import scenarios
    from hyperhive.rehearsal.script_file import ScriptError

    try:
        scenario = scenarios.load(script)
    except ScriptError as error:
        raise CliError(str(error)) from None
    with _home(directory) as paths:
        demo_hive.make(paths)
        play = _demo(paths, script, scenario, _show(json=json), timeout_s=timeout, stay=not exit_when_done, json=json)
        return asyncio.run(play)


@contextmanager
def _home(directory: Path | None) -> Iterator[Paths]:
    """Where the hive of the demonstration lives; a throw-away one stays only when something went wrong."""
    if directory is not None:
        yield _paths(directory.absolute())
        return
    made = Path(tempfile.mkdtemp(prefix="hive-demo-"))
    try:
        yield _paths(made)
    except KeyboardInterrupt:
        _remove(made)
        raise
    except CliError as error:
        raise CliError(f"{error}\neverything about it is in {made}") from None
    else:
        _remove(made)


def _paths(home: Path) -> Paths:
    return Paths(state_dir=home / "state", runtime_dir=home / "run")


def _remove(made: Path) -> None:
    try:
        trees.remove(made)
    except OSError as error:
        say(f"some of {made} could not be removed: {error.strerror}")


async def _demo(
    paths: Paths, script: str, scenario: "Script", show: "Show", *, timeout_s: float, stay: bool, json: bool
) -> int:
    from hyperhive.cli import demo_hive, demo_play
    from hyperhive.client import ClientError
    from hyperhive.protocol.faults import FaultError

    started = time.monotonic()
    async with _ended_by_signals():
        say("starting a hive on the rehearsal model …")
        async with demo_hive.running(paths, script) as hive:
            if stay:
                await _tell_where(hive.client)
            try:
                ending = await demo_play.play(hive.client, scenario, paths.shared, show, timeout_s=timeout_s)
            except (ClientError, FaultError, CliError) as error:
                raise CliError(f"{error}\n{await demo_hive.last_words(hive.log)}") from None
            report = _report(ending, time.monotonic() - started)
            _tell(report, json=json)
            if stay:
                _tell_what_next(paths, scenario)
                await hive.daemon.wait()
    return 0 if report.ok else 1


async def _tell_where(client: "Client") -> None:
    """The way into the dashboard, for whoever wants to look on."""
    from hyperhive.protocol import host

    link = (await client.call(host.LoginLink())).login_link
    say(f"watch it in your browser; this lets one in, once, within a minute:\n  {link}\n")


@asynccontextmanager
async def _ended_by_signals() -> AsyncIterator[None]:
    """TERM and HUP end the demonstration as Ctrl-C does: in order."""
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    assert me is not None
    numbers = (signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, me.cancel)
    try:
        yield
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number in numbers:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)


def _show(*, json: bool) -> "Show":
    return Terminal(console(stderr=json), names=True).show


def _report(ending: "Ending", seconds: float) -> Report:
    return Report(
        ok=ending.file is not None,
        seconds=round(seconds, 1),
        sender=ending.summary.sender,
        summary=ending.summary.body,
        file=str(ending.file) if ending.file else None,
        content=ending.content,
    )


def _tell(report: Report, *, json: bool) -> None:
    if json:
        put_json(report)
        return
    out = console()
    _headed(out, f"{report.sender} reports to you", report.summary)
    if report.file is None:
        say("the summary names no file in /shared that is there: something is wrong")
    else:
        _headed(out, report.file, report.content)
    out.out(f"\nDone in {report.seconds} seconds.", highlight=False)


def _headed(out: "Console", heading: str, text: str) -> None:
    out.out("\n" + one_line(heading, 300), style="bold", highlight=False)
    out.out(block(text, 30), highlight=False)


def _tell_what_next(paths: Paths, scenario: "Script") -> None:
    first = scenario.agents[0].name
    say(
        "\nThe hive goes on until you press Ctrl-C. In another terminal:\n"
        + _path_line(Path(sys.executable).parent, shutil.which("hive"))
        + "".join(f"  export {name}={shlex.quote(value)}\n" for name, value in paths.environment().items())
        + "  hive open                       the dashboard in your browser\n"
        "  hive list                       who there is\n"
        "  hive watch                      see them think\n"
        "  hive inbox --all                your mail\n"
        f"  hive send {first} 'hello' --wait   write to one of them\n"
    )


def _path_line(programs: Path, found: str | None) -> str:
    """What puts the commands on the path where they are not, as after `make demo` in a bare clone."""
    return "" if found else f"  export PATH={shlex.quote(str(programs))}:$PATH\n"
