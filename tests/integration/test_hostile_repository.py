"""What a hostile config repository can try: it is refused in words or read as it is, and nothing of it runs."""

import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from config_house import ConfigHouse, Repository, git
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.repos.applied import Applied

pytestmark = pytest.mark.container

GIB = 1 << 30
ODD = b"$Id$\r\n"
"""What `ident` and `eol` would change."""


@pytest.fixture
def house(tmp_path: Path) -> ConfigHouse:
    return ConfigHouse(tmp_path)


def zeros(declared: int, real: int) -> tuple[str, bytes]:
    """A blob of zeros that says it has `declared` bytes and inflates to `real`; with its honest id when they agree."""
    packer, digest, chunk = zlib.compressobj(1), hashlib.sha1(), bytes(16 << 20)
    head = f"blob {declared}\0".encode()
    digest.update(head)
    compressed = [packer.compress(head)]
    for _ in range(real // len(chunk)):
        digest.update(chunk)
        compressed.append(packer.compress(chunk))
    return digest.hexdigest(), b"".join([*compressed, packer.flush()])


def many_files(repository: Repository) -> str:
    blob = repository.raw("blob", b"")
    return repository.holding(*(("100644", f"{number:06}", blob) for number in range(100_000)))


def a_gigabyte(repository: Repository) -> str:
    return repository.holding(("100644", "agent.toml", repository.loose(*zeros(GIB, GIB))))


def a_blob_that_lies_about_its_size(repository: Repository) -> str:
    return repository.holding(("100644", "agent.toml", repository.loose(*zeros(10, GIB // 4))))


def a_small_file_made_from_a_gigabyte(repository: Repository) -> str:
    """A pack in which the file is a difference to a blob of zeros; git itself would take long to index it."""
    wanted = hashlib.sha1(b"blob 4\0" + bytes(4)).digest()
    packer = zlib.compressobj(1)
    base = b"\xb0\x80\x80\x80\x40" + b"".join(packer.compress(bytes(1 << 24)) for _ in range(64)) + packer.flush()
    delta = zlib.compress(b"\x80\x80\x80\x80\x04" + b"\x04" + b"\x90\x04")  # of 1 GiB: copy its first 4 bytes
    reference = b"\x78" + bytes(20) + delta  # a difference, 8 bytes long, to the blob whose id is all zeros
    pack = b"PACK" + struct.pack(">II", 2, 2) + base + reference
    pack += hashlib.sha1(pack).digest()
    counts = [1 + (number >= wanted[0]) for number in range(256)]
    index = b"\xfftOc" + struct.pack(">I256I", 2, *counts) + bytes(20) + wanted + bytes(8)
    index += struct.pack(">II", 12, 12 + len(base)) + pack[-20:]
    place = repository.path / ".git/objects/pack"
    (place / f"pack-{'1' * 40}.pack").write_bytes(pack)
    (place / f"pack-{'1' * 40}.idx").write_bytes(index + hashlib.sha1(index).digest())
    return repository.holding(("100644", "agent.toml", wanted.hex()))


def the_same_blob_in_many_places(repository: Repository) -> str:
    blob = repository.raw("blob", b"x" * 200_000)
    return repository.holding(*(("100644", f"{number:02}", blob) for number in range(30)))


def trees_that_multiply(repository: Repository) -> str:
    tree = repository.tree(("100644", "a", repository.raw("blob", b"")))
    for _ in range(12):
        tree = repository.tree(*(("40000", f"{number}", tree) for number in range(10)))
    return repository.commit_of(tree)


def deep_directories(repository: Repository) -> str:
    tree = repository.tree(("100644", "a", repository.raw("blob", b"")))
    for _ in range(3000):
        tree = repository.tree(("40000", "d", tree))
    return repository.commit_of(tree)


def a_submodule(repository: Repository) -> str:
    return repository.holding(("160000", "module", repository.first))


def a_link(target: bytes) -> Callable[[Repository], str]:
    def make(repository: Repository) -> str:
        return repository.holding(("120000", "link", repository.raw("blob", target)))

    return make


def a_chain_of_links(repository: Repository) -> str:
    first, second = repository.raw("blob", b"b"), repository.raw("blob", b"c")
    return repository.holding(("120000", "a", first), ("120000", "b", second), ("100644", "c", second))


def a_name(*names: str | bytes) -> Callable[[Repository], str]:
    def make(repository: Repository) -> str:
        blob = repository.raw("blob", b"")
        return repository.holding(*(("100644", name, blob) for name in names))

    return make


def a_corrupt_object(repository: Repository) -> str:
    blob = git(repository.path, "rev-parse", "HEAD:agent.toml")
    place = repository.path / ".git/objects" / blob[:2] / blob[2:]
    place.unlink()
    place.write_bytes(zlib.compress(b"blob 5\0other"))
    return repository.first


def a_truncated_pack(repository: Repository) -> str:
    git(repository.path, "gc", "-q")
    (pack,) = (repository.path / ".git/objects/pack").glob("*.pack")
    pack.chmod(0o644)
    os.truncate(pack, pack.stat().st_size // 2)
    return repository.first


def a_huge_message(repository: Repository) -> str:
    tree = git(repository.path, "rev-parse", "HEAD^{tree}")
    return repository.commit_of(tree, b"m" * 1_000_000)


def a_tree_for_a_commit(repository: Repository) -> str:
    return git(repository.path, "rev-parse", "HEAD^{tree}")


def a_tag_for_a_commit(repository: Repository) -> str:
    git(repository.path, "tag", "-am", "t", "release")
    return git(repository.path, "rev-parse", "release")


def a_commit_without_people(repository: Repository) -> str:
    tree = git(repository.path, "rev-parse", "HEAD^{tree}")
    return repository.raw("commit", f"tree {tree}\n\nm".encode())


def an_ambiguous_prefix(repository: Repository) -> str:
    """Two objects whose ids begin alike; only their names count, for they are looked for by name."""
    for last in "01":
        repository.loose("abcdef01" + last * 32, zlib.compress(b"blob 0\0"))
    return "abcdef01"


REFUSED: dict[str, tuple[Callable[[Repository], str], str]] = {
    "100,000 files": (many_files, "the top directory has a listing of"),
    "a blob of 1 GiB": (a_gigabyte, "has 1073741824 bytes"),
    "a blob that inflates to more than it says": (a_blob_that_lies_about_its_size, "missing or damaged"),
    "a small file made from a gigabyte": (a_small_file_made_from_a_gigabyte, "memory"),
    "one blob in so many places that the files are too large": (
        the_same_blob_in_many_places,
        "have more than 4194304",
    ),
    "trees that multiply": (trees_that_multiply, "more than 1000 files"),
    "deep directories": (deep_directories, "deeper than 16"),
    "a submodule": (a_submodule, "is a submodule"),
    ".gitmodules": (a_name(".gitmodules"), "submodules"),
    "a link to /etc/shadow": (a_link(b"/etc/shadow"), "'/etc/shadow'"),
    "a link out of the tree": (a_link(b"a/../../secret"), "leads"),
    "a link to nothing": (a_link(b"nowhere"), "'nowhere'"),
    "a chain of links": (a_chain_of_links, "is a link itself"),
    ".git in capitals": (a_name(".GIT"), "git keeps for itself"),
    ".git with an invisible character": (a_name(".git\u200c"), "git keeps for itself"),
    ".git as NTFS shortens it": (a_name("git~1"), "git keeps for itself"),
    "..": (a_name(".."), "not a plain name"),
    "names that differ in case": (a_name("README", "readme"), "where case does not count"),
    "a decomposed name": (a_name("e\u0301"), "NFC"),
    "a name that turns the text around": (a_name("a\u202etxt"), "invisible"),
    "a name that is not UTF-8": (a_name(b"\xff"), "not UTF-8"),
    "one name twice": (a_name("a", "a"), "damaged"),
    "a corrupt object": (a_corrupt_object, "missing or damaged"),
    "a truncated pack": (a_truncated_pack, "git fsck"),
    "a huge message": (a_huge_message, "the commit has 1000"),
    "a tree instead of a commit": (a_tree_for_a_commit, "is a tree"),
    "a tag instead of a commit": (a_tag_for_a_commit, "is a tag"),
    "a commit without an author": (a_commit_without_people, "author"),
    "a short sha of several objects": (an_ambiguous_prefix, "several objects"),
    "a branch's name": (lambda repository: "main", "not a commit's sha"),
    "a sha that is not there": (lambda repository: "f" * 40, "missing"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_with_the_reason(house: ConfigHouse, what: str) -> None:
    make, words = REFUSED[what]
    ref = make(house.repository())
    with pytest.raises(FaultError) as caught:
        house.read(ref)
    assert caught.value.kind is FaultKind.BAD_COMMIT
    assert words in caught.value.message
    assert caught.value.message.isprintable()
    assert not (house.paths.state_dir / "reading/coder").exists()


def test_what_hooks_filters_attributes_and_config_name_never_runs_and_the_diff_shows_every_byte(
    house: ConfigHouse, tmp_path: Path
) -> None:
    repository, marker = house.repository(), tmp_path / "marker"
    attributes = repository.raw("blob", b"* -diff filter=evil text eol=crlf ident\n")
    sha = repository.holding(("100644", ".gitattributes", attributes), ("100644", "a", repository.raw("blob", ODD)))
    evil = repository.path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {marker}\n")
    evil.chmod(0o755)
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change", "fsmonitor-watchman"):
        (repository.path / ".git/hooks" / hook).write_bytes(evil.read_bytes())
        (repository.path / ".git/hooks" / hook).chmod(0o755)
    (repository.path / ".git/evil-config").write_text(f"[core]\n\tsshCommand = {evil}\n")
    for key in ("core.fsmonitor", "core.pager", "filter.evil.smudge", "filter.evil.clean", "diff.external"):
        git(repository.path, "config", key, str(evil))
    git(repository.path, "config", "core.hooksPath", str(repository.path / ".git/hooks"))
    git(repository.path, "config", "include.path", "evil-config")
    pinned = house.read(sha)
    applied = Applied(tmp_path / "applied")
    first = applied.create({"agent.toml": b"description = 'one'\n"}, "first")
    applied.store(pinned)
    shown = {file.path: file.lines for file in applied.diff(first, pinned.sha)}
    applied.set_main(pinned.sha)
    assert shown["a"] == ["@@ -0,0 +1 @@", "+$Id$\r"]
    assert shown[".gitattributes"][1] == "+* -diff filter=evil text eol=crlf ident"
    assert (applied.path / "a").read_bytes() == ODD
    assert not marker.exists()


def test_a_branch_that_is_called_like_a_sha_is_not_looked_at(house: ConfigHouse) -> None:
    repository = house.repository()
    target = repository.first
    repository.commit(a="other")
    git(repository.path, "branch", target[:10])
    git(repository.path, "update-ref", "refs/heads/deadbeef", "HEAD")
    assert house.read(target[:10]).sha == target
    with pytest.raises(FaultError, match="no commit deadbeef"):
        house.read("deadbeef")


def test_head_is_the_commit_it_names_now_also_on_a_branch_with_slashes_and_packed(house: ConfigHouse) -> None:
    repository = house.repository()
    git(repository.path, "checkout", "-qb", "a/b/c")
    sha = repository.commit(a="1")
    assert house.read("HEAD").sha == sha
    git(repository.path, "gc", "-q")
    assert house.read("HEAD").sha == sha


def test_a_commit_that_was_amended_away_is_read_as_it_was_proposed(house: ConfigHouse, tmp_path: Path) -> None:
    repository = house.repository()
    proposed = repository.commit(a="proposed")
    pinned = house.read(proposed)
    (repository.path / "a").write_text("amended")
    git(repository.path, "commit", "-qa", "--amend", "-m", "amended")
    git(repository.path, "reflog", "expire", "--expire=now", "--all")
    git(repository.path, "gc", "-q", "--prune=now")
    applied = Applied(tmp_path / "applied")
    applied.create({}, "first")
    applied.store(pinned)
    assert applied.text(proposed, "a") == "proposed"
    with pytest.raises(FaultError, match="missing"):
        house.read(proposed)


def test_history_does_not_come_along(house: ConfigHouse) -> None:
    repository = house.repository()
    sha = repository.commit(b="2")
    assert [kind for kind, _ in house.read(sha).objects] == ["commit", "tree", "blob", "blob"]


def test_a_good_link_and_a_program_are_taken(house: ConfigHouse, tmp_path: Path) -> None:
    repository = house.repository()
    (repository.path / "prompts").mkdir()
    (repository.path / "prompts/link").symlink_to("../agent.toml")
    (repository.path / "run").write_text("true\n")
    (repository.path / "run").chmod(0o755)
    sha = repository.commit()
    assert house.read(sha).files == 3


def as_a_file(config: Path, elsewhere: Path) -> None:
    (config / ".git").rename(elsewhere)
    (config / ".git").write_text(f"gitdir: {elsewhere}\n")


def as_a_link(config: Path, elsewhere: Path) -> None:
    (config / ".git").rename(elsewhere)
    (config / ".git").symlink_to(elsewhere)


def with_objects_elsewhere(config: Path, elsewhere: Path) -> None:
    (config / ".git/objects").rename(elsewhere)
    (config / ".git/objects").symlink_to(elsewhere)


def moved_and_linked(config: Path, elsewhere: Path) -> None:
    config.rename(elsewhere)
    config.symlink_to(elsewhere)


def with_a_link_for_an_object(config: Path, elsewhere: Path) -> None:
    place = next((config / ".git/objects").glob("[0-9a-f][0-9a-f]/*"))
    place.rename(elsewhere)
    place.symlink_to(elsewhere)


def with_a_pipe_for_an_object(config: Path, elsewhere: Path) -> None:
    place = next((config / ".git/objects").glob("[0-9a-f][0-9a-f]/*"))
    place.unlink()
    os.mkfifo(place)


def with_a_pipe_for_head(config: Path, elsewhere: Path) -> None:
    (config / ".git/HEAD").unlink()
    os.mkfifo(config / ".git/HEAD")


def deleted(config: Path, elsewhere: Path) -> None:
    config.rename(elsewhere)


def without_git(config: Path, elsewhere: Path) -> None:
    (config / ".git").rename(elsewhere)


DISGUISES = (
    (as_a_file, "not the plain file or directory"),
    (as_a_link, "is a link"),
    (with_objects_elsewhere, "is a link"),
    (moved_and_linked, "is a link"),
    (with_a_link_for_an_object, "is a link"),
    (with_a_pipe_for_an_object, "not the plain file"),
    (with_a_pipe_for_head, "not the plain file"),
    (deleted, "is not there; make a repository"),
    (without_git, "is not there; make a repository"),
)


@pytest.mark.parametrize(("disguise", "words"), DISGUISES)
def test_a_repository_that_lies_elsewhere_is_not_followed(
    house: ConfigHouse, tmp_path: Path, disguise: Callable[[Path, Path], None], words: str
) -> None:
    repository = house.repository()
    disguise(house.config, tmp_path / "elsewhere")
    with pytest.raises(FaultError, match=words) as caught:
        house.read(repository.first)
    assert caught.value.kind is FaultKind.BAD_COMMIT


def test_objects_of_another_agents_repository_are_not_reached_through_alternates(house: ConfigHouse) -> None:
    repository = house.repository()
    other = Repository(house.paths.agent_config("other"))
    secret = other.commit(secret="s")
    (repository.path / ".git/objects/info/alternates").write_text(f"{other.path}/.git/objects\n")
    (repository.path / ".git/commondir").write_text(f"{other.path}/.git\n")
    assert git(repository.path, "cat-file", "-t", secret) == "commit"
    with pytest.raises(FaultError, match="missing"):
        house.read(secret)


def test_an_empty_repository_is_told_to_commit(house: ConfigHouse) -> None:
    house.config.mkdir(parents=True)
    git(house.config, "init", "-q")
    with pytest.raises(FaultError, match="commit first"):
        house.read("HEAD")


def outcome(house: ConfigHouse) -> str:
    try:
        return house.read("HEAD").sha
    except FaultError as fault:
        return fault.kind


def test_a_repository_that_changes_while_it_is_read_gives_a_commit_of_its_own_or_a_refusal(house: ConfigHouse) -> None:
    repository = house.repository()
    commits = {repository.first, *(repository.commit(a=str(number)) for number in range(4))}
    git(repository.path, "gc", "-q")
    (pack,) = (repository.path / ".git/objects/pack").glob("*.pack")
    pack.chmod(0o644)
    whole, over = pack.read_bytes(), threading.Event()

    def write() -> None:
        shas = sorted(commits)
        for turn in range(1_000_000):
            if over.is_set():
                break
            (repository.path / ".git/refs/heads/main").write_text(shas[turn % len(shas)] + "\n")
            os.truncate(pack, len(whole) // 2)
            pack.write_bytes(whole)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            assert outcome(house) in {*commits, FaultKind.BAD_COMMIT}
    finally:
        over.set()
        writer.join()
    assert house.read(repository.first).sha == repository.first
