"""The frame of every bench: rows with a ratio against something measured in the same run, in one table."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

Say = Callable[[str], None]
"""Tells whoever runs the bench what is measured now."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured figure. The ratio and whether the target was reached are what counts: absolute figures vary."""

    name: str
    figure: str
    unit: str = ""
    ratio: float | None = None
    against: str = ""
    target: str = ""
    reached: bool | None = None  #: None where there is no target, or it could not be measured
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A bound on a ratio or a count."""

    at_most: float | None = None
    at_least: float | None = None

    def reached(self, value: float) -> bool:
        return not (
            (self.at_most is not None and value > self.at_most)
            or (self.at_least is not None and value < self.at_least)
        )

    def __str__(self) -> str:
        return f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A figure over the rounds."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __format__(self, spec: str) -> str:
        low, high = min(self.values), max(self.values)
        return f"{self.median:{spec}} [{low:{spec}}..{high:{spec}}]"


def row(
    name: str, figures: Sequence[float], *, unit: str, spec: str = ",.0f", against: str = "",
    ratios: Sequence[float] = (), target: Target | None = None, note: str = "",
) -> Row:  # fmt: skip
    """A row over rounds: the median of the figures and of the ratios that were taken round by round."""
    ratio = Spread(values=ratios).median if ratios else None
    if len(ratios) > 1:
        note = f"ratio {Spread(values=ratios):.2f}{'; ' if note else ''}{note}"
    return Row(
        name=name, figure=f"{Spread(values=figures):{spec}}" if len(figures) > 1 else f"{figures[0]:{spec}}",
        unit=unit, ratio=ratio, against=against, target=str(target or ""),
        reached=target.reached(ratio) if target and ratio is not None else None, note=note,
    )  # fmt: skip


def missing(name: str, why: str, *, target: Target | None = None) -> Row:
    """In the place of a row that this machine cannot measure."""
    return Row(name=name, figure="not measured", target=str(target or ""), note=why)


_TITLES: Final = ("what", "figure", "unit", "ratio", "against", "target", "reached", "note")
_MARK: Final = {True: "yes", False: "NO", None: ""}


def _cells(line: Row) -> tuple[str, ...]:
    ratio = "" if line.ratio is None else f"{line.ratio:.3g}"
    return line.name, line.figure, line.unit, ratio, line.against, line.target, _MARK[line.reached], line.note


def show(rows: Sequence[Row]) -> None:
    table = Table(show_lines=False)
    for title in _TITLES:
        table.add_column(title, overflow="fold")
    for line in rows:
        table.add_row(*_cells(line))
    Console(width=200).print(table)


def as_json(rows: Sequence[Row]) -> str:
    return json.dumps([asdict(line) for line in rows], indent=2)


def as_markdown(rows: Sequence[Row]) -> str:
    """The table as it stands in a page."""
    lines = [_TITLES, ("---",) * len(_TITLES), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def steal() -> tuple[int, int]:
    """Ticks taken from this machine by its host, and all ticks, since it started."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return ticks[7], sum(ticks[:8])
