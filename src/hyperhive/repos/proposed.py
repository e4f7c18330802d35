"""The repository that the manager writes: made once, never trusted after."""

import contextlib
import errno
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pygit2

from hyperhive.config import trees
from hyperhive.config.beneath import Directory, open_directory
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.repos import commits, working_tree
from hyperhive.repos.contents import collect
from hyperhive.repos.diffs import versions
from hyperhive.repos.layout import WITH_FILES, cut_off, lay_out
from hyperhive.repos.libgit2 import fetch_from, open_repository, put
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.objects import parse_commit
from hyperhive.repos.pinned import Pinned

_CONFIG: Final = """
[user]
\tname = manager
\temail = manager@hyperhive
[remote "applied"]
\turl = /applied/{name}/.git
\tuploadpack = git -c safe.directory=/applied/{name}/.git upload-pack
\tfetch = +refs/heads/*:refs/remotes/applied/*
\tfetch = +refs/tags/*:refs/tags/*
"""
"""The applied repository is the hive's own, and git reads nobody else's without being told that it may."""
_IN_THE_WAY: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENOENT})


def seed(proposed: Path, name: str, first: Pinned | Mapping[str, bytes], *, uid: int | None, staging: Path) -> bool:
    """Makes `proposed/<name>/config` with one commit: the given one, or a new one of these files.

    `uid` owns it. False when anything is there.

    `staging` is a directory of the hive's own on the same file system, where it is made. Harmless to repeat.
    """
    if os.path.lexists(proposed / name / "config"):
        return False
    fresh = staging / f"seed-{name}-{uuid.uuid4().hex}"  # another may be making one for the same place
    try:
        _make(fresh, name, first)
        _give(fresh, uid)
        return _put(fresh, proposed, name)
    except pygit2.GitError as error:
        raise FaultError(
            FaultKind.STORAGE, f"cannot make a config repository for {name}: {error}; is the disk full?"
        ) from None
    finally:
        trees.remove(fresh)


def _make(directory: Path, name: str, first: Pinned | Mapping[str, bytes]) -> None:
    directory.mkdir(parents=True)
    git = directory / ".git"
    lay_out(git, WITH_FILES + _CONFIG.format(name=name))
    repository = open_repository(git)
    sha = _keep(repository, git, first) if isinstance(first, Pinned) else _commit(repository, name, first)
    repository.references.create("refs/heads/main", pygit2.Oid(hex=sha))
    working_tree.write(directory, versions(collect(sha, fetch_from(repository), RepoLimits())))
    repository.index.read_tree(repository[sha].peel(pygit2.Tree))
    repository.index.write()


def _keep(repository: pygit2.Repository, git: Path, pinned: Pinned) -> str:
    put(repository, pinned.objects)
    if parse_commit(pinned.objects[0][1]).parents:
        cut_off(git, pinned.sha)
    return pinned.sha


def _commit(repository: pygit2.Repository, name: str, files: Mapping[str, bytes]) -> str:
    entries = {path: commits.blob(repository, path.rpartition("/")[2], text) for path, text in files.items()}
    return commits.commit(repository, None, entries, message=f"The config of {name}")


def _give(directory: Path, uid: int | None) -> None:
    directory.chmod(0o755)
    if uid is None:
        return
    for place, directories, names in os.walk(directory):
        for entry in (".", *directories, *names):
            os.chown(Path(place, entry), uid, uid, follow_symlinks=False)


def _put(fresh: Path, proposed: Path, name: str) -> bool:
    """By one rename, through no link: in a user's hive the manager may have put anything where we are going."""
    with contextlib.suppress(FileExistsError):
        (proposed / name).mkdir(mode=0o755)
    try:
        with open_directory(proposed, name) as place:
            return _rename(fresh, place)
    except OSError as error:
        if error.errno in _IN_THE_WAY:
            return False
        raise


def _rename(fresh: Path, place: Directory) -> bool:
    if "config" in os.listdir(place.descriptor):  # noqa: PTH208 (a descriptor, not a path)
        return False
    os.rename(fresh, "config", dst_dir_fd=place.descriptor)
    return True
