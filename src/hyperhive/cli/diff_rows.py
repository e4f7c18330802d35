"""What a proposal changes, as the operator reads it to decide. Pure; every text in a row is clean and whole."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from hyperhive.cli.row import Row
from hyperhive.cli.safe import clean, exact
from hyperhive.protocol.host import ApprovalDiff, DiffFile

SHORT: Final = 12
"""Characters of a commit's name in lists."""
_BASES: Final = {"deployed": "what is deployed", "approved": "what was approved last", "queued": "the one before it"}
_STYLES: Final = {"+": "green", "-": "red", "@": "cyan", "\\": "dim", " ": ""}
_MARKS: Final = {"added": "green", "deleted": "red"}


def whole(parts: Iterable[ApprovalDiff]) -> ApprovalDiff:
    """One diff of all its parts, of which there is at least one; the parts of a file become one file."""
    first, *rest = parts
    files = list(_joined(file for part in (first, *rest) for file in part.files))
    warnings = dict.fromkeys(warning for part in (first, *rest) for warning in part.warnings)
    return msgspec.structs.replace(first, files=files, warnings=list(warnings))


def is_cut(diff: ApprovalDiff) -> bool:
    """Whether lines are missing that the diff itself counts."""
    return any(not file.binary and _counted(file) != (file.added, file.removed) for file in diff.files)


def rows(diff: ApprovalDiff) -> Iterator[Row]:
    """All of it: who and why, the warnings, then the lines."""
    yield from heading(diff)
    if not diff.files:
        yield Row(text=nothing_differs(diff))
    for file in diff.files:
        yield _title(file)
        yield from map(_line, file.lines)
        if file.binary:
            yield Row(text="  not text; it is not shown", style="dim")


def summary(diff: ApprovalDiff) -> Iterator[Row]:
    """The same without the lines: each file with how much of it changes."""
    yield from heading(diff)
    if not diff.files:
        yield Row(text=nothing_differs(diff))
    yield from map(_title, diff.files)


def heading(diff: ApprovalDiff) -> Iterator[Row]:
    asked = f", asked for by {exact(diff.requester)}" if diff.requester else ""
    status = f" ({exact(diff.status)})" if diff.status and diff.status != "pending" else ""
    yield Row(
        text=f"◆ {diff.id} {exact(diff.kind)} of {exact(diff.agent) or 'all agents'}{asked}{status}", style="bold"
    )
    if diff.description:
        yield Row(text="\n".join("  │ " + exact(line) for line in clean(diff.description).split("\n")))
    if diff.sha:
        against = f" against {exact(diff.base_sha)} ({base_in_words(diff.base)})" if diff.base_sha else ""
        yield Row(text=f"  commit {exact(diff.sha)}{against}")
    for warning in diff.warnings:
        yield Row(text=f"! {exact(warning)}", style="yellow")


def nothing_differs(diff: ApprovalDiff) -> str:
    if diff.sha:
        return f"nothing differs from {base_in_words(diff.base)}"
    name = exact(diff.agent)
    if diff.kind == "spawn":
        return f"there is no commit to compare: approved, the hive makes {name} and starts it"
    if diff.kind == "update_meta_inputs":
        taken = f"newer revisions of {inputs(diff.inputs)}"
        return f"there is no commit to compare: approved, the hive takes {taken} and rebuilds who has them"
    return f"there is no commit to compare: approved, the hive makes a config repository for {name}"


def inputs(names: Iterable[str]) -> str:
    """Those of the agents' systems that are meant."""
    return ", ".join(map(exact, names)) or "all inputs"


def base_in_words(base: str) -> str:
    return _BASES.get(base, exact(base))


def _joined(pieces: Iterable[DiffFile]) -> Iterator[DiffFile]:
    """Pieces under the same path that follow each other are one file. Lines are gathered once, not again per piece."""
    current: DiffFile | None = None
    lines: list[str] = []
    for piece in pieces:
        if current is not None and (piece.path, piece.change) != (current.path, current.change):
            yield msgspec.structs.replace(current, lines=lines)
            current = None
        if current is None:
            current, lines = piece, []
        lines.extend(piece.lines)
    if current is not None:
        yield msgspec.structs.replace(current, lines=lines)


def _counted(file: DiffFile) -> tuple[int, int]:
    return sum(line.startswith("+") for line in file.lines), sum(line.startswith("-") for line in file.lines)


def _title(file: DiffFile) -> Row:
    counts = "" if file.binary else f"  +{file.added} -{file.removed}"
    return Row(text=f"◆ {exact(file.change)} {exact(file.path)}{counts}", style=f"bold {_MARKS.get(file.change, '')}")


def _line(line: str) -> Row:
    """It begins with one of the diff's own marks, so that no line can pass for a title."""
    marked = line if line[:1] in _STYLES and line else " " + line
    return Row(text=exact(marked), style=_STYLES[marked[0]])
