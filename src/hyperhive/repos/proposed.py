"""The repository that the manager writes: made once, never trusted after."""

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pygit2

from hyperhive.config import trees
from hyperhive.config.beneath import Directory, open_directory
from hyperhive.repos import commits, working_tree
from hyperhive.repos.diffs import Version
from hyperhive.repos.layout import WITH_FILES, lay_out
from hyperhive.repos.libgit2 import open_repository
from hyperhive.repos.objects import FILE

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


def seed(proposed: Path, name: str, files: Mapping[str, bytes], *, uid: int | None, staging: Path) -> bool:
    """Makes `proposed/<name>/config` with one commit of the files; `uid` owns it. False when anything is there.

    `staging` is a directory of the hive's own on the same file system, where it is made. Harmless to repeat.
    """
    if os.path.lexists(proposed / name / "config"):
        return False
    fresh = staging / f"seed-{name}"
    trees.remove(fresh)
    try:
        _make(fresh, name, files)
        _give(fresh, uid)
        return _put(fresh, proposed, name)
    finally:
        trees.remove(fresh)


def _make(directory: Path, name: str, files: Mapping[str, bytes]) -> None:
    directory.mkdir(parents=True)
    lay_out(directory / ".git", WITH_FILES + _CONFIG.format(name=name))
    repository = open_repository(directory / ".git")
    entries = {path: commits.blob(repository, path.rpartition("/")[2], text) for path, text in files.items()}
    sha = commits.commit(repository, None, entries, message=f"The config of {name}")
    repository.references.create("refs/heads/main", pygit2.Oid(hex=sha))
    working_tree.write(directory, {path: Version(mode=FILE, content=text) for path, text in files.items()})
    repository.index.read_tree(repository[sha].peel(pygit2.Tree))
    repository.index.write()


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
