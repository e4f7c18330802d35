"""The hive's own repository of a config: commits, tags, main and what git itself sees in it."""

import subprocess
import tempfile
from pathlib import Path

import pytest

import needs
from config_house import git
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.repos.applied import Applied
from hyperhive.repos.contents import collect
from hyperhive.repos.libgit2 import fetch_from, open_repository
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.pinned import Pinned, decode, encode
from hyperhive.repos.proposed import seed

FILES = {"agent.toml": b'model = "sonnet"\n', "prompts/a.md": b"be kind\n"}


def pinned(repository: Path, ref: str = "HEAD") -> Pinned:
    """As the reader would give it."""
    sha = git(repository, "rev-parse", ref)
    return decode(encode(sha, collect(sha, fetch_from(open_repository(repository / ".git")), RepoLimits())))


@pytest.fixture
def applied(tmp_path: Path) -> Applied:
    applied = Applied(tmp_path / "applied")
    applied.create(FILES, "first")
    return applied


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Somebody's repository with two commits."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q")
    (work / "agent.toml").write_text('model = "haiku"\n')
    (work / "run.sh").write_text("true\n")
    (work / "run.sh").chmod(0o755)
    (work / "link").symlink_to("agent.toml")
    git(work, "add", ".")
    git(work, "commit", "-qm", "one")
    (work / "agent.toml").write_text('model = "opus"\n')
    git(work, "commit", "-qam", "two")
    return work


def test_a_fresh_repository_has_main_the_first_tag_and_the_files_and_git_finds_it_clean(applied: Applied) -> None:
    main = applied.main()
    assert main is not None
    assert applied.tags() == {"deployed/0": main}
    assert (applied.path / "prompts/a.md").read_bytes() == b"be kind\n"
    assert git(applied.path, "status", "--porcelain") == ""
    assert git(applied.path, "log", "--format=%an <%ae> %s") == "hive-c0re <hive-c0re@hyperhive> first"
    git(applied.path, "fsck", "--strict")


def test_making_it_again_keeps_it(applied: Applied) -> None:
    main = applied.main()
    assert applied.create({"agent.toml": b"other"}, "second") == main
    assert applied.text(str(main)) == 'model = "sonnet"\n'


def test_a_repository_whose_making_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / ".git-fresh/objects").mkdir(parents=True)
    applied = Applied(tmp_path)
    assert not applied.exists()
    applied.create(FILES, "first")
    assert applied.exists()


def test_a_stored_commit_keeps_its_sha_and_git_takes_its_missing_parents_for_the_end(
    applied: Applied, work: Path
) -> None:
    commit = pinned(work)
    applied.store(commit)
    applied.store(commit)
    assert applied.has(commit.sha)
    applied.tag("proposal/1", commit.sha)
    assert git(applied.path, "log", "--format=%s", "proposal/1") == "two"
    git(applied.path, "fsck", "--strict")


def test_a_commit_on_top_of_one_whose_keeping_was_cut_off_has_a_history_that_ends(
    applied: Applied, work: Path
) -> None:
    cut_off = applied.path / ".git/shallow.new"
    cut_off.mkdir()  # where the end of the history would be written
    with pytest.raises(FaultError) as caught:
        applied.store(pinned(work))
    assert caught.value.kind is FaultKind.STORAGE
    cut_off.rmdir()
    git(work, "commit", "-q", "--allow-empty", "-m", "three")
    applied.store(pinned(work))
    applied.tag("proposal/1", git(work, "rev-parse", "HEAD"))
    git(applied.path, "fsck", "--strict")


