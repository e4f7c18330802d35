"""Config repositories of another making, taken over: every commit is verified as one that is proposed."""

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pygit2

from hyperhive.config.copying import copy
from hyperhive.protocol.faults import FaultError
from hyperhive.repos import snapshot
from hyperhive.repos.applied import Applied
from hyperhive.repos.contents import collect
from hyperhive.repos.layout import WITH_FILES
from hyperhive.repos.libgit2 import fetch_from, open_repository
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.pinned import Pinned

_TAG: Final = re.compile(r"(proposal|approved|building|deployed|failed|denied)/(\d{1,15})")
_MOST_TAGS: Final = 5000


@dataclass(kw_only=True)
class TakenOver:
    main: str = ""  #: the commit that was deployed; empty: none could be taken
    tags: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def take_over_applied(old: Path, applied: Applied) -> TakenOver:
    """The deployed commit and all that tags name, with the tags, into a repository of the hive's own."""
    found = TakenOver()
    try:
        repository = open_repository(old / ".git")
        main = _main(repository)
    except (pygit2.GitError, KeyError, OSError) as error:
        found.problems.append(f"its applied repository cannot be read: {error}")
        return found
    if main is None or not _store(repository, main, applied, found, "main"):
        return found
    found.main = main
    for name in _tags(repository):
        _take_tag(repository, name, applied, found)
    return found


def take_over_proposed(old: Path, name: str, target: Path) -> None:
    """The proposed repository as it is, unread: objects and branches by a private copy, plain files beside them.

    `old` has `name/config`. Raises FaultError (`bad_commit`) and OSError; what is there of `target` is to be removed.
    """
    copy(old / name / "config", target, leave_out=frozenset({".git"}))
    snapshot.take(old, name, target / ".git")
    (target / ".git/config").write_text(WITH_FILES)


def _main(repository: pygit2.Repository) -> str | None:
    for reference in ("refs/heads/main", "refs/heads/master"):
        if reference in repository.references:
            return str(repository.references[reference].peel(pygit2.Commit).id)
    return None


def _tags(repository: pygit2.Repository) -> list[str]:
    names = (name.removeprefix("refs/tags/") for name in repository.references if name.startswith("refs/tags/"))
    return sorted(name for name in names if _TAG.fullmatch(name))[:_MOST_TAGS]


def _take_tag(repository: pygit2.Repository, name: str, applied: Applied, found: TakenOver) -> None:
    try:
        target = repository.get(repository.references[f"refs/tags/{name}"].target)
        message = target.message if isinstance(target, pygit2.Tag) else None
        sha = str(repository.references[f"refs/tags/{name}"].peel(pygit2.Commit).id)
    except (pygit2.GitError, KeyError) as error:
        found.problems.append(f"tag {name}: {error}")
        return
    if _store(repository, sha, applied, found, f"tag {name}"):
        applied.tag(name, sha, message)
        found.tags[name] = sha


def _store(repository: pygit2.Repository, sha: str, applied: Applied, found: TakenOver, what: str) -> bool:
    if applied.has(sha):
        return True
    try:
        contents = collect(sha, fetch_from(repository), RepoLimits())
    except FaultError as fault:
        found.problems.append(f"{what}: {fault.message}")
        return False
    pinned = Pinned(sha=sha, objects=tuple(contents.objects.values()), files=len(contents.files), message="")
    applied.store(pinned)
    return True


def discard(target: Path) -> None:
    """What an attempt left."""
    shutil.rmtree(target, ignore_errors=True)
