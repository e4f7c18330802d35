"""The formats of git's objects, read strictly: nothing here needs a repository or libgit2."""

import hashlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hyperhive.protocol.faults import FaultError, FaultKind

SHA: Final = re.compile(r"[0-9a-f]{40}")
TREE: Final = "40000"
FILE: Final = "100644"
PROGRAM: Final = "100755"
LINK: Final = "120000"
SUBMODULE: Final = "160000"
MODES: Final = frozenset({TREE, FILE, PROGRAM, LINK, SUBMODULE})

_PERSON = re.compile(rb"(author|committer) [^<>\n\0]*<[^<>\n\0]*> [0-9]{1,12} [+-][0-9]{4}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of a tree."""

    mode: str
    name: bytes
    sha: str


@dataclass(frozen=True, kw_only=True)
class Commit:
    tree: str
    parents: tuple[str, ...]
    message: str


def bad_commit(text: str) -> FaultError:
    return FaultError(FaultKind.BAD_COMMIT, text)


def identity(kind: str, data: bytes) -> str:
    """The object's id: 40 hex digits."""
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def parse_tree(data: bytes, where: str) -> tuple[Entry, ...]:
    """Its entries in git's order, at most one of a name. `where` names the tree in a refusal (`bad_commit`)."""
    entries = tuple(_entries(data, where))
    keys = [entry.name + b"/" * (entry.mode == TREE) for entry in entries]
    if any(first >= second for first, second in itertools.pairwise(keys)):
        raise bad_commit(f"{where} is damaged: its names are not in git's order, or one is there twice; make it anew")
    if len({entry.name for entry in entries}) < len(entries):
        raise bad_commit(f"{where} is damaged: it has two entries of one name; make it anew with git")
    return entries


def format_tree(entries: list[Entry]) -> bytes:
    ordered = sorted(entries, key=lambda entry: entry.name + b"/" * (entry.mode == TREE))
    return b"".join(b"%s %s\0%s" % (entry.mode.encode(), entry.name, bytes.fromhex(entry.sha)) for entry in ordered)


def parse_commit(data: bytes) -> Commit:
    """Raises FaultError (`bad_commit`) unless it is as git itself writes one."""
    head, blank, message = data.partition(b"\n\n")
    lines = head.split(b"\n")
    tree = _reference(lines.pop(0), b"tree")
    parents = []
    while lines and lines[0].startswith(b"parent "):
        parents.append(_reference(lines.pop(0), b"parent"))
    people = [found[1] for line in lines[:2] if (found := _PERSON.fullmatch(line))]
    if people != [b"author", b"committer"] or b"\0" in data or not (blank or head.endswith(b"\n")):
        raise bad_commit("the commit object is damaged: its author or committer is not well formed; commit anew")
    return Commit(tree=tree, parents=tuple(parents), message=message.decode(errors="replace"))


def _reference(line: bytes, key: bytes) -> str:
    found = re.fullmatch(key + rb" ([0-9a-f]{40})", line)
    if not found:
        raise bad_commit(f"the commit object is damaged: its {key.decode()} is not an object id; commit anew")
    return found[1].decode()


def _entries(data: bytes, where: str) -> Iterator[Entry]:
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 7)
        end = data.find(b"\0", space)
        if space < 0 or end < 0 or end + 21 > len(data):
            raise bad_commit(f"{where} is damaged: it is cut off, or not a tree at all; make it anew with git")
        mode = data[position:space].decode(errors="replace")
        if mode not in MODES:
            raise bad_commit(
                f"{where} has an entry of the unknown mode {mode!r}; the hive takes files and directories"
            )
        yield Entry(mode=mode, name=data[space + 1 : end], sha=data[end + 1 : end + 21].hex())
        position = end + 21
