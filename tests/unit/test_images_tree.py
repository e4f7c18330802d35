"""What is in a tree, line by line, and how two of them differ."""

import os
from pathlib import Path

import pytest

import needs
from hyperhive.images import tree
from hyperhive.images.tree import Difference


@pytest.fixture
def top(tmp_path: Path) -> Path:
    place = tmp_path / "root"
    (place / "etc").mkdir(parents=True)
    (place / "etc/a file").write_text("one")
    (place / "link").symlink_to("/etc/shadow")
    os.mkfifo(place / "pipe")
    return place


def test_the_same_content_has_the_same_digest_at_another_time_and_place(top: Path, tmp_path: Path) -> None:
    first = tree.digest(tree.listing(top))
    os.utime(top / "etc/a file", (1, 1))

    assert tree.digest(tree.listing(top.rename(tmp_path / "elsewhere"))) == first


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda top: (top / "etc/a file").write_text("two"), Difference(path="etc/a%20file", what="changed")),
        (lambda top: (top / "etc/a file").chmod(0o600), Difference(path="etc/a%20file", what="changed")),
        (lambda top: (top / "pipe").unlink(), Difference(path="pipe", what="missing")),
        (lambda top: (top / "etc/new").touch(), Difference(path="etc/new", what="added")),
    ],
)
def test_a_change_is_found_and_named(top: Path, tmp_path: Path, change: object, difference: Difference) -> None:
    tree.store(tree.listing(top), tmp_path / "files.gz")

    assert callable(change)
    change(top)

    assert tree.differences(tree.load(tmp_path / "files.gz"), tree.listing(top)) == [difference]


def test_a_link_to_another_target_is_a_change_and_is_not_followed(top: Path) -> None:
    before = tree.listing(top)
    (top / "link").unlink()
    (top / "link").symlink_to("/nowhere")

    assert tree.differences(before, tree.listing(top)) == [Difference(path="link", what="changed")]


def test_names_that_are_no_text_are_listed(top: Path) -> None:
    (top / os.fsdecode(b"\xff\n")).touch()

    assert [line for line in tree.listing(top) if line.endswith(" %FF%0A")]


def test_owners_come_back_from_a_namespace_with_their_bits(top: Path) -> None:
    needs.root()
    (top / "etc/a file").chmod(0o4755)
    before = tree.listing(top)

    tree.give(top, shift=1_000_000)
    inside = (top / "etc/a file").stat()
    tree.settle(top, epoch=10, shift=1_000_000)

    assert (inside.st_uid, oct(inside.st_mode)) == (1_000_000, "0o104755")
    assert tree.listing(top) == before
    assert (top / "etc/a file").stat().st_mtime == 10


def test_what_a_capability_was_given_to_in_a_namespace_is_root_s_outside(top: Path) -> None:
    needs.root()
    granted, permitted = b"\x01\x00\x00", b"\x00\x20\x00\x00" + bytes(12)
    of_namespace = granted + b"\x03" + permitted + (1_000_000).to_bytes(4, "little")
    tree.give(top, shift=1_000_000)
    os.setxattr(top / "etc/a file", "security.capability", of_namespace)

    tree.settle(top, epoch=10, shift=1_000_000)

    assert os.getxattr(top / "etc/a file", "security.capability") == granted + b"\x02" + permitted


def test_files_of_more_bytes_than_anybody_reads_are_refused(top: Path) -> None:
    with (top / "hole").open("wb") as file:
        file.truncate(tree.MOST_BYTES + 1)

    with pytest.raises(OSError, match="more than 16 GiB"):
        tree.settle(top, epoch=10)
