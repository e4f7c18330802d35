"""The hive's own repository of one agent's config."""

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import ObjectType

from hyperhive.config import trees
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import DiffFile
from hyperhive.repos import commits, diffs, working_tree
from hyperhive.repos.contents import Contents, collect
from hyperhive.repos.diffs import Version, versions
from hyperhive.repos.layout import WITH_FILES, cut_off, lay_out
from hyperhive.repos.libgit2 import fetch_from, open_repository, put, signature
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.objects import LINK, SHA, parse_commit
from hyperhive.repos.pinned import Pinned

_MAIN: Final = "refs/heads/main"
_TAGS: Final = "refs/tags/"
_DEFAULT: Final = RepoLimits()


class Applied:
    """`.git`, tags, `main`, and a working tree that shows main. Every object in it was verified or made by us.

    Each call opens the repository anew; those that change it wait for each other, and are on the disk when they
    return. Methods that name a commit raise FaultError (`bad_commit`) when it is not there, unless they say otherwise,
    and all raise FaultError (`storage`) when the repository cannot be read or written.
    """

    def __init__(self, path: Path, limits: RepoLimits = _DEFAULT) -> None:
        self.path = path
        self._git = path / ".git"
        self._limits = limits

    def create(self, files: Mapping[str, bytes], message: str) -> str:
        """The first commit, as main and as deployed/0; an existing repository is kept. Returns main's sha."""
        if found := self.main():
            return found
        self._lay_out()
        with self._alone() as repository:
            entries = {path: commits.blob(repository, path.rpartition("/")[2], text) for path, text in files.items()}
            sha = commits.commit(repository, None, entries, message=message)
            self._contents(sha)
            for name in (f"{_TAGS}deployed/0", _MAIN):  # main the last: without it this is done again
                self._unlock(name)
                repository.references.create(name, pygit2.Oid(hex=sha), force=True)
        self.set_main(sha)
        return sha

    def exists(self) -> bool:
        return self.main() is not None

    def main(self) -> str | None:
        """The sha of what is deployed; None when there is no repository, or nothing deployed in it."""
        try:
            return str(self._open().references[_MAIN].target) if self._git.exists() else None
        except KeyError:
            return None
        except (OSError, pygit2.GitError) as error:
            raise self._broken(error) from None

    def store(self, pinned: Pinned) -> None:
        """Keeps the commit under its own sha, with all beneath it and without its ancestors.

        Where there is no repository it begins one, in which nothing is deployed.
        """
        self._lay_out()
        with self._alone() as repository:
            parents = parse_commit(pinned.objects[0][1]).parents
            if any(parent not in repository.odb for parent in parents):
                cut_off(self._git, pinned.sha)  # first: a commit on top of this one must find the history ended here
            put(repository, reversed(pinned.objects))  # the commit last: when it is there, all of it is

    def export(self, sha: str) -> Pinned:
        """The commit, for another repository to keep."""
        contents = self._contents(sha)
        return Pinned(
            sha=sha,
            objects=tuple(contents.objects.values()),
            files=len(contents.files),
            message=contents.commit.message,
        )

    def has(self, sha: str) -> bool:
        """Whether the commit and all beneath it are there and whole."""
        try:
            self._contents(sha)
        except FaultError:
            return False
        return True

    def has_lost(self, sha: str) -> bool:
        """Whether the commit is gone for certain; never because it cannot be read now."""
        if not self._git.is_dir():
            return True
        try:
            return not SHA.fullmatch(sha) or sha not in self._open().odb
        except (FaultError, pygit2.GitError):
            return False

    def text(self, sha: str, path: str = "agent.toml") -> str | None:
        """None when the commit has no such file; raises FaultError (`bad_config`) when it is no text."""
        version = versions(self._contents(sha)).get(path)
        if version is None:
            return None
        if version.mode == LINK:
            raise FaultError(FaultKind.BAD_CONFIG, f"{path} is a link; put the file itself in its place")
        try:
            return version.content.decode()
        except UnicodeDecodeError as error:
            raise FaultError(
                FaultKind.BAD_CONFIG, f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8"
            ) from None

    def paths(self, sha: str) -> list[str]:
        return sorted(self._contents(sha).files)

    def edit(self, base: str, files: Mapping[str, bytes | None], *, message: str, author: str) -> str:
        """A commit on top of `base` with these files instead of what it has; None removes one. Moves no branch.

        Raises FaultError (`bad_commit`) when the result is not what the hive takes.
        """
        repository = self._open()
        entries = dict(self._contents(base).files)
        for path, content in files.items():
            old = entries.pop(path, None)
            if content is not None:
                mode = {} if old is None or old.mode == LINK else {"mode": old.mode}
                entries[path] = commits.blob(repository, path.rpartition("/")[2], content, **mode)
        sha = commits.commit(repository, base, entries, message=message, author=author)
        self._contents(sha)
        return sha

    def tag(self, name: str, sha: str, message: str | None = None) -> None:
        """Harmless when it is there already; raises FaultError (`wrong_state`) when it points elsewhere.

        With a message it is an annotated tag that carries it.
        """
        self._contents(sha)
        with self._alone() as repository:
            found = self.tags().get(name)
            if found == sha:
                return
            if found is not None:
                raise FaultError(
                    FaultKind.WRONG_STATE, f"cannot tag {sha} as {name}: that tag is on {found} and stays"
                )
            self._unlock(_TAGS + name)
            if message is None:
                repository.references.create(_TAGS + name, pygit2.Oid(hex=sha))
            else:
                text = message.replace("\0", "�")
                repository.create_tag(name, pygit2.Oid(hex=sha), ObjectType.COMMIT, signature(), text)

    def tags(self) -> dict[str, str]:
        """The commit of each."""
        references = self._open().references
        names = [name for name in references if name.startswith(_TAGS)]
        try:
            return {name.removeprefix(_TAGS): str(references[name].peel(pygit2.Commit).id) for name in sorted(names)}
        except (KeyError, pygit2.GitError) as error:
            raise self._broken(error) from None

    def set_main(self, sha: str) -> None:
        """Moves main, then makes the working tree equal to it; cut off at any point, a repetition completes it."""
        contents = self._contents(sha)
        with self._alone() as repository:
            self._unlock(_MAIN)
            repository.references.create(_MAIN, pygit2.Oid(hex=sha), force=True)
            working_tree.replace(self.path, versions(contents))
            self._unlock("index")
            repository.index.read_tree(pygit2.Oid(hex=contents.commit.tree))
            repository.index.write()

    def diff(self, base: str | None, sha: str) -> list[DiffFile]:
        """What `sha` has otherwise than `base`, by path, whole."""
        return [diffs.diff(path, old, new) for path, (old, new) in self._changes(base, sha).items()]

    def changed(self, base: str | None, sha: str) -> list[str]:
        """The paths of `diff`."""
        return [*self._changes(base, sha)]

    def resolve(self, prefix: str) -> str | None:
        """The one commit whose sha begins so; None when there is none, or several."""
        repository = self._open()
        try:
            sha = str(repository.expand_id(prefix)) if len(prefix) < 40 else prefix
        except (ValueError, KeyError, pygit2.GitError):
            return None
        return sha if SHA.fullmatch(sha) and self.has(sha) else None

    def _changes(self, base: str | None, sha: str) -> dict[str, tuple[Version | None, Version | None]]:
        old, new = versions(self._contents(base)) if base else {}, versions(self._contents(sha))
        pairs = {path: (old.get(path), new.get(path)) for path in sorted({*old, *new})}
        return {path: (before, after) for path, (before, after) in pairs.items() if before != after}

    def _lay_out(self) -> None:
        """An empty repository where there is none; by one rename, so that there is never a part of one."""
        if self._git.exists():
            return
        fresh = self.path / ".git-fresh"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o755)  # the manager reads it; where nobody may look, the directory above says so
            trees.remove(fresh)
            lay_out(fresh, WITH_FILES)
            fresh.rename(self._git)
        except OSError as error:
            raise self._broken(error) from error

    def _open(self) -> pygit2.Repository:
        try:
            return open_repository(self._git)
        except pygit2.GitError as error:
            raise self._broken(error) from None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[pygit2.Repository]:
        """While nobody else changes it."""
        repository = self._open()
        try:
            with (self._git / "hive.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield repository
        except (OSError, pygit2.GitError) as error:
            raise self._broken(error) from error

    def _unlock(self, name: str) -> None:
        """A hive that was killed while it wrote left git's own lock; we are alone, so nobody holds it."""
        (self._git / f"{name}.lock").unlink(missing_ok=True)

    def _broken(self, error: Exception) -> FaultError:
        return FaultError(
            FaultKind.STORAGE,
            f"cannot use the config repository {self.path}: {error}; is the disk full? `git fsck` in it says more",
        )

    def _contents(self, sha: str) -> Contents:
        return collect(sha, fetch_from(self._open()), self._limits)
