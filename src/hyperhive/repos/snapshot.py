"""A private copy of a repository that somebody hostile may be writing at the same time. Nothing in it is read here."""

import contextlib
import errno
import re
import time
from pathlib import Path
from typing import Final

from hyperhive.config.beneath import Directory, open_directory
from hyperhive.repos.layout import lay_out
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.names import shown
from hyperhive.repos.objects import bad_commit

TIME_S: Final = 20.0
_DEFAULT: Final = RepoLimits()
_HEAD_BYTES: Final = 4096
_PACKED_REFS_BYTES: Final = 4 << 20
_BRANCH_DEPTH: Final = 8
_BRANCHES: Final = 1000
_PACKS: Final = 1000
_OURS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE})
_BRANCH: Final = re.compile(r"[A-Za-z0-9_+@=,-][A-Za-z0-9_.+@=,-]{0,199}")
_LOOSE_DIRECTORY: Final = re.compile(r"[0-9a-f]{2}")
_LOOSE: Final = re.compile(r"[0-9a-f]{38}")
_PACK: Final = re.compile(r"pack-[0-9a-f]{1,64}\.(pack|idx)")


def take(proposed: Path, name: str, target: Path, limits: RepoLimits = _DEFAULT) -> None:
    """Copies HEAD, the branches and the objects of `proposed/<name>/config/.git` into the new directory `target`.

    Follows no link, crosses no mount, opens regular files only; config, hooks, alternates and all else stay behind.
    What a writer takes away meanwhile is left out. Takes at most `TIME_S` seconds. Raises FaultError (`bad_commit`),
    and OSError when `target` cannot be written.
    """
    lay_out(target)
    copy = _Copy(limits)
    try:
        with open_directory(proposed, f"{name}/config/.git") as git:
            copy.references(git, target)
            copy.objects(git, target)
    except OSError as error:
        if error.errno in _OURS:
            raise
        raise bad_commit(f"cannot read the config repository of {name}: {_words(error)}") from None


class _Copy:
    def __init__(self, limits: RepoLimits) -> None:
        self._limits = limits
        self._files_left = limits.source_files
        self._bytes_left = limits.source_bytes
        self._deadline = time.monotonic() + TIME_S

    def references(self, git: Directory, target: Path) -> None:
        """Before the objects: git writes them the other way round, so what a branch names is there to be copied."""
        (target / "HEAD").unlink()
        self._file(git, "HEAD", target / "HEAD", _HEAD_BYTES)
        if not (target / "HEAD").exists():
            raise FileNotFoundError(errno.ENOENT, "no such file", "HEAD")
        self._file(git, "packed-refs", target / "packed-refs", _PACKED_REFS_BYTES)
        if heads := _opened(git, "refs/heads"):
            with heads:
                self._branches(heads, target / "refs/heads", _BRANCH_DEPTH)

    def objects(self, git: Directory, target: Path) -> None:
        with git.directory("objects") as objects:
            for name in objects.names(self._limits.source_files):
                if _LOOSE_DIRECTORY.fullmatch(name):
                    self._directory(objects, name, target / "objects", _LOOSE, self._files_left)
                elif name == "pack":
                    self._directory(objects, name, target / "objects", _PACK, _PACKS)

    def _branches(self, heads: Directory, target: Path, depth: int) -> None:
        for name in heads.names(_BRANCHES):
            if not _BRANCH.fullmatch(name) or name.endswith(".lock"):
                continue
            if below := _opened(heads, name):
                with below:
                    self._more_branches(below, target / name, depth - 1)
            else:
                self._file(heads, name, target / name, _HEAD_BYTES)

    def _more_branches(self, heads: Directory, target: Path, depth: int) -> None:
        self._count()
        if depth > 0:
            _make(target)
            self._branches(heads, target, depth)

    def _directory(self, parent: Directory, name: str, target: Path, wanted: re.Pattern[str], most: int) -> None:
        with contextlib.suppress(FileNotFoundError), parent.directory(name) as directory:  # git removes empty ones
            _make(target / name)
            for file in directory.names(most):
                if wanted.fullmatch(file):
                    self._file(directory, file, target / name / file, self._limits.source_bytes)

    def _file(self, directory: Directory, name: str, target: Path, most: int) -> None:
        self._count()
        try:
            self._bytes_left -= directory.copy(name, target, min(most, self._bytes_left))
        except FileNotFoundError:
            return
        target.chmod(0o644)

    def _count(self) -> None:
        if time.monotonic() > self._deadline:
            raise OSError(errno.EFBIG, "takes too long to read")
        self._files_left -= 1
        if self._files_left < 0:
            raise OSError(errno.EFBIG, f"more than {self._limits.source_files} files")


def _make(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)  # the reader has another uid, and our umask may be any


def _opened(parent: Directory, name: str) -> Directory | None:
    """None when it is gone, or no directory."""
    try:
        return parent.directory(name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _words(error: OSError) -> str:
    where = shown(str(error.filename)) if error.filename else "it"
    if error.errno == errno.ENOENT:
        return f"{where} is not there; make a repository with `git init` and commit agent.toml"
    if error.errno in (errno.ELOOP, errno.EXDEV):
        return f"{where} is a link or leads elsewhere, and the hive follows none; put the real directory there"
    if error.errno in (errno.ENOTDIR, errno.EINVAL):
        return f"{where} is not the plain file or directory that git makes; make the repository anew with `git init`"
    if error.errno == errno.EFBIG:
        return (
            f"{where}: {error.strerror}; run `git gc --prune=now` in it, or begin a new one without what is no config"
        )
    return f"{where}: {error.strerror}"
