"""What a commit changes, file by file, from the bytes alone: no attribute or config has a say in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pygit2
from pygit2.enums import DiffOption

from hyperhive.protocol.host import DiffFile
from hyperhive.repos.contents import Contents
from hyperhive.repos.objects import FILE

_LOOKED_AT: Final = 8000
"""Bytes in which a NUL makes a file binary, as in git."""
_MOST_COMPARED: Final = 4000
"""Lines in which libgit2 looks for the smallest difference; it lets no other thread run meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """A file as one commit has it."""

    mode: str
    content: bytes


def versions(contents: Contents) -> dict[str, Version]:
    """The files of a commit, by path."""
    return {
        path: Version(mode=entry.mode, content=contents.objects[entry.sha][1])
        for path, entry in contents.files.items()
    }


def diff(path: str, old: Version | None, new: Version | None) -> DiffFile:
    """One of the two is there, and they differ."""
    modes = list(_modes(old, new))
    change = "added" if old is None else "deleted" if new is None else "modified"
    before, after = old.content if old else b"", new.content if new else b""
    if _is_binary(before) or _is_binary(after):
        return DiffFile(path=path, change=change, binary=True, lines=modes)
    if (rough := _rough(before.decode(), after.decode())) is not None:
        added, removed = (sum(line.startswith(sign) for line in rough) for sign in "+-")
        return DiffFile(path=path, change=change, added=added, removed=removed, lines=[*modes, *rough])
    # Bytes, not blobs: libgit2 asks the attributes of a repository only for what it has from one.
    patch = pygit2.Patch.create_from(before, after, flag=DiffOption.FORCE_TEXT | DiffOption.INDENT_HEURISTIC)
    _, added, removed = patch.line_stats
    return DiffFile(path=path, change=change, added=added, removed=removed, lines=[*modes, *_hunks(patch.data)])


def _rough(old: str, new: str) -> list[str] | None:
    """The difference of texts that differ in so many lines that finding the smallest one would stop the hive: all
    between their common beginning and end as removed and added. None for texts that differ less.
    """
    before, after = old.split("\n"), new.split("\n")
    shorter = min(len(before), len(after))
    head = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    tail = next((i for i in range(shorter - head) if before[-1 - i] != after[-1 - i]), shorter - head)
    removed, added = before[head : len(before) - tail], after[head : len(after) - tail]
    if max(len(removed), len(added)) <= _MOST_COMPARED:
        return None
    start = head + 1
    title = f"@@ -{start},{len(removed)} +{start},{len(added)} @@"
    return [title, *(f"-{line}" for line in removed), *(f"+{line}" for line in added)]


def _modes(old: Version | None, new: Version | None) -> Iterator[str]:
    """git's own lines about modes, where there is something to say."""
    if old and new and old.mode != new.mode:
        yield from (f"old mode {old.mode}", f"new mode {new.mode}")
    elif new and not old and new.mode != FILE:
        yield f"new file mode {new.mode}"


def _hunks(patch: bytes) -> list[str]:
    start = patch.find(b"\n@@ ") + 1
    return patch[start:].decode().removesuffix("\n").split("\n") if start else []


def _is_binary(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return True
    return b"\0" in content[:_LOOKED_AT]
