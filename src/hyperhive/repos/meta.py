"""The hive's own repository of the flake of all agents' systems. A commit of it is a deployment."""

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import pygit2

from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.repos import commits
from hyperhive.repos.layout import WITH_FILES, lay_out
from hyperhive.repos.libgit2 import open_repository
from hyperhive.repos.meta_flake import FLAKE, LOCK, PINS, Pins

_MAIN: Final = "refs/heads/main"
_FILES: Final = (FLAKE, LOCK, PINS)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One commit of it."""

    sha: str
    message: str
    at: float


class MetaRepository:
    """`.git` and three files. Each call opens it anew; all raise FaultError (`storage`) when that fails.

    The working tree may be ahead of the last commit: nix reads that, as far as it is in the index.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git = path / ".git"

    def pins(self) -> Pins | None:
        """Of the last commit; None when there is none."""
        found = self.committed().get(PINS)
        try:
            return msgspec.json.decode(found, type=Pins) if found else None
        except msgspec.MsgspecError:
            return None

    def committed(self) -> dict[str, bytes]:
        """The files of the last commit."""
        if not self._git.exists():
            return {}
        with self._open() as repository:
            if _MAIN not in repository.references:
                return {}
            tree = repository.references[_MAIN].peel(pygit2.Tree)
            return {name: repository.odb.read(tree[name].id)[1] for name in _FILES if name in tree}

    def stage(self, files: Mapping[str, bytes]) -> None:
        """The working tree and the index have these files and no others."""
        with self._alone() as repository:
            for name in _FILES:
                (self.path / name).unlink(missing_ok=True)
            for name, content in files.items():
                (self.path / name).write_bytes(content)
            self._read_tree(repository, files)

    def working(self) -> dict[str, bytes]:
        """The files that lie in the working tree."""
        return {name: (self.path / name).read_bytes() for name in _FILES if (self.path / name).exists()}

    def commit(self, files: Mapping[str, bytes], message: str) -> bool:
        """These files, in the working tree too; whether that is something new."""
        if self.committed() == dict(files):
            self.stage(files)
            return False
        self.stage(files)
        with self._alone() as repository:
            entries = {name: commits.blob(repository, name, content) for name, content in files.items()}
            base = str(repository.references[_MAIN].target) if _MAIN in repository.references else None
            sha = commits.commit(repository, base, entries, message=message)
            (self._git / f"{_MAIN}.lock").unlink(missing_ok=True)
            repository.references.create(_MAIN, pygit2.Oid(hex=sha), force=True)
        return True

    def history(self, limit: int = 100) -> list[Entry]:
        """Newest first."""
        if not self._git.exists():
            return []
        with self._open() as repository:
            if _MAIN not in repository.references:
                return []
            found = repository.walk(repository.references[_MAIN].target)
            return [
                Entry(sha=str(commit.id), message=commit.message.strip(), at=float(commit.commit_time))
                for commit, _ in zip(found, range(limit), strict=False)
            ]

    def _read_tree(self, repository: pygit2.Repository, files: Mapping[str, bytes]) -> None:
        entries = {name: commits.blob(repository, name, content) for name, content in files.items()}
        builder = repository.TreeBuilder()
        for name, entry in entries.items():
            builder.insert(name, pygit2.Oid(hex=entry.sha), pygit2.enums.FileMode.BLOB)
        (self._git / "index.lock").unlink(missing_ok=True)
        repository.index.read_tree(builder.write())
        repository.index.write()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[pygit2.Repository]:
        if not self._git.exists():
            self._lay_out()
        with self._open() as repository, (self._git / "hive.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield repository

    def _lay_out(self) -> None:
        fresh = self.path / ".git-fresh"
        with self._telling():
            self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
            lay_out(fresh, WITH_FILES)
            fresh.rename(self._git)

    @contextlib.contextmanager
    def _open(self) -> Iterator[pygit2.Repository]:
        with self._telling():
            yield open_repository(self._git)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pygit2.GitError, KeyError) as error:
            raise FaultError(
                FaultKind.STORAGE, f"cannot use the repository of the agents' systems {self.path}: {error}"
            ) from error
