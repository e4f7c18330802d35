"""Where images lie, and how one of several comes to be the current one."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Places:
    """Below one directory, which is root's alone."""

    top: Path

    @property
    def bases(self) -> Path:
        return self.top / "base"

    @property
    def harnesses(self) -> Path:
        return self.top / "harness"

    @property
    def layers(self) -> Path:
        return self.top / "layers"

    @property
    def agents(self) -> Path:
        return self.top / "agents"

    @property
    def apt(self) -> Path:
        return self.top / "apt"

    @property
    def work(self) -> Path:
        """What is being made, on the same file system as what becomes of it."""
        return self.top / "work"

    @property
    def own_sources(self) -> Path:
        """The operator's, where the machine's are not to be used."""
        return self.top / "apt.sources"

    def make(self) -> None:
        self.top.mkdir(mode=0o700, parents=True, exist_ok=True)
        for place in (self.bases, self.harnesses, self.layers, self.agents, self.apt, self.work):
            place.mkdir(mode=0o700, exist_ok=True)


def current(directory: Path) -> Path | None:
    """What its link `current` says, when that is there."""
    try:
        target = directory / os.readlink(directory / "current")  # noqa: PTH115 - a relative one stays so
    except OSError:
        return None
    return target if target.is_dir() else None


def switch(directory: Path, target: str) -> None:
    """From now on `current` is `target`, a path relative to the directory: in one step, and after a loss of power."""
    point(directory, "current", target)
    sync(directory)


def point(directory: Path, name: str, target: str) -> None:
    """The same of any link, which a loss of power may take back."""
    new = directory / f".{name}-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(target)
    new.replace(directory / name)


def sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def settle_down(made: Path, place: Path) -> None:
    """A finished directory moves to where it is found; when there is one already, that one stays."""
    os.sync()  # its files first: a name must never lead to half of them
    with contextlib.suppress(OSError):
        made.rename(place)
    if not place.is_dir():
        raise FileNotFoundError(place)
    sync(place.parent)
