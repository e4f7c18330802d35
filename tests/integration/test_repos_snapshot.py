"""The private copy of a hostile repository: what comes along, what stays behind, and where it ends."""

from pathlib import Path

import pytest

from config_house import Repository, git
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.repos import snapshot
from hyperhive.repos.limits import RepoLimits


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "proposed/coder/config")


def take(repository: Repository, limits: RepoLimits | None = None) -> Path:
    proposed = repository.path.parents[1]
    target = proposed.with_name("target")
    snapshot.take(proposed, "coder", target, limits or RepoLimits())
    return target


def refusal(repository: Repository, limits: RepoLimits | None = None) -> str:
    with pytest.raises(FaultError) as caught:
        take(repository, limits)
    assert caught.value.kind is FaultKind.BAD_COMMIT
    return caught.value.message


def test_objects_and_branches_come_along_and_git_can_read_them(repository: Repository) -> None:
    git(repository.path, "checkout", "-qb", "feature/one")
    sha = repository.commit(a="1")
    target = take(repository)
    assert git(target, "rev-parse", "HEAD", "feature/one") == f"{sha}\n{sha}"
    git(target, "fsck", "--strict")


def test_config_hooks_alternates_and_everything_else_stay_behind(repository: Repository) -> None:
    git(repository.path, "config", "core.fsmonitor", "/evil")
    inside = repository.path / ".git"
    for name in ("commondir", "shallow", "objects/info/alternates", "info/grafts", "config.worktree", "objects/x"):
        (inside / name).write_text("evil")
    target = take(repository)
    copied = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    rest = {name for name in copied if not name.startswith(("objects/", "refs/heads/"))}
    assert rest == {"HEAD", "config"}
    assert "evil" not in (target / "config").read_text()
    assert not (target / "objects/info").exists()
    assert "objects/x" not in copied


def test_a_link_anywhere_in_refs_or_objects_is_not_followed(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (repository.path / ".git/refs/heads/stolen").symlink_to(tmp_path / "secret")
    assert "is a link" in refusal(repository)


def test_more_files_than_the_hive_reads_are_refused_with_the_remedy(repository: Repository) -> None:
    assert "git gc" in refusal(repository, RepoLimits(source_files=4))


def test_more_bytes_than_the_hive_reads_are_refused_with_the_remedy(repository: Repository) -> None:
    assert "git gc" in refusal(repository, RepoLimits(source_bytes=200))


def test_directories_of_branches_count_as_much_as_files(repository: Repository) -> None:
    for number in range(30):
        (repository.path / ".git/refs/heads" / str(number)).mkdir()
    assert "more than 29 files" in refusal(repository, RepoLimits(source_files=29))


def test_branches_deeper_than_anybody_names_them_stay_behind(repository: Repository) -> None:
    deep = repository.path / ".git/refs/heads" / "/".join("d" * 30)
    deep.mkdir(parents=True)
    target = take(repository)
    assert len(list((target / "refs/heads").rglob("d"))) < 10


def test_names_that_git_would_not_give_a_branch_stay_behind(repository: Repository) -> None:
    for name in ("a b", "x.lock", ".hidden", "new\nline", "é"):
        (repository.path / ".git/refs/heads" / name).write_text("x")
    assert {path.name for path in (take(repository) / "refs/heads").iterdir()} == {"main"}


def test_a_directory_in_a_files_place_is_told_and_costs_no_descriptor(repository: Repository) -> None:
    head = repository.path / ".git/HEAD"
    head.unlink()
    head.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert "'HEAD' is not the plain file" in refusal(repository)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
