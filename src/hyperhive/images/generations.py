"""An agent's generations: numbered lists of layers, one of which is current.

A number never means another list later, so going back is switching back. Reads and writes files: call it off the loop.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from hyperhive.config import trees
from hyperhive.images import places
from hyperhive.images.harness import PYTHON
from hyperhive.images.made import ROOT
from hyperhive.images.places import Places

KEPT: Final = 1
"""Generations that are kept beside the current one and what was current before it."""
_LIST: Final = "layers.json"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation is made of, by id."""

    base: str
    harness: str
    layer: str = ""  #: empty: no packages beside the base's
    apt: tuple[str, ...] = ()


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What a container's root is made from."""

    number: int
    recipe: Recipe
    layers: tuple[Path, ...]  #: directories with files that are root's, the lowest first
    python: PurePosixPath = PYTHON  #: the harness's interpreter, inside


class Generations:
    """Of one agent."""

    def __init__(self, place: Places, name: str) -> None:
        self._places = place
        self._top = place.agents / name

    def current(self) -> Generation | None:
        """What containers are made from now. It is there whole or not at all, whoever switches meanwhile."""
        target = places.current(self._top)
        return self._read(target) if target else None

    def all(self) -> list[Generation]:
        """The oldest first."""
        return [found for number in self._numbers() if (found := self.get(number))]

    def get(self, number: int) -> Generation | None:
        return self._read(self._numbered / str(number))

    def of(self, recipe: Recipe) -> Generation:
        """The generation with that recipe; a new one where there is none. It is not the current one by that."""
        for found in reversed(self.all()):
            if found.recipe == recipe:
                return found
        return self._add(recipe)

    def switch(self, number: int) -> None:
        """Containers are made from that one from now on. Raises FileNotFoundError when there is no such.

        A loss of power may take it back until `settle` has returned; what is current is whole either way, because a
        generation is on disk before it has its number.
        """
        if self.get(number) is None:
            raise FileNotFoundError(self._numbered / str(number))
        before = places.current(self._top)
        if before is not None and before.name != str(number):
            places.point(self._top, "before", f"generations/{before.name}")
        places.point(self._top, "current", f"generations/{number}")

    def settle(self) -> None:
        """The switches so far stay, also after a loss of power."""
        places.sync(self._top)

    def tidy(self) -> list[int]:
        """Deletes those that nothing goes back to: all but the current one, the one before it and the newest."""
        numbers, now = self._numbers(), self.current()
        kept = {*numbers[-KEPT:], self._before(), now.number if now else 0}
        gone = [number for number in numbers if number not in kept]
        if gone:
            self.settle()  # first: no loss of power may lead back to one of these
        for number in gone:
            trees.remove(self._numbered / str(number))
        return gone

    @property
    def _numbered(self) -> Path:
        return self._top / "generations"

    def _numbers(self) -> list[int]:
        names = os.listdir(self._numbered) if self._numbered.is_dir() else []  # noqa: PTH208 - names are wanted
        return sorted(int(name) for name in names if name.isdecimal())

    def _before(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self._top / "before").readlink().name)
        return 0

    def _read(self, place: Path) -> Generation | None:
        try:
            recipe = msgspec.json.decode((place / _LIST).read_bytes(), type=Recipe)
        except (OSError, msgspec.MsgspecError):
            return None
        return Generation(number=int(place.name), recipe=recipe, layers=self._layers(recipe))

    def _layers(self, recipe: Recipe) -> tuple[Path, ...]:
        """The harness's is the highest: what a package brings never lies over it."""
        layer = (self._places.layers / recipe.layer / ROOT,) if recipe.layer else ()
        return (self._places.bases / recipe.base / ROOT, *layer, self._places.harnesses / recipe.harness / ROOT)

    def _add(self, recipe: Recipe) -> Generation:
        numbers = self._numbers()
        place = self._numbered / str(numbers[-1] + 1 if numbers else 1)
        new = self._numbered / f".new-{place.name}"
        trees.remove(new)
        new.mkdir(mode=0o700, parents=True)
        with (new / _LIST).open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(recipe)))
            file.flush()
            os.fsync(file.fileno())
        new.rename(place)
        places.sync(self._numbered)
        found = self._read(place)
        assert found is not None
        return found


def in_use(place: Places, names: Sequence[str]) -> set[str]:
    """The ids that any generation of these agents needs."""
    recipes = [found.recipe for name in names for found in Generations(place, name).all()]
    return {id for recipe in recipes for id in (recipe.base, recipe.harness, recipe.layer) if id}
