"""All images of a hive: making them, looking after them, and which of them an agent's containers are made from."""

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from hyperhive.config import trees
from hyperhive.containers.cgroups import Limiter
from hyperhive.images import base, harness, layer, made, places, sources
from hyperhive.images.apt import Apt, last_words
from hyperhive.images.generations import Generation, Generations, Recipe, in_use
from hyperhive.images.made import Made
from hyperhive.images.places import Places
from hyperhive.images.workshop import Say, Workshop
from hyperhive.process import PATH, CommandFailed
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Image, ImageDifference

ROOM: Final = 1 << 30
"""Bytes that must be free before anything is made."""
_TOOLS: Final = {"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "apt-get": "apt"}


class Images:
    """Made once; `open` first. Everything is made one at a time; reading waits for nobody."""

    def __init__(self, top: Path, limiter: Limiter) -> None:
        self._places = Places(top=top)
        self._workshop = Workshop(limiter=limiter)
        self._apt = Apt(self._places.apt)
        self._making = asyncio.Lock()
        self._names = itertools.count(1)
        self._contents: harness.Contents | None = None
        self._harness_ids: dict[str, str] = {}
        self.today = ""  #: the base that new generations lie on; empty while there is none

    async def open(self) -> None:
        """Clears away what an earlier hive did not finish."""
        if await asyncio.to_thread(self._places.work.is_dir):
            await asyncio.to_thread(_empty, self._places.work)
        self.today = await asyncio.to_thread(self._today)

    # the base

    async def build(self, say: Say) -> Image:
        """A base from what the sources have today; from now on new generations lie on it.

        When nothing has changed it is the one that there is. Raises FaultError (`backend`).
        """
        return await self.use(await self.make(say), say)

    async def make(self, say: Say) -> str:
        """A base from what the sources have today, which nothing lies on yet: its id.

        Cancelled, or when it fails, nothing of it stays. Raises FaultError (`backend`).
        """
        async with self._making, self._work("a base image") as work:
            await say("fetching the lists of packages")
            found = await asyncio.to_thread(sources.read, self._places.own_sources)
            await self._apt.prepare(found)
            await self._apt.update()
            before = await asyncio.to_thread(self._bases)
            try:
                built = await base.build(
                    work, self._places.bases, apt=self._apt, sources=found, workshop=self._workshop, say=say
                )
                await self._harness(built, say)
            except BaseException:  # a cancellation, too: nothing is to stay
                await asyncio.shield(asyncio.to_thread(self._unmake_others, before))
                raise
            return built.manifest.id

    async def use(self, id: str, say: Say) -> Image:
        """New generations lie on that base from now on.

        Raises FaultError (`backend`) when it is not there any more.
        """
        async with self._making:
            built = await asyncio.to_thread(made.read, self._places.bases / id)
            if built is None:
                raise FaultError(FaultKind.BACKEND, f"the base {id} is not there any more; make one: hive image build")
            await asyncio.to_thread(places.switch, self._places.bases, id)
            self.today = id
            await say(f"the base is {id}: {built.manifest.suite}, {built.manifest.python}")
            return self._shown(built, set())

    # an agent's

    async def ensure(self, name: str, packages: Sequence[str], say: Say) -> Generation:
        """The generation with these packages on today's base, made if need be; it is not the current one by that.

        Raises FaultError (`backend`): no base, or a layer cannot be made, with apt's last words.
        """
        async with self._making:
            lowest = await self._current_base()
            inside = await self._harness(lowest, say)
            middle = await self._layer(lowest, packages, say) if packages else None
            recipe = Recipe(
                base=lowest.manifest.id,
                harness=inside.manifest.id,
                layer=middle.manifest.id if middle else "",
                apt=tuple(sorted(set(packages))),
            )
            return await asyncio.to_thread(self._of(name).of, recipe)

    async def usable(self, name: str, packages: Sequence[str], say: Say) -> Generation:
        """For a start that nobody wants to wait: the current generation, or the newest, that has these packages, on
        whichever base, with this hive's harness. As `ensure` where there is none, or it is not whole any more."""
        found = await asyncio.to_thread(self._usable, name, tuple(sorted(set(packages))))
        if found is None:
            return await self.ensure(name, packages, say)
        if await asyncio.to_thread(self._is_ready, name, found):
            return found  # whatever is being made meanwhile, which may take long
        async with self._making:
            lowest = await asyncio.to_thread(made.read, self._places.bases / found.recipe.base)
            assert lowest is not None
            inside = await self._harness(lowest, say)
            recipe = msgspec.structs.replace(found.recipe, harness=inside.manifest.id)
            return await asyncio.to_thread(self._of(name).of, recipe)

    async def current(self, name: str) -> Generation | None:
        return await asyncio.to_thread(self._of(name).current)

    async def switch(self, name: str, generation: Generation) -> None:
        """The agent's containers are made from it from now on, also after a loss of power."""
        generations = self._of(name)
        await asyncio.to_thread(generations.switch, generation.number)
        await asyncio.to_thread(generations.settle)

    async def forget(self, name: str) -> None:
        """The agent's generations; what they were made from goes with the next `collect`."""
        await asyncio.to_thread(trees.remove, self._places.agents / name)

    # looking after them

    async def all(self) -> list[Image]:
        """The oldest first."""
        return await asyncio.to_thread(self._list)

    async def verify(self, ids: Sequence[str]) -> list[Image]:
        """Compares each file of these images, or of all, with what was made. Raises FaultError (`invalid_params`)."""
        async with self._making:
            return await asyncio.to_thread(self._verify, ids)

    async def collect(self) -> list[Image]:
        """Deletes what no agent's generation needs, but for today's base; what was deleted."""
        async with self._making:
            return await asyncio.to_thread(self._collect)

    # inside

    def _of(self, name: str) -> Generations:
        return Generations(self._places, name)

    @contextlib.asynccontextmanager
    async def _work(self, what: str) -> AsyncIterator[Path]:
        """A directory to make it in, of which nothing is left. What fails becomes the fault that says so."""
        await asyncio.to_thread(self._check, what)
        work = await asyncio.to_thread(made.fresh, self._places.work, str(next(self._names)))
        try:
            yield work
        except CommandFailed as error:
            raise FaultError(FaultKind.BACKEND, f"cannot make {what}: {last_words(error)}") from error
        except (OSError, RecursionError) as error:  # the latter: directories deeper than anybody needs
            raise FaultError(FaultKind.BACKEND, f"cannot make {what}: {error}") from error
        finally:
            await asyncio.shield(asyncio.to_thread(trees.remove, work))

    def _check(self, what: str) -> None:
        if os.geteuid() != 0:
            raise FaultError(
                FaultKind.BACKEND,
                f"cannot make {what}: only root can; run the hive as root, or use the bubblewrap backend, which needs "
                "no images",
            )
        missing = [package for tool, package in _TOOLS.items() if shutil.which(tool, path=PATH) is None]
        if missing:
            raise FaultError(
                FaultKind.BACKEND, f"cannot make {what}: install {' '.join(missing)} (Debian: apt install ...)"
            )
        self._places.make()
        free = made.free_bytes(self._places.top)
        if free < ROOM:
            raise FaultError(
                FaultKind.BACKEND,
                f"cannot make {what}: {free >> 20} MiB are free in {self._places.top}, and it takes {ROOM >> 20}; "
                "`hive image gc` deletes what is not used",
            )

    async def _current_base(self) -> Made:
        place = await asyncio.to_thread(places.current, self._places.bases)
        found = await asyncio.to_thread(made.read, place) if place else None
        if found is None:
            raise FaultError(FaultKind.BACKEND, "there is no base image yet; make one: hive image build")
        return found

    async def _harness(self, lowest: Made, say: Say) -> Made:
        id = await asyncio.to_thread(self._harness_id, lowest.manifest.python)
        found = await asyncio.to_thread(made.read, self._places.harnesses / id)
        if found is not None:
            return found
        assert self._contents is not None
        async with self._work("the harness's layer") as work:
            await say("making the harness's layer")
            return await harness.build(
                work, self._places.harnesses, self._contents, id,
                base=lowest, workshop=self._workshop, say=say, epoch=lowest.manifest.epoch,
            )  # fmt: skip

    def _harness_id(self, python: str) -> str:
        """What this process runs does not change under it, so it is read once."""
        if python not in self._harness_ids:
            self._contents = self._contents or harness.Contents.of_this_process()
            self._harness_ids[python] = self._contents.id(python)
        return self._harness_ids[python]

    async def _layer(self, lowest: Made, packages: Sequence[str], say: Say) -> Made:
        id = layer.id_of(lowest.manifest.id, packages)
        found = await asyncio.to_thread(made.read, self._places.layers / id)
        if found is not None:
            await say(f"the layer of its packages is there: {id}")
            return found
        async with self._work(f"a layer of {', '.join(sorted(set(packages)))}") as work:
            await say(f"making a layer of packages: {' '.join(sorted(set(packages)))}")
            found_sources = await asyncio.to_thread(sources.read, self._places.own_sources)
            await self._apt.prepare(found_sources)
            built = await layer.build(
                work, self._places.layers, packages, base=lowest, apt=self._apt, workshop=self._workshop, say=say
            )
            await asyncio.to_thread(self._apt.tidy)
            return built

    def _bases(self) -> set[str]:
        return {found.manifest.id for found in made.all_in(self._places.bases)}

    def _unmake_others(self, before: set[str]) -> None:
        """Bases that have come since."""
        for id in self._bases() - before:
            made.remove(self._places.bases / id)

    def _usable(self, name: str, packages: tuple[str, ...]) -> Generation | None:
        generations = self._of(name)
        now = generations.current()
        for found in (*([now] if now else []), *reversed(generations.all())):
            parts = [self._places.bases / found.recipe.base]
            parts += [self._places.layers / found.recipe.layer] if found.recipe.layer else []
            if found.recipe.apt == packages and all(made.read(part) for part in parts):
                return found
        return None

    def _is_ready(self, name: str, found: Generation) -> bool:
        """Whether it is the current one, of which nothing is ever deleted, with this hive's harness in it."""
        lowest = made.read(self._places.bases / found.recipe.base)
        inside = made.read(self._places.harnesses / found.recipe.harness)
        if lowest is None or inside is None or self._of(name).current() != found:
            return False
        return inside.manifest.id == self._harness_id(lowest.manifest.python)

    def _agents(self) -> list[str]:
        return sorted(place.name for place in self._places.agents.iterdir()) if self._places.agents.is_dir() else []

    def _all(self) -> list[Made]:
        directories = (self._places.bases, self._places.harnesses, self._places.layers)
        return [found for directory in directories for found in made.all_in(directory)]

    def _today(self) -> str:
        place = places.current(self._places.bases)
        return place.name if place else ""

    def _list(self) -> list[Image]:
        used = in_use(self._places, self._agents())
        return [self._shown(found, used) for found in self._all()]

    def _shown(self, found: Made, used: set[str], differences: list[ImageDifference] | UnsetType = UNSET) -> Image:
        facts = found.manifest
        now = places.current(self._places.bases)
        is_current = now is not None and facts.kind is made.Kind.BASE and now.name == facts.id
        return Image(
            id=facts.id, kind=facts.kind.value, digest=facts.digest, size=facts.size, made_at=rfc3339(facts.made_at),
            took_seconds=facts.took_s, current=is_current, in_use=facts.id in used, base=facts.base,
            apt=list(facts.apt), packages=dict(facts.packages), suite=facts.suite, python=facts.python,
            differences=differences,
        )  # fmt: skip

    def _verify(self, ids: Sequence[str]) -> list[Image]:
        known = {found.manifest.id: found for found in self._all()}
        if unknown := [id for id in ids if id not in known]:
            raise FaultError(
                FaultKind.INVALID_PARAMS, f"there is no image {unknown[0][:64]!r}; `hive image list` shows them"
            )
        used = in_use(self._places, self._agents())
        checked = []
        for found in [known[id] for id in ids] or list(known.values()):
            try:
                unlike = [ImageDifference(path=one.path, what=one.what) for one in made.differences(found)]
            except OSError as error:
                unlike = [ImageDifference(path=str(error.filename or found.place), what="missing")]
            checked.append(self._shown(found, used, unlike))
        return checked

    def _collect(self) -> list[Image]:
        agents = self._agents()
        for name in agents:
            self._of(name).tidy()
        used = in_use(self._places, agents)
        now = places.current(self._places.bases)
        lowest = made.read(now) if now else None
        if lowest is not None:
            used |= {lowest.manifest.id, self._harness_id(lowest.manifest.python)}
        gone = [found for found in self._all() if found.manifest.id not in used]
        shown = [self._shown(found, used) for found in gone]
        for found in gone:
            made.remove(found.place)
        self._remove_debris()
        return shown

    def _remove_debris(self) -> None:
        """What lost its manifest while it was deleted."""
        for directory in (self._places.bases, self._places.harnesses, self._places.layers):
            for place in directory.iterdir() if directory.is_dir() else ():
                if not place.is_symlink() and made.read(place) is None:
                    made.remove(place)


def _empty(directory: Path) -> None:
    for place in directory.iterdir():
        trees.remove(place)


def rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
