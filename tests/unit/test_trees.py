"""Trees that an agent made to be hard to measure and hard to delete."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hyperhive.config import trees
from hyperhive.config.paths import Paths
from hyperhive.hub import directories

NOBODY: Final = 65534


def deep(root: Path, levels: int) -> None:
    """Directories in each other, deeper than a path can name."""
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 50, dir_fd=here)
        inner = os.open("d" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_a_tree_deeper_than_any_path_is_measured_and_removed(tmp_path: Path) -> None:
    deep(tmp_path / "t", 1500)
    size, latest = trees.measure(tmp_path / "t")
    assert size > 0
    assert latest > 0
    trees.remove(tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / "t" / "inner").mkdir(parents=True)
    (tmp_path / "t" / "inner" / "link").symlink_to(tmp_path / "kept")
    trees.remove(tmp_path / "t")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").read_text() == "x"


def test_a_link_in_the_tree_counts_as_itself(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to(tmp_path / "big")
    assert trees.measure(tmp_path / "t")[0] < 1000


def test_use_of_the_disk_follows_no_link_and_counts_a_file_with_two_names_once(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 1_000_000)
    (tmp_path / "t" / "inner").mkdir(parents=True)
    (tmp_path / "t" / "link").symlink_to(tmp_path / "big")
    (tmp_path / "t" / "inner" / "up").symlink_to(tmp_path)
    (tmp_path / "t" / "own").write_bytes(b"x" * 400_000)
    (tmp_path / "t" / "inner" / "again").hardlink_to(tmp_path / "t" / "own")
    found = trees.usage(tmp_path / "t")
    assert 400_000 <= found.size < 500_000
    assert (found.files, found.whole, [*found.by_owner]) == (5, True, [os.geteuid()])


def test_use_of_the_disk_counts_blocks_and_not_what_a_file_claims_to_have(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert trees.usage(tmp_path).size < 1 << 20


def test_use_that_is_too_deep_too_much_or_cannot_be_seen_is_known_not_to_be_all(tmp_path: Path) -> None:
    deep(tmp_path / "deep", 150)
    (tmp_path / "deep/beside").touch()
    found = trees.usage(tmp_path / "deep")
    assert (found.files, found.whole) == (101, False)  # the file beside is seen, in whichever order
    trees.remove(tmp_path / "deep")
    for number in range(10):
        (tmp_path / str(number)).touch()
    assert trees.usage(tmp_path).whole
    assert not trees.usage(tmp_path, most=9).whole
    assert trees.usage(tmp_path / "never").size == 0


def test_use_of_a_tree_that_may_not_be_read_is_known_not_to_be_all(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/file").touch()
    (tmp_path / "t").chmod(0o300)  # its owner still writes there
    (tmp_path / "said").touch()

    def tell() -> None:
        Path("said").write_text(str(trees.usage(Path("t")).whole))

    as_its_owner(tmp_path, tell)
    assert (tmp_path / "said").read_text() == "False"
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o300


def test_names_of_our_own_making_are_no_trap(tmp_path: Path) -> None:
    (tmp_path / "t" / "a" / "b").mkdir(parents=True)
    (tmp_path / "t" / ".removing-0" / "full").mkdir(parents=True)
    trees.remove(tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_what_is_gone_is_gone(tmp_path: Path) -> None:
    trees.remove(tmp_path / "never")


def as_its_owner(tmp_path: Path, act: Callable[[], None]) -> None:
    """As somebody whom modes bind, in the directory, which is theirs with all beneath it."""
    if os.geteuid() != 0:
        os.chdir(tmp_path)
        act()
        return
    for place, names, files in os.walk(tmp_path):
        for entry in (".", *names, *files):
            os.chown(Path(place, entry), NOBODY, NOBODY, follow_symlinks=False)
    child = os.fork()
    if child == 0:
        try:
            os.chdir(tmp_path)
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_read_only_directories_are_removed_without_root(tmp_path: Path) -> None:
    module = tmp_path / "t/cache/module"  # as Go keeps what it has fetched
    (module / "inner").mkdir(parents=True)
    (module / "inner/file").write_text("x")
    for directory in (module / "inner", module, module.parent, tmp_path / "t"):
        directory.chmod(0o555)
    as_its_owner(tmp_path, lambda: trees.remove(Path("t")))
    assert list(tmp_path.iterdir()) == []


def test_a_left_over_that_stays_does_not_keep_a_hive_from_starting(tmp_path: Path) -> None:
    for entry in ("state/staging/stuck", "state/reading/other"):
        (tmp_path / entry).mkdir(parents=True)
    (tmp_path / "state/staging").chmod(0o555)
    as_its_owner(tmp_path, lambda: directories.sweep(Paths(state_dir=Path("state"), runtime_dir=Path("run"))))
    assert (tmp_path / "state/staging/stuck").exists()
    assert not (tmp_path / "state/reading/other").exists()


def test_what_is_counted_stays_as_it_is(tmp_path: Path) -> None:
    inner = tmp_path / "open to others" / "inner"
    inner.mkdir(parents=True)
    for directory in (inner, inner.parent):
        directory.chmod(0o755)
    assert trees.usage(inner.parent).files == 1
    assert [stat.S_IMODE(place.stat().st_mode) for place in (inner, inner.parent)] == [0o755, 0o755]
