"""A proposal becomes rows: all of it, the risk first, and no line of it can pass for another thing or hide."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperhive.cli.diff_rows import is_cut, rows, summary, whole
from hyperhive.cli.safe import exact
from hyperhive.protocol.host import ApprovalDiff, DiffFile


def diff(*files: DiffFile, **fields: object) -> ApprovalDiff:
    plain = ApprovalDiff(id=9, agent="scout", kind="apply_commit", sha="c0ffee", base="deployed", base_sha="beef")
    return msgspec.structs.replace(plain, files=list(files), **fields)


def file(path: str, *lines: str, added: int = 0, removed: int = 0) -> DiffFile:
    return DiffFile(path=path, change="modified", added=added, removed=removed, lines=list(lines))


def texts(given: ApprovalDiff) -> list[str]:
    return [row.text for row in rows(given)]


def test_who_and_why_and_the_warnings_come_before_the_lines() -> None:
    shown = texts(diff(file("agent.toml", "@@ -1 +1 @@", "-old", "+new", added=1, removed=1), requester="manager",
                       description="more\nmemory", warnings=["limits.memory: 4G becomes 64G"]))  # fmt: skip
    assert shown == [
        "◆ 9 apply_commit of scout, asked for by manager",
        "  │ more\n  │ memory",
        "  commit c0ffee against beef (what is deployed)",
        "! limits.memory: 4G becomes 64G",
        "◆ modified agent.toml  +1 -1",
        "@@ -1 +1 @@",
        "-old",
        "+new",
    ]


def test_the_summary_has_no_lines() -> None:
    shown = [row.text for row in summary(diff(file("agent.toml", "+new", added=1)))]
    assert shown[-1] == "◆ modified agent.toml  +1 -0"


def test_the_parts_of_a_file_become_one_file_and_warnings_are_said_once() -> None:
    first = diff(file("a", "+1", added=3), warnings=["w"])
    second = diff(file("a", "+2", added=3), warnings=["w"])
    third = diff(file("a", "+3", added=3), file("b", "+4", added=1))
    joined = whole([first, second, third])
    assert joined.files == [file("a", "+1", "+2", "+3", added=3), file("b", "+4", added=1)]
    assert joined.warnings == ["w"]


def test_lines_that_are_counted_and_missing_are_noticed() -> None:
    assert is_cut(diff(file("a", "+1", added=2)))
    assert is_cut(diff(file("a", added=0, removed=1)))
    assert not is_cut(diff(file("a", "@@ -1 +1,2 @@", " x", "-y", "+z", "+", added=2, removed=1)))
    assert not is_cut(diff(DiffFile(path="image", change="added", added=7, binary=True)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (diff(), "nothing differs from what is deployed"),
        (diff(base="approved"), "nothing differs from what was approved last"),
        (diff(kind="spawn", sha="", base_sha=""), "the hive makes scout and starts it"),
        (diff(kind="init_config", sha="", base_sha=""), "the hive makes a config repository for scout"),
    ],
)
def test_a_diff_without_lines_says_why(given: ApprovalDiff, words: str) -> None:
    assert words in texts(given)[-1]


def test_a_file_that_is_no_text_says_so_and_what_it_may() -> None:
    mode, words = texts(diff(DiffFile(path="x", change="added", binary=True, lines=["new file mode 100755"])))[-2:]
    assert mode == " new file mode 100755"
    assert "not text" in words


@given(st.lists(st.text(max_size=30)))
def test_no_line_can_pass_for_a_title_or_a_warning_or_become_two(lines: list[str]) -> None:
    shown = texts(diff(file("a", *lines)))[3:]
    assert len(shown) == len(lines)
    assert all(text[0] in " +-@\\" and "\n" not in text for text in shown)


@given(st.text())
def test_no_path_or_warning_or_name_can_begin_a_line_of_its_own(text: str) -> None:
    shown = texts(diff(file(text), requester=text, warnings=[text], agent=text))
    assert all("\n" not in line for line in shown)


@pytest.mark.parametrize("hidden", ["\u200b", "\u00ad", "\u202e", "\U000e0041", "\ufe0f", "\u3164", "\x1b", "\u2800"])
def test_what_takes_no_ink_is_marked_where_something_is_decided(hidden: str) -> None:
    assert hidden not in exact(f"a{hidden}b")
    assert len(exact(f"a{hidden}b")) > 2
