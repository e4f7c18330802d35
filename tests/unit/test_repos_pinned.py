"""What the daemon makes of the confined reader's output: it believes nothing of it."""

from collections.abc import Mapping

import pytest

from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.objects import identity
from hyperhive.repos.pinned import Pinned, decode, encode_refusal

PEOPLE = b"author m <m@x> 1700000000 +0000\ncommitter m <m@x> 1700000000 +0000\n"
Tree = Mapping[str, "str | Tree | tuple[str, str]"]


class Output:
    """What a reader could write."""

    def __init__(self) -> None:
        self.objects: list[tuple[str, bytes]] = []

    def add(self, kind: str, data: bytes) -> str:
        if (kind, data) not in self.objects:
            self.objects.append((kind, data))
        return identity(kind, data)

    def tree(self, tree: Tree) -> str:
        """Files by name; a pair is (mode, content)."""
        lines = []
        for name, value in tree.items():
            mode, kind = ("100644", "blob") if isinstance(value, str) else ("40000", "tree")
            if isinstance(value, tuple):
                mode, value, kind = *value, "blob"
            sha = self.add(kind, value.encode()) if isinstance(value, str) else self.tree(value)
            lines.append((name + "/" * (kind == "tree"), f"{mode} {name}\0".encode() + bytes.fromhex(sha)))
        return self.add("tree", b"".join(line for _, line in sorted(lines)))

    def commit(self, tree: Tree, head: bytes = PEOPLE, message: bytes = b"m") -> str:
        return self.add("commit", b"tree " + self.tree(tree).encode() + b"\n" + head + b"\n" + message)

    def written(self, sha: str) -> bytes:
        frames = (f"{kind} {len(data)}\n".encode() + data for kind, data in self.objects)
        return f"commit {sha}\n".encode() + b"".join(frames)


def decoded(tree: Tree, limits: RepoLimits | None = None) -> Pinned:
    output = Output()
    return decode(output.written(output.commit(tree)), limits or RepoLimits())


def refusal(output: bytes, limits: RepoLimits | None = None) -> str:
    with pytest.raises(FaultError) as caught:
        decode(output, limits or RepoLimits())
    assert caught.value.kind is FaultKind.BAD_COMMIT
    return caught.value.message


def refusal_of(tree: Tree, limits: RepoLimits | None = None) -> str:
    output = Output()
    return refusal(output.written(output.commit(tree)), limits)


def test_a_commit_comes_out_as_it_went_in() -> None:
    pinned = decoded({"agent.toml": "a", "d": {"agent.toml": "a", "run": ("100755", "b")}})
    assert (pinned.files, pinned.message) == (3, "m")
    assert [kind for kind, _ in pinned.objects] == ["commit", "tree", "blob", "tree", "blob"]
    assert identity(*pinned.objects[0]) == pinned.sha


def test_a_refusal_of_the_reader_is_told_in_one_bounded_line_without_its_tricks() -> None:
    text = refusal(encode_refusal("no \x1b[31m such\u202e\ncommit " + "x" * 10_000))
    assert text.startswith("no �[31m such� commit x")
    assert len(text) <= 600


@pytest.mark.parametrize("output", [b"", b"hello", b"commit abc\n", b"\xff" * 100, b"commit " + b"0" * 40])
def test_noise_is_no_commit(output: bytes) -> None:
    assert "does not begin with a commit" in refusal(output)


def test_a_changed_byte_is_found() -> None:
    output = Output()
    written = output.written(output.commit({"agent.toml": "good content"}))
    assert "is not what its id says" in refusal(written.replace(b"good", b"evil"))


def test_an_object_too_many_is_found() -> None:
    output = Output()
    sha = output.commit({"a": "1"})
    output.add("blob", b"smuggled")
    assert "does not need" in refusal(output.written(sha))


def test_the_daemon_counts_objects_while_it_reads_them_and_stops_at_what_a_commit_may_have() -> None:
    output = Output()
    sha = output.commit({"a": "1"})
    for number in range(20):
        output.add("blob", b"%d" % number)
    assert "more objects" in refusal(output.written(sha), RepoLimits(files=5, depth=2))


def test_an_object_that_is_there_twice_is_found() -> None:
    output = Output()
    sha = output.commit({"a": "1"})
    output.objects.append(output.objects[0])
    assert "twice" in refusal(output.written(sha))


def test_an_object_too_few_is_found() -> None:
    output = Output()
    sha = output.commit({"a": "1"})
    output.objects.remove(("blob", b"1"))
    assert "is missing" in refusal(output.written(sha))


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_an_output_that_is_cut_off_is_found(cut: int) -> None:
    output = Output()
    assert "cut off" in refusal(output.written(output.commit({"a": "1" * 100}))[:-cut])


def test_sizes_that_are_not_there_are_not_believed() -> None:
    assert "cut off" in refusal(b"commit " + b"0" * 40 + b"\nblob 999999999\nx")
    assert "cut off" in refusal(b"commit " + b"0" * 40 + b"\nblob 9999999999999999999\nx")


def test_an_output_over_the_bound_is_not_looked_at() -> None:
    assert "too long" in refusal(b"x" * (RepoLimits().output_bytes + 1))


