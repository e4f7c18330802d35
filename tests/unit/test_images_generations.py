"""An agent's generations: numbers that keep their meaning, and a switch that nobody sees half done."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperhive.containers.cgroups import RlimitsOnly
from hyperhive.images.generations import Generations, Recipe
from hyperhive.images.images import Images
from hyperhive.images.places import Places

FIRST = Recipe(base="b1", harness="h1")
SECOND = Recipe(base="b1", harness="h1", layer="l1", apt=("jq",))
NOBODY = 65534


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    places = Places(top=tmp_path / "images")
    places.make()
    return Generations(places, "a")


def test_the_same_recipe_is_the_same_generation(generations: Generations) -> None:
    first, second = generations.of(FIRST), generations.of(SECOND)

    assert (first.number, second.number, generations.of(FIRST).number) == (1, 2, 1)
    assert [layer.parent.name for layer in second.layers] == ["b1", "l1", "h1"]


def test_none_is_current_until_it_is_switched_to(generations: Generations) -> None:
    made = generations.of(FIRST)

    assert generations.current() is None
    generations.switch(made.number)
    assert generations.current() == made


def test_going_back_is_switching_back(generations: Generations) -> None:
    first, second = generations.of(FIRST), generations.of(SECOND)
    for number in (first.number, second.number, first.number):
        generations.switch(number)

    assert generations.current() == first


def test_there_is_no_switch_to_what_was_never_made(generations: Generations) -> None:
    with pytest.raises(FileNotFoundError):
        generations.switch(7)

    assert generations.current() is None


@contextlib.contextmanager
def owner_without_reading(directory: Path) -> Iterator[None]:
    """As one whom modes bind, who may change what is in the directory and cannot open it, as syncing it needs."""
    root = os.geteuid() == 0
    directory.chmod(0o300)
    if root:
        os.chown(directory, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        directory.chmod(0o700)


def test_who_waits_for_a_switch_waits_until_no_loss_of_power_can_take_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Places(top=Path("images"))
    place.make()
    first = Generations(place, "a").of(FIRST)
    for public in (".", "images", "images/agents", "images/agents/a/generations", "images/agents/a/generations/1"):
        Path(public).chmod(0o755)

    async def main() -> None:
        images = Images(place.top, RlimitsOnly())
        assert await images.current("a") is None
        with owner_without_reading(place.agents / "a"), pytest.raises(PermissionError):
            await images.switch("a", first)
        assert await images.current("a") == first
        await images.switch("a", first)

    asyncio.run(main())


def test_a_reader_never_sees_a_switch_half_done(generations: Generations) -> None:
    known = [generations.of(FIRST), generations.of(SECOND)]
    generations.switch(1)
    seen, over = [], threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.append(generations.current())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        generations.switch(1 + number % 2)
    over.set()
    reader.join()

    assert seen
    assert all(found in known for found in seen)


def test_what_a_death_left_of_a_switch_is_in_nobody_s_way(generations: Generations, tmp_path: Path) -> None:
    generations.of(FIRST)
    (tmp_path / "images/agents/a" / f".current-{os.getpid()}").symlink_to("generations/9")
    (tmp_path / "images/agents/a/generations/.new-2").mkdir()

    generations.switch(1)
    second = generations.of(SECOND)

    assert (generations.current(), second.number) == (generations.get(1), 2)


def test_tidying_keeps_what_can_be_gone_back_to(generations: Generations) -> None:
    numbers = [generations.of(Recipe(base=f"b{n}", harness="h")).number for n in range(6)]
    generations.switch(numbers[1])
    generations.switch(numbers[3])

    gone = generations.tidy()

    assert gone == [numbers[0], numbers[2], numbers[4]]
    assert [found.number for found in generations.all()] == [numbers[1], numbers[3], numbers[5]]
    assert generations.of(Recipe(base="new", harness="h")).number == 7
