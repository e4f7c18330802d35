"""What has been made: a root tree, what is in it line by line, and what is known of it."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from hyperhive import threads
from hyperhive.config import trees
from hyperhive.images import places, tree
from hyperhive.images.tree import Difference

ROOT: Final = "root"
MAKING: Final = 2
"""Part of the ids of harnesses and layers: another number when they are made in another way."""
_MANIFEST: Final = "manifest.json"
_FILES: Final = "files.gz"


class Kind(StrEnum):
    BASE = "base"
    HARNESS = "harness"
    LAYER = "layer"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Of a base, a harness or a layer of packages."""

    id: str
    kind: Kind
    digest: str  #: of the lines in files.gz
    size: int  #: bytes on disk
    made_at: float
    took_s: float
    epoch: int  #: the latest time of a file (Unix seconds), out of the lists of packages
    base: str = ""  #: what a layer lies on
    apt: tuple[str, ...] = ()  #: the packages that a layer was asked for
    packages: Mapping[str, str] = {}  #: each that was installed, with its version
    python: str = ""  #: of a base, such as python3.11
    suite: str = ""


@dataclass(frozen=True, kw_only=True)
class Made:
    """One that is finished, at its place."""

    place: Path
    manifest: Manifest

    @property
    def root(self) -> Path:
        return self.place / ROOT


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One that is finished but for its name."""

    work: Path
    epoch: int
    began: float
    shift: int = 0  #: where the ids begin that its files belong to

    @property
    def root(self) -> Path:
        return self.work / ROOT

    async def finish(self, manifest: Manifest, parent: Path) -> Made:
        """At its place: under its id or, where that is empty, under its digest's beginning. What is there of that id
        already is kept, and given. Raises OSError."""
        return await threads.whole(self._finish, manifest, parent)

    def _finish(self, manifest: Manifest, parent: Path) -> Made:
        size = tree.settle(self.root, epoch=self.epoch, shift=self.shift)
        lines = tree.listing(self.root)
        digest = tree.digest(lines)
        made = msgspec.structs.replace(
            manifest,
            id=manifest.id or digest[:12],
            digest=digest,
            size=size,
            took_s=time.time() - self.began,
            epoch=self.epoch,
        )
        keep = self.work / "kept"
        keep.mkdir(mode=0o700)
        tree.store(lines, keep / _FILES)
        (keep / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(made)))
        self.root.rename(keep / ROOT)
        if read(parent / made.id) is None:
            trees.remove(parent / made.id)  # what a hive was killed over while it deleted it
        places.settle_down(keep, parent / made.id)
        found = read(parent / made.id)
        assert found is not None
        return found


def draft(manifest_of: Kind, id: str = "", **facts: Any) -> Manifest:
    """What is known of one before it is finished."""
    return msgspec.convert(
        {
            "id": id,
            "kind": manifest_of,
            "digest": "",
            "size": 0,
            "made_at": time.time(),
            "took_s": 0.0,
            "epoch": 0,
            **facts,
        },
        Manifest,
    )


def read(place: Path) -> Made | None:
    try:
        manifest = msgspec.json.decode((place / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None
    return Made(place=place, manifest=manifest)


def all_in(directory: Path) -> list[Made]:
    """The oldest first."""
    found = [read(place) for place in directory.iterdir() if not place.is_symlink()] if directory.is_dir() else []
    return sorted((made for made in found if made), key=lambda made: made.manifest.made_at)


def differences(made: Made) -> Sequence[Difference]:
    """Between what it was when it was made and what is there. Raises OSError."""
    expected = tree.load(made.place / _FILES)
    if tree.digest(expected) != made.manifest.digest:
        return [Difference(path=_FILES, what="changed")]
    return tree.differences(expected, tree.listing(made.root))


def remove(place: Path) -> None:
    """In two steps, so that what is half gone is not taken for one."""
    if place.is_symlink() or not place.is_dir():
        return
    (place / _MANIFEST).unlink(missing_ok=True)
    trees.remove(place)


def fresh(work: Path, name: str) -> Path:
    """An empty directory to make something in."""
    place = work / name
    trees.remove(place)
    place.mkdir(mode=0o700)
    return place


def free_bytes(place: Path) -> int:
    return shutil.disk_usage(place).free
