"""What a row of the bench says, and that every bench can be run and is explained."""

import importlib
import inspect
import json
from pathlib import Path

import bench
import pytest
from bench.__main__ import BENCHES
from bench.harness import Row, Target, as_json, as_markdown, missing, row

README = Path(bench.__path__[0]) / "README.md"


@pytest.mark.parametrize(
    ("target", "value", "reached"),
    [
        (Target(at_most=1.2), 1.2, True),
        (Target(at_most=1.2), 1.21, False),
        (Target(at_least=4), 4, True),
        (Target(at_least=4), 3.9, False),
    ],
)
def test_a_target_is_reached_up_to_its_bound(target: Target, value: float, reached: bool) -> None:
    assert target.reached(value) is reached


def test_a_row_shows_the_medians_and_their_spread_and_judges_the_median_ratio() -> None:
    line = row("sends", [90, 100, 300], unit="ms", against="a disk", ratios=[0.5, 2, 0.9], target=Target(at_most=1))

    assert (line.figure, line.ratio, line.reached) == ("100 [90..300]", 0.9, True)
    assert "0.50..2.00" in line.note


def test_without_a_target_nothing_is_judged() -> None:
    assert row("sends", [1.0], unit="ms", ratios=[0.5]).reached is None


def test_what_could_not_be_measured_is_not_shown_as_reached() -> None:
    line = missing("turns", "there is no claude", target=Target(at_most=1))

    assert (line.reached, line.target, line.note) == (None, "<= 1", "there is no claude")


def test_rows_as_json_can_be_read_back() -> None:
    line = row("sends", [1.0, 2.0], unit="ms")

    assert [Row(**values) for values in json.loads(as_json([line]))] == [line]


def test_a_page_shows_each_row_with_whether_it_reached_its_target() -> None:
    *_, line = as_markdown([row("sends", [2.0], unit="ms", ratios=[2.0], target=Target(at_most=1))]).splitlines()

    assert [cell.strip() for cell in line.split("|")] == ["", "sends", "2", "ms", "2", "", "<= 1", "NO", "", ""]


@pytest.mark.parametrize("name", BENCHES)
def test_every_listed_bench_can_be_run_with_rounds_and_is_explained(name: str) -> None:
    measure = importlib.import_module(f"bench.{name}").measure

    assert list(inspect.signature(measure).parameters) == ["rounds", "say"]
    assert f"## {name}\n" in README.read_text().lower()
