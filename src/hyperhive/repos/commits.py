"""Commits that the hive makes itself: the first of a repository, and the operator's edits."""

from collections.abc import Mapping

import pygit2
from pygit2.enums import ObjectType

from hyperhive.repos.libgit2 import signature
from hyperhive.repos.names import shown
from hyperhive.repos.objects import FILE, TREE, Entry, bad_commit, format_tree

_Level = dict[str, "Entry | _Level"]


def commit(
    repository: pygit2.Repository,
    base: str | None,
    files: Mapping[str, Entry],
    *,
    message: str,
    author: str = "hive-c0re",
) -> str:
    """A commit of exactly these files, whose blobs are there, on top of `base`; moves no branch. Returns its sha.

    Raises FaultError (`bad_commit`) when one would be a file and a directory.
    """
    tree = _write_tree(repository, _levels(files))
    parents: list[str | pygit2.Oid] = [base] if base else []
    made = repository.create_commit(None, signature(author), signature(), message, pygit2.Oid(hex=tree), parents)
    return str(made)


def blob(repository: pygit2.Repository, name: str, content: bytes, mode: str = FILE) -> Entry:
    """An entry for the content, which is stored."""
    return Entry(mode=mode, name=name.encode(), sha=str(repository.write(ObjectType.BLOB, content)))


def _levels(files: Mapping[str, Entry]) -> _Level:
    top: _Level = {}
    for path, entry in files.items():
        *directories, name = path.split("/")
        level = top
        for directory in directories:
            below = level.setdefault(directory, {})
            if isinstance(below, Entry):
                raise bad_commit(f"{shown(path)} would lie in a file; remove that file in the same commit")
            level = below
        if name in level:
            raise bad_commit(f"{shown(path)} would take the place of a directory; remove what is in it first")
        level[name] = entry
    return top


def _write_tree(repository: pygit2.Repository, level: _Level) -> str:
    entries = [
        Entry(mode=TREE, name=name.encode(), sha=_write_tree(repository, below)) if isinstance(below, dict) else below
        for name, below in level.items()
    ]
    return str(repository.write(ObjectType.TREE, format_tree(entries)))
