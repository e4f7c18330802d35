"""libgit2, set up so that nothing but the repository itself says how it is read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pygit2
from pygit2.enums import ConfigLevel, ObjectType, RepositoryOpenFlag

from hyperhive.repos.contents import Fetch, check_size
from hyperhive.repos.objects import bad_commit, identity

_LEVELS: Final = (ConfigLevel.PROGRAMDATA, ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL)
_KINDS: Final = {"commit": ObjectType.COMMIT, "tree": ObjectType.TREE, "blob": ObjectType.BLOB}


def _set_up() -> None:
    for level in _LEVELS:
        pygit2.settings.search_path[level] = ""
    pygit2.settings.template_path = ""
    pygit2.settings.enable_strict_object_creation(True)
    pygit2.settings.enable_strict_hash_verification(True)
    pygit2.settings.enable_fsync_gitdir(True)
    pygit2.settings.enable_caching(False)  # what is on disk is what counts


_set_up()


def open_repository(git: Path) -> pygit2.Repository:
    """The repository whose `.git`, or whose bare directory, this is; nowhere else is looked."""
    return pygit2.Repository(str(git), RepositoryOpenFlag.NO_SEARCH)


def signature(name: str = "hive-c0re") -> pygit2.Signature:
    """Somebody of this hive, now."""
    return pygit2.Signature(name, f"{name}@hyperhive")


def fetch_from(repository: pygit2.Repository) -> Fetch:
    """Objects out of the repository; the size of one is looked at before it is read."""

    def fetch(kind: str, sha: str, what: str, most: int) -> bytes:
        oid = pygit2.Oid(hex=sha)
        try:
            found, size = repository.odb.read_header(oid)
            if found.name.lower() != kind:
                raise bad_commit(f"{what} is no {kind}: {sha} is a {found.name.lower()}; name a commit made with git")
            check_size(kind, what, size, most)
            return repository.odb.read(oid)[1]
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise bad_commit(
                f"{what} cannot be read: the {kind} {sha} is missing or damaged ({error}); "
                "run `git fsck` in the repository, then commit and propose anew"
            ) from None

    return fetch


def put(repository: pygit2.Repository, objects: Iterable[tuple[str, bytes]]) -> None:
    """Write verified objects; those that are there stay."""
    for kind, data in objects:
        if identity(kind, data) not in repository.odb:
            repository.write(_KINDS[kind], data)
