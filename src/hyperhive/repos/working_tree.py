"""The files of a commit, written out plainly: no filter, no attribute, no end-of-line is honoured."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from hyperhive.config import trees
from hyperhive.repos.diffs import Version
from hyperhive.repos.objects import LINK, PROGRAM

_GIT: Final = ".git"


def write(directory: Path, files: Mapping[str, Version]) -> None:
    """Into a directory of ours; the paths are checked ones. Everyone may read them."""
    for path, version in files.items():
        for parent in reversed((directory / path).relative_to(directory).parents[:-1]):
            (directory / parent).mkdir(exist_ok=True)
            (directory / parent).chmod(0o755)
        _write_file(directory / path, version)


def replace(directory: Path, files: Mapping[str, Version]) -> None:
    """Makes all beside `.git` equal to `files`. Cut off at any point, it is completed by doing it again."""
    fresh = directory / _GIT / "fresh"
    trees.remove(fresh)
    fresh.mkdir()
    write(fresh, files)
    for old in _beside_git(directory):
        if old.is_dir() and not old.is_symlink():
            shutil.rmtree(old)
        else:
            old.unlink()
    for new in sorted(fresh.iterdir()):
        new.rename(directory / new.name)
    fresh.rmdir()


def _beside_git(directory: Path) -> Iterator[Path]:
    return (entry for entry in sorted(directory.iterdir()) if entry.name != _GIT)


def _write_file(path: Path, version: Version) -> None:
    if version.mode == LINK:
        path.symlink_to(os.fsdecode(version.content))
        return
    path.write_bytes(version.content)
    path.chmod(0o755 if version.mode == PROGRAM else 0o644)
