"""Any legal commit comes through the reader's format whole, and nothing else comes through."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperhive.protocol.faults import FaultError
from hyperhive.repos.contents import collect
from hyperhive.repos.limits import RepoLimits
from hyperhive.repos.objects import FILE, TREE, Entry, format_tree, identity, parse_tree
from hyperhive.repos.pinned import decode, encode

NAMES = st.text(alphabet="abch-.0", min_size=1, max_size=5).filter(
    lambda name: set(name) != {"."} and not name.endswith(".")
)
FILES = st.dictionaries(NAMES, st.binary(max_size=40), min_size=1, max_size=6)
PEOPLE = b"author m <m@x> 1700000000 +0000\ncommitter m <m@x> 1700000000 +0000\n"


def written(files: dict[str, bytes], directories: dict[str, dict[str, bytes]], message: str) -> tuple[str, bytes]:
    objects: dict[tuple[str, str], bytes] = {}

    def add(kind: str, data: bytes) -> str:
        sha = identity(kind, data)
        objects[kind, sha] = data
        return sha

    def entries(level: dict[str, bytes]) -> list[Entry]:
        return [Entry(mode=FILE, name=name.encode(), sha=add("blob", data)) for name, data in level.items()]

    top = entries({name: data for name, data in files.items() if name not in directories})
    for name, below in directories.items():
        top.append(Entry(mode=TREE, name=name.encode(), sha=add("tree", format_tree(entries(below)))))
    tree = add("tree", format_tree(top))
    sha = add("commit", b"tree " + tree.encode() + b"\n" + PEOPLE + b"\n" + message.encode())
    return sha, encode(sha, collect(sha, lambda kind, wanted, _what, _most: objects[kind, wanted], RepoLimits()))


@given(files=FILES, directories=st.dictionaries(NAMES, FILES, max_size=3), message=st.text(max_size=50))
def test_a_legal_commit_is_the_same_behind_the_wire(
    files: dict[str, bytes], directories: dict[str, dict[str, bytes]], message: str
) -> None:
    sha, output = written(files, directories, message.replace("\0", ""))
    pinned = decode(output)
    assert pinned.sha == sha
    assert all(identity(kind, data) for kind, data in pinned.objects)
    assert pinned.files == len([name for name in files if name not in directories]) + sum(
        map(len, directories.values())
    )


@settings(max_examples=300)
@given(files=FILES, at=st.integers(min_value=0), byte=st.integers(min_value=1, max_value=255))
def test_no_changed_byte_passes(files: dict[str, bytes], at: int, byte: int) -> None:
    sha, output = written(files, {}, "m")
    position = at % len(output)
    changed = output[:position] + bytes([output[position] ^ byte]) + output[position + 1 :]
    try:
        assert decode(changed).sha == sha, "the same commit, framed otherwise"
        assert changed == output
    except FaultError:
        pass


@given(data=st.binary(max_size=300))
def test_noise_is_refused_and_never_breaks_the_daemon(data: bytes) -> None:
    for output in (data, b"commit " + b"0" * 40 + b"\n" + data, b"commit " + b"0" * 40 + b"\ntree 9\n" + data):
        with pytest.raises(FaultError) as caught:
            decode(output)
        assert caught.value.message.isprintable()


@given(data=st.binary(max_size=200))
def test_a_tree_is_refused_or_is_written_back_as_it_was(data: bytes) -> None:
    try:
        entries = parse_tree(data, "it")
    except FaultError:
        return
    assert format_tree(list(entries)) == data
