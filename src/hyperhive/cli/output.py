"""What commands print: the result on stdout, talk on stderr. Rich is imported only when something is shown with it."""

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hyperhive.cli.row import Row
from hyperhive.cli.safe import clean, clean_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

QUIET_S: Final = 1.0
"""What takes less than this shows no spinner."""
UNLIMITED_WIDTH: Final = 4000
"""Columns of what is not a screen: nothing is cut or wrapped for a pipe."""


class CliError(Exception):
    """A command cannot do what it was asked; the text says what and what to do."""


def console(*, stderr: bool = False) -> "Console":
    """A console for either stream that interprets nothing in what it prints."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNLIMITED_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=True)


def say(text: str) -> None:
    """Talk to the operator."""
    print(clean(text), file=sys.stderr, flush=True)  # noqa: T201 (this is the door)


def put(text: str) -> None:
    """A line of the result."""
    print(clean(text), flush=True)  # noqa: T201 (this is the door)


def put_json(value: Any) -> None:
    """A wire value on one line."""
    print(clean_json(msgspec.json.encode(value).decode()), flush=True)  # noqa: T201 (this is the door)


def put_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    console().print(_table(columns, rows), soft_wrap=False)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    return table


@contextmanager
def spinner(doing: str) -> Iterator[None]:
    """Shows on a terminal that something goes on, when it goes on for longer than a moment."""
    if not doing or not sys.stderr.isatty():
        yield
        return
    status = console(stderr=True).status(clean(doing))
    timer = threading.Timer(QUIET_S, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


def confirm(loss: str, *, yes: bool) -> None:
    """Ask once before something is lost; raises CliError when the operator does not want it or cannot be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CliError(f"{loss}; nobody is here to ask: say --yes to do it")
    if not agreed(f"{loss}. Go on?"):
        raise CliError("nothing was changed")


def agreed(question: str) -> bool:
    """Whether the operator says yes; anything else is no."""
    return asked(f"{question} [y/N]").lower() in ("y", "yes")


def asked(question: str) -> str:
    """The line that the operator types; empty when the input has ended."""
    print(clean(f"{question} "), end="", file=sys.stderr, flush=True)  # noqa: T201 (this is the door)
    return sys.stdin.readline(4096).strip()


def put_rows(rows: Iterable[Row], *, stderr: bool = False) -> None:
    """Rows as they are, one under the other; in colour on a terminal."""
    out = console(stderr=stderr)
    for row in rows:
        out.out(row.text, style=row.style or None, highlight=False)
