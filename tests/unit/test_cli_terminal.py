"""Rows on a terminal, of one agent and of several that write at once."""

import io

from rich.console import Console

from hyperhive.cli.row import Part, Row
from hyperhive.cli.terminal import Terminal


def shown(*rows: tuple[str, Row], names: bool = False) -> str:
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=200), names=names)
    for agent, row in rows:
        terminal.show(agent, row)
    return out.getvalue()


def piece(text: str, message: str = "m1") -> Row:
    return Row(text=text, part=Part.PIECE, message=message)


END = Row(text="", part=Part.END, message="m1")


def test_pieces_grow_one_line_and_the_whole_text_is_not_shown_again() -> None:
    whole = Row(text="  Hello there", message="m1")
    assert shown(("a", piece("Hello")), ("a", piece(" there")), ("a", END), ("a", whole)) == "  Hello there\n"


def test_the_whole_text_is_shown_when_it_was_not_seen_being_written() -> None:
    whole = Row(text="  Bye", message="m2")
    assert shown(("a", piece("Hello")), ("a", END), ("a", whole)) == "  Hello\n  Bye\n"


def test_what_another_agent_writes_begins_a_line_of_its_own() -> None:
    rows = (("a", piece("one")), ("b", piece("two", "m9")), ("a", piece(" more")))
    assert shown(*rows, names=True).splitlines() == [
        "a              one",
        "b              two",
        "a               more",
    ]


def test_a_row_behind_unfinished_text_begins_a_line_of_its_own() -> None:
    assert shown(("a", piece("one")), ("a", Row(text="$ ls"))) == "  one\n$ ls\n"


def test_lines_of_a_text_stand_under_its_first_one() -> None:
    assert shown(("a", piece("one\n✓ turn ok"))) == "  one\n  ✓ turn ok"
    assert shown(("a", Row(text="x\ny")), names=True) == "a            x\n               y\n"


def test_markup_and_emoji_codes_are_only_text() -> None:
    assert shown(("a", Row(text="[bold red]x[/] :smile: [link=http://x]y", style="green"))).strip() == (
        "[bold red]x[/] :smile: [link=http://x]y"
    )


def test_events_of_the_hive_itself_carry_its_name() -> None:
    assert shown(("", Row(text="· up")), names=True) == "hive         · up\n"
