"""Reading what containers wrote: bounded, over two files, never losing a line."""

import asyncio
import contextlib
import os
from pathlib import Path

from hyperhive.containers.logs import MAX_LINE_CHARACTERS, MAX_LINES, Mark, follow, tail
from hyperhive.containers.records import Place


def test_the_last_lines_reach_into_the_older_file_over_a_line_that_was_cut_in_two(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("one\ntwo\nth")
    (tmp_path / "log").write_text("ree\nfour\n")
    assert tail(tmp_path / "log", 3) == ["two", "three", "four"]


def test_the_older_file_alone_is_read_while_there_is_no_newer(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("one\ntwo\n")
    assert tail(tmp_path / "log", 9) == ["one", "two"]


def test_no_more_lines_and_characters_are_read_than_the_bounds(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x\n" * (MAX_LINES + 5) + "y" * 100_000)
    lines = tail(tmp_path / "log", 1 << 30)
    assert len(lines) == MAX_LINES
    assert len(lines[-1]) == MAX_LINE_CHARACTERS


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\xff\xfe\n")
    assert tail(tmp_path / "log", 1) == ["\ufffd\ufffd"]


def test_no_log_is_no_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "log", 5) == []


def test_a_log_that_is_a_link_is_not_followed_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host\n")
    (tmp_path / "log").symlink_to(tmp_path / "secret")
    with contextlib.suppress(OSError):
        assert tail(tmp_path / "log", 5) == []


def test_following_goes_on_in_the_next_file_with_every_line_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\npar")

    async def main() -> list[str]:
        seen = []
        async with contextlib.aclosing(follow(log, 10)) as lines:
            async for line in lines:
                seen.append(line)
                if line == "one":
                    await asyncio.to_thread(_append, log, b"tial\n")
                if line == "partial":
                    await asyncio.to_thread(_rotate, log)
                if line == "last":
                    break
        return seen

    assert asyncio.run(main()) == ["one", "partial", "end of old", "new", "last"]


def _append(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def _rotate(log: Path) -> None:
    _append(log, b"end of old\n")
    log.replace(log.with_name("log.1"))
    _append(log, b"new\nlast\n")


def test_only_what_was_written_behind_a_mark_is_read_also_when_the_file_has_got_another_name_since(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    first = Mark.of(log)
    log.write_text("old\n")
    mark = Mark.of(log)
    with log.open("a") as file:
        file.write("new\n")
    assert tail(log, 9, mark) == ["new"]
    log.rename(tmp_path / "log.1")
    log.write_text("newer\n")
    assert tail(log, 9, mark) == ["new", "newer"]
    assert tail(log, 9, Mark.of(log)) == []
    assert tail(log, 9, first) == ["old", "new", "newer"]


def test_a_container_s_directory_goes_however_deep_its_journal_is(tmp_path: Path) -> None:
    place = Place(tmp_path, "probe")
    place.journal.mkdir(parents=True)
    here = os.open(place.journal, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    place.forget_journal()
    assert not place.journal.exists()
    place.erase()
    assert not place.path.exists()