def test_a_commit_whose_blob_is_gone_is_not_there(applied: Applied, work: Path) -> None:
    commit = pinned(work)
    applied.store(commit)
    blob = git(work, "rev-parse", "HEAD:run.sh")
    (applied.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    assert not applied.has(commit.sha)
    applied.store(commit)
    assert applied.has(commit.sha)


def test_a_commit_is_lost_when_it_is_gone_and_not_when_it_cannot_be_read_now(applied: Applied, work: Path) -> None:
    main = str(applied.main())
    head = applied.path / ".git/HEAD"
    assert not applied.has_lost(main)
    assert applied.has_lost(pinned(work).sha)
    assert applied.has_lost("")
    head.rename(head.with_name("away"))  # git does not take it for a repository
    assert not applied.has_lost(main)
    assert Applied(work / "nowhere").has_lost(main)


def test_main_moves_with_the_working_tree_and_a_repetition_repairs_it(applied: Applied, work: Path) -> None:
    commit = pinned(work)
    applied.store(commit)
    (applied.path / "prompts/left-over").write_text("x")
    for _ in range(2):
        applied.set_main(commit.sha)
        assert sorted(entry.name for entry in applied.path.iterdir()) == [".git", "agent.toml", "link", "run.sh"]
        assert str((applied.path / "link").readlink()) == "agent.toml"
        assert (applied.path / "run.sh").stat().st_mode & 0o777 == 0o755
        assert git(applied.path, "status", "--porcelain") == ""
        (applied.path / "run.sh").write_text("spoilt")
        (applied.path / ".git/fresh").mkdir()
    assert applied.main() == commit.sha


def test_attributes_of_a_commit_change_no_byte_of_the_working_tree(applied: Applied, tmp_path: Path) -> None:
    files = {".gitattributes": b"* text eol=crlf ident filter=evil\n", "a": b"$Id$\nx\n"}
    sha = applied.edit(str(applied.main()), files, message="m", author="operator")
    applied.set_main(sha)
    assert (applied.path / "a").read_bytes() == b"$Id$\nx\n"


def test_a_tag_can_be_set_again_and_never_moved(applied: Applied) -> None:
    main = str(applied.main())
    other = applied.edit(main, {"a": b"1"}, message="m", author="operator")
    for _ in range(2):
        applied.tag("failed/1", other, "it did not build\0")
    with pytest.raises(FaultError, match="that tag is on"):
        applied.tag("failed/1", main)
    assert applied.tags() == {"deployed/0": main, "failed/1": other}
    assert git(applied.path, "tag", "-l", "--format=%(contents:subject)", "failed/1").startswith("it did not build")


def test_an_edit_is_a_commit_on_top_that_keeps_modes_and_other_files(applied: Applied, work: Path) -> None:
    commit = pinned(work)
    applied.store(commit)
    changes = {"agent.toml": b"x = 1\n", "run.sh": b"false\n", "link": None, "new/deep": b"1"}
    sha = applied.edit(commit.sha, changes, message="edited", author="operator")
    assert applied.paths(sha) == ["agent.toml", "new/deep", "run.sh"]
    assert applied.text(sha) == "x = 1\n"
    assert git(applied.path, "ls-tree", sha, "run.sh").startswith("100755")
    assert git(applied.path, "show", "-s", "--format=%an %cn %p", sha) == f"operator hive-c0re {commit.sha[:7]}"


def test_an_edit_that_the_hive_would_not_take_from_others_is_refused(applied: Applied) -> None:
    with pytest.raises(FaultError) as caught:
        applied.edit(str(applied.main()), {"big": b"x" * 300_000}, message="m", author="operator")
    assert caught.value.kind is FaultKind.BAD_COMMIT


@pytest.mark.parametrize("path", ["prompts", "agent.toml/below", "../out", "a//b", ".git/config"])
def test_an_edit_at_an_impossible_place_is_refused(applied: Applied, path: str) -> None:
    with pytest.raises(FaultError) as caught:
        applied.edit(str(applied.main()), {path: b"x"}, message="m", author="operator")
    assert caught.value.kind is FaultKind.BAD_COMMIT


def test_text_that_is_no_text_is_a_bad_config(applied: Applied) -> None:
    sha = applied.edit(str(applied.main()), {"agent.toml": b"\xff"}, message="m", author="operator")
    with pytest.raises(FaultError, match="not UTF-8 at byte 0") as caught:
        applied.text(sha)
    assert caught.value.kind is FaultKind.BAD_CONFIG
    assert applied.text(sha, "not-there") is None


def test_a_diff_shows_every_file_with_its_lines_and_its_modes(applied: Applied, work: Path) -> None:
    commit = pinned(work)
    applied.store(commit)
    shown = {file.path: file for file in applied.diff(applied.main(), commit.sha)}
    assert list(shown) == ["agent.toml", "link", "prompts/a.md", "run.sh"]
    changed = shown["agent.toml"]
    assert (changed.change, changed.added, changed.removed) == ("modified", 1, 1)
    assert changed.lines == ["@@ -1 +1 @@", '-model = "sonnet"', '+model = "opus"']
    assert shown["prompts/a.md"].change == "deleted"
    assert shown["run.sh"].lines == ["new file mode 100755", "@@ -0,0 +1 @@", "+true"]
    assert shown["link"].lines[0] == "new file mode 120000"
    assert applied.diff(commit.sha, commit.sha) == []
    assert {file.change for file in applied.diff(None, commit.sha)} == {"added"}


def test_a_diff_marks_what_is_not_text_and_hides_nothing_for_attributes(applied: Applied) -> None:
    files = {".gitattributes": b"* -diff binary\n", "data": b"a\0b", "plain": b"a\rb\x0cc\n"}
    sha = applied.edit(str(applied.main()), files, message="m", author="operator")
    shown = {file.path: file for file in applied.diff(applied.main(), sha)}
    assert (shown["data"].binary, shown["data"].lines) == (True, [])
    assert shown["plain"].lines == ["@@ -0,0 +1 @@", "+a\rb\x0cc"]
    assert shown[".gitattributes"].added == 1


def test_a_mode_alone_is_a_difference(applied: Applied, work: Path) -> None:
    before = pinned(work)
    (work / "run.sh").chmod(0o644)
    git(work, "commit", "-qam", "mode")
    after = pinned(work)
    applied.store(before)
    applied.store(after)
    (file,) = applied.diff(before.sha, after.sha)
    assert file.lines == ["old mode 100755", "new mode 100644"]


def test_a_prefix_means_a_commit_only_when_it_means_one(applied: Applied) -> None:
    main = str(applied.main())
    tree = git(applied.path, "rev-parse", "HEAD^{tree}")
    assert applied.resolve(main[:7]) == applied.resolve(main) == main
    for wrong in (tree[:10], tree, "main", "deadbeef", "f" * 40, ""):
        assert applied.resolve(wrong) is None


def test_a_seeded_repository_is_one_commit_that_git_can_work_on(tmp_path: Path) -> None:
    proposed, staging = tmp_path / "proposed", tmp_path / "staging"
    proposed.mkdir()
    assert seed(proposed, "coder", FILES, uid=None, staging=staging)
    config = proposed / "coder/config"
    assert git(config, "status", "--porcelain") == ""
    assert git(config, "remote", "get-url", "applied") == "/applied/coder/.git"
    (config / "agent.toml").write_text("changed")
    assert not seed(proposed, "coder", FILES, uid=None, staging=staging)
    assert (config / "agent.toml").read_text() == "changed"
    git(config, "commit", "-qam", "two")
    git(config, "fsck", "--strict")


@pytest.mark.parametrize("what", ["link", "dangling link", "file", "link in place of the agent", "empty directory"])
def test_a_repository_is_seeded_nowhere_but_at_its_own_place(tmp_path: Path, what: str) -> None:
    proposed, elsewhere = tmp_path / "proposed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "staging").mkdir()
    config = proposed / "coder/config"
    config.parent.parent.mkdir()
    if what == "link in place of the agent":
        config.parent.symlink_to(elsewhere)
    else:
        config.parent.mkdir()
    if what == "empty directory":
        config.mkdir()
    elif what == "file":
        config.write_text("x")
    elif what != "link in place of the agent":
        config.symlink_to(elsewhere if what == "link" else tmp_path / "nowhere")
    assert not seed(proposed, "coder", FILES, uid=None, staging=tmp_path / "staging")
    assert list(elsewhere.iterdir()) == []
    assert list((tmp_path / "staging").iterdir()) == []


def test_the_manager_fetches_what_is_applied_although_another_owns_it(applied: Applied, tmp_path: Path) -> None:
    needs.root()
    (tmp_path / "proposed").mkdir()
    assert seed(tmp_path / "proposed", "coder", FILES, uid=21_004, staging=tmp_path / "staging")
    config = tmp_path / "proposed/coder/config"
    text = (config / ".git/config").read_text().replace("/applied/coder", str(applied.path))  # as its container has it
    (config / ".git/config").write_text(text)
    for directory in (tmp_path, *tmp_path.parents):
        if directory.is_relative_to(tempfile.gettempdir()) and directory != Path(tempfile.gettempdir()):
            directory.chmod(directory.stat().st_mode | 0o011)
    identity = ["setpriv", "--reuid=21004", "--regid=21004", "--clear-groups"]
    fetch = ["git", "-C", str(config), "fetch", "-q", "applied"]
    done = subprocess.run(
        [*identity, *fetch], env={"PATH": "/usr/bin:/bin"}, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (
        git(config, "-c", "safe.directory=*", "rev-parse", "applied/main", "deployed/0").split()
        == [applied.main()] * 2
    )
