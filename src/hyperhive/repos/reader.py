"""The confined program that opens a hostile repository: python -I -m hyperhive.repos.reader REPO REF OUT_FILE.

Writes the commit with all that it needs, or one line that says why not (see `pinned`), into the existing OUT_FILE.
It runs in a throw-away container; nothing that it writes is believed.
"""

import re
import resource
import sys
from pathlib import Path
from typing import Final

import pygit2

from hyperhive.protocol.faults import FaultError
from hyperhive.repos.contents import collect
from hyperhive.repos.libgit2 import fetch_from, open_repository
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.names import shown
from hyperhive.repos.objects import bad_commit
from hyperhive.repos.pinned import encode, encode_refusal

_REF: Final = re.compile(r"[0-9a-f]{7,40}")


def main(repository: str, ref: str, out: str) -> None:
    limits = RepoLimits()
    # Before anything hostile is read, and hard: the file that leaves the container stays small whatever happens here.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.output_bytes, limits.output_bytes))
    Path(out).write_bytes(_read(Path(repository), ref, limits))


def _read(path: Path, ref: str, limits: RepoLimits) -> bytes:
    try:
        pygit2.settings.owner_validation = False  # it is another's by design
        repository = open_repository(path)
        sha = resolve(repository, ref)
        output = encode(sha, collect(sha, fetch_from(repository), limits))
    except FaultError as fault:
        return encode_refusal(fault.message)
    except Exception as error:  # noqa: BLE001 (the program's edge: whatever a hostile repository breaks is told)
        return encode_refusal(f"the repository cannot be read: {error!r}; run `git fsck` in it")
    if len(output) > limits.output_bytes:
        return encode_refusal("the listings of its directories are too large; use fewer directories, shorter names")
    return output


def resolve(repository: pygit2.Repository, ref: str) -> str:
    """The full id that `ref` means, by ids alone: no branch or tag of that name is looked at.

    Raises FaultError (`bad_commit`).
    """
    if ref == "HEAD":
        return _head(repository)
    if not _REF.fullmatch(ref):
        raise bad_commit(f"{shown(ref)} is not a commit's sha; give 7 to 40 hex digits, as `git rev-parse HEAD` says")
    if len(ref) == 40:
        return ref
    try:
        return str(repository.expand_id(ref))
    except pygit2.AmbiguousError:
        raise bad_commit(f"{ref} is the beginning of several objects' ids; give all 40 digits") from None
    except (KeyError, ValueError):
        raise bad_commit(f"there is no commit {ref} in the repository; is it committed there?") from None


def _head(repository: pygit2.Repository) -> str:
    try:
        return str(repository.head.target)
    except pygit2.GitError as error:
        raise bad_commit(f"the repository has no commit that HEAD names ({error}); commit first") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
