"""What a commit holds, walked and checked: once where it is read, once more in the daemon."""

import posixpath
from collections.abc import Callable
from dataclasses import dataclass

from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.names import check_name, folded, has_unseen, shown
from hyperhive.repos.objects import (
    LINK,
    SUBMODULE,
    TREE,
    Commit,
    Entry,
    bad_commit,
    parse_commit,
    parse_tree,
)

Fetch = Callable[[str, str, str, int], bytes]
"""(kind, sha, what it is in words, most bytes) → the object; raises FaultError (`bad_commit`) when it cannot."""

_LINK_BYTES = 1024


@dataclass(frozen=True, kw_only=True)
class Contents:
    commit: Commit
    files: dict[str, Entry]  #: by path, in git's order
    objects: dict[str, tuple[str, bytes]]  #: all that the commit needs, by sha: (kind, data); the commit first


def collect(sha: str, fetch: Fetch, limits: RepoLimits) -> Contents:
    """Raises FaultError (`bad_commit`) at the first thing that the hive does not take, and says what to do."""
    return _Walk(fetch, limits).contents(sha)


def check_size(kind: str, what: str, size: int, most: int) -> None:
    """Raises FaultError (`bad_commit`) when the object is larger than the hive takes."""
    if size > most:
        of = "a listing of " if kind == "tree" else ""
        raise bad_commit(f"{what} has {of}{size} bytes and the hive takes {most}; keep what is not config elsewhere")


class _Walk:
    def __init__(self, fetch: Fetch, limits: RepoLimits) -> None:
        self._fetch = fetch
        self._limits = limits
        self._objects: dict[str, tuple[str, bytes]] = {}
        self._files: dict[str, Entry] = {}
        self._directories: set[str] = set()
        self._links: dict[str, str] = {}
        self._bytes = 0

    def contents(self, sha: str) -> Contents:
        commit = parse_commit(self._take("commit", sha, self._limits.commit_bytes, "the commit"))
        self._directory(commit.tree, "")
        for path, target in self._links.items():
            self._check_link(path, target)
        return Contents(commit=commit, files=self._files, objects=self._objects)

    def _directory(self, sha: str, path: str) -> None:
        where = f"the directory {shown(path)}" if path else "the top directory"
        entries = parse_tree(self._take("tree", sha, self._limits.tree_bytes, where), where)
        if path and not entries:
            raise bad_commit(f"{where} is empty, which git itself never writes; remove it")
        names = [check_name(entry.name, where) for entry in entries]
        _check_distinct(names, where)
        for name, entry in zip(names, entries, strict=True):
            self._entry(entry, posixpath.join(path, name))

    def _entry(self, entry: Entry, path: str) -> None:
        if path.count("/") >= self._limits.depth:
            raise bad_commit(f"{shown(path)} lies deeper than {self._limits.depth} directories; move it up")
        if entry.mode == SUBMODULE:
            raise bad_commit(f"{shown(path)} is a submodule; the hive takes files only: put its files here instead")
        if entry.mode == TREE:
            self._directories.add(path)
            self._directory(entry.sha, path)
        else:
            self._file(entry, path)

    def _file(self, entry: Entry, path: str) -> None:
        self._files[path] = entry
        if len(self._files) > self._limits.files:
            raise bad_commit(f"the commit has more than {self._limits.files} files; keep what is not config elsewhere")
        content = self._take("blob", entry.sha, self._limits.file_bytes, shown(path))
        self._bytes += len(content)
        if self._bytes > self._limits.total_bytes:
            raise bad_commit(f"the files of the commit have more than {self._limits.total_bytes} bytes; keep it small")
        if entry.mode == LINK:
            self._links[path] = _link_target(content, path)

    def _take(self, kind: str, sha: str, most: int, what: str) -> bytes:
        found, data = self._objects.get(sha, (kind, None))
        if found != kind:
            raise bad_commit(f"{what} is a {found} where a {kind} belongs; make the commit anew with git")
        if data is None:
            data = self._fetch(kind, sha, what, most)
            self._objects[sha] = (kind, data)
        check_size(kind, what, len(data), most)
        return data

    def _check_link(self, path: str, target: str) -> None:
        reached = posixpath.dirname(path)
        for step in target.split("/"):
            reached = self._step(reached, step, path)
        there = reached in self._directories or reached in self._files
        if not there or reached in self._links or f"{path}/".startswith(f"{reached}/"):
            raise bad_commit(
                f"the link {shown(path)} points to {shown(target)}, which is not another file or directory of the "
                "commit, or is a link itself; put a copy in its place"
            )

    def _step(self, reached: str, step: str, path: str) -> str:
        """Where one name of a link's target leads from the directory `reached`; the top directory is ""."""
        if reached and reached not in self._directories:
            raise bad_commit(f"the link {shown(path)} leads through something that is no directory; put a copy there")
        if step == ".." and not reached:
            raise bad_commit(f"the link {shown(path)} leads out of the repository; put a copy in its place")
        if step in ("", "."):
            return reached
        return posixpath.dirname(reached) if step == ".." else posixpath.join(reached, step)


def _link_target(content: bytes, path: str) -> str:
    try:
        target = content.decode()
    except UnicodeDecodeError:
        target = ""
    if not target or len(content) > _LINK_BYTES or target.startswith("/") or has_unseen(target):
        raise bad_commit(
            f"the link {shown(path)} points to {shown(content.decode(errors='replace'))}; the hive takes links to "
            "files of the same commit only: put a copy in its place"
        )
    return target


def _check_distinct(names: list[str], where: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(folded(name), name)
        if other is not name:
            raise bad_commit(f"{shown(other)} and {shown(name)} in {where} are one name where case does not count")
