"""A diff of any two texts is whole, whatever it costs to find the smallest one."""

import random

import pytest

from hyperhive.repos.diffs import Version, diff


def version(text: str) -> Version:
    return Version(mode="100644", content=text.encode())


def rebuilt(old: str, lines: list[str]) -> str:
    """The new text out of the old one and a rough diff of one hunk."""
    start = int(lines[0].split("-")[1].split(",")[0]) - 1
    before = old.split("\n")
    gone = [line[1:] for line in lines[1:] if line.startswith("-")]
    come = [line[1:] for line in lines[1:] if line.startswith("+")]
    assert before[start : start + len(gone)] == gone
    return "\n".join([*before[:start], *come, *before[start + len(gone) :]])


@pytest.mark.parametrize("ends", [("\n", "\n"), ("\n", ""), ("", "\n"), ("", "")])
def test_texts_that_differ_in_very_many_lines_are_shown_whole_and_without_a_search(ends: tuple[str, str]) -> None:
    dice = random.Random(1)
    old, new = ("same\n" + "\n".join(dice.choices("ab", k=20_000)) + "\nend" + end for end in ends)
    found = diff("agent.toml", version(old), version(new))
    assert rebuilt(old, found.lines) == new
    assert (found.added, found.removed) == tuple(sum(line[0] == sign for line in found.lines[1:]) for sign in "+-")


def test_a_long_text_with_one_changed_line_is_shown_as_one_changed_line() -> None:
    lines = [str(number) for number in range(20_000)]
    old = "\n".join(lines) + "\n"
    found = diff("agent.toml", version(old), version(old.replace("\n7000\n", "\nseven\n")))
    assert (found.added, found.removed) == (1, 1)
    assert "+seven" in found.lines