def test_a_blob_where_a_tree_belongs_is_found() -> None:
    output = Output()
    blob = output.add("blob", b"x")
    sha = output.add("commit", b"tree " + blob.encode() + b"\n" + PEOPLE + b"\nm")
    assert "tree" in refusal(output.written(sha))


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"a": "", "b": "", "c": ""}, "more than 2 files"),
        ({"a": "x" * 11}, "'a' has 11 bytes and the hive takes 10"),
        ({"a": "x" * 9, "b": "y" * 9}, "have more than 15 bytes"),
        ({"a": "x" * 9, "b": "x" * 9}, "have more than 15 bytes"),
        ({"a": {"b": {"c": ""}}}, "deeper than 2"),
    ],
)
def test_limits_hold_and_are_named(tree: Tree, words: str) -> None:
    assert words in refusal_of(tree, RepoLimits(files=2, file_bytes=10, total_bytes=15, depth=2))


@pytest.mark.parametrize(
    "name",
    [
        *(".git", ".GIT", ".Git", ".git.", ".git ", ".git::$INDEX_ALLOCATION", "git~1", "GIT~2", ".g\u200cit"),
        *(".git\ufeff", ".gitmodules", ".GitModules", "gitmod~1", "GI7EBA~1", ".", "..", "a\\b", "a\nb", "\x1b[2J"),
        *("\u202eabc", "e\u0301", "\u2028", "\x7f", "\ue000"),
    ],
)
def test_names_with_a_trick_are_refused_and_shown_harmlessly(name: str) -> None:
    message = refusal_of({name: "x"})
    assert "rename" in message
    assert message.isascii()


@pytest.mark.parametrize("name", ["a b", ".gitignore", ".gitattributes", "é", "日本", "a.git", ".github", "$x;`y`"])
def test_ordinary_names_are_taken(name: str) -> None:
    assert decoded({name: "x"}).files == 1


@pytest.mark.parametrize("names", [("README", "readme"), ("ß", "SS"), ("é", "É"), ("ſ", "s")])
def test_names_that_are_one_without_case_are_refused(names: tuple[str, str]) -> None:
    assert "where case does not count" in refusal_of(dict.fromkeys(names, "x"))


@pytest.mark.parametrize("mode", ["100664", "040000", "0", "160001", "120777", "7", "100600"])
def test_unknown_modes_are_refused(mode: str) -> None:
    assert "mode" in refusal_of({"a": (mode, "x")})


def test_a_submodule_is_refused_before_anything_is_looked_for() -> None:
    assert "submodule" in refusal_of({"a": ("160000", "x")})


@pytest.mark.parametrize(
    "target",
    [
        *("/etc/passwd", "../up", "d/../../up", "", "nowhere", "self", "d/f/../f", "f/", "f/.", "other", "d/inner"),
        *(".", "..", "d/..", "a\0b", "f\n", "x" * 2000, "d/link/f"),
    ],
)
def test_links_lead_to_a_file_or_directory_of_the_commit_and_nowhere_else(target: str) -> None:
    link = ("120000", target)
    others: Tree = {"d": {"f": "x", "inner": ("120000", "f"), "link": ("120000", "..")}, "f": "x"}
    only_good: Tree = {"d": {"f": "x", "inner": ("120000", "f")}, "f": "x", "other": ("120000", "f")}
    assert "link" in refusal_of({**only_good, "self": link})
    assert "link" in refusal_of({**others, "a": link})


@pytest.mark.parametrize("target", ["f", "./f", "d", "d/", "d/./g", "d/../f", "e/../d/g"])
def test_links_within_the_commit_are_taken(target: str) -> None:
    assert decoded({"f": "x", "d": {"g": "x"}, "e": {"h": "x"}, "link": ("120000", target)}).files == 4


def test_a_link_to_a_directory_that_it_lies_in_is_refused() -> None:
    assert "link" in refusal_of({"d": {"e": {"up": ("120000", "../../d"), "f": "x"}}})


@pytest.mark.parametrize(
    "data",
    [
        *(b"100644 a\0short", b"100644 a", b"no space here", b"100644 b\0" + bytes(20) + b"100644 a\0" + bytes(20)),
        *(b"100644 a\0" + bytes(20) + b"100755 a\0" + bytes(20), b"100644 a\0" + bytes(20) + b"40000 a\0" + bytes(20)),
        b"100644 a\0" + bytes(20) + b"100644 a-\0" + bytes(20) + b"40000 a\0" + bytes(20),
    ],
)
def test_a_damaged_tree_is_refused(data: bytes) -> None:
    output = Output()
    tree = output.add("tree", data)
    output.add("blob", b"")
    sha = output.add("commit", b"tree " + tree.encode() + b"\n" + PEOPLE + b"\nm")
    assert "damaged" in refusal(output.written(sha))


def test_an_empty_directory_is_refused() -> None:
    assert "is empty" in refusal_of({"d": {}, "a": "x"})


@pytest.mark.parametrize(
    "head",
    [
        *(b"", b"author m <m@x> 1 +0000\n", b"parent short\n" + PEOPLE, PEOPLE.replace(b"<", b""), b"x\0y\n" + PEOPLE),
        *(PEOPLE.replace(b"1700000000", b"-1"), PEOPLE.replace(b"author", b"editor"), PEOPLE.replace(b"m@x", b"m\0x")),
    ],
)
def test_a_damaged_commit_is_refused(head: bytes) -> None:
    output = Output()
    assert "damaged" in refusal(output.written(output.commit({"a": "x"}, head)))


def test_a_signed_merge_is_taken() -> None:
    output = Output()
    head = b"parent " + b"1" * 40 + b"\nparent " + b"2" * 40 + b"\n" + PEOPLE + b"gpgsig -----BEGIN\n \n -----END\n"
    assert decode(output.written(output.commit({"a": "x"}, head))).files == 1


def test_a_huge_message_is_refused() -> None:
    output = Output()
    assert "the commit has" in refusal(output.written(output.commit({"a": "x"}, message=b"x" * 70_000)))
