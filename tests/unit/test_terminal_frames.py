"""What goes to a terminal in the browser, byte by byte."""

from hypothesis import given
from hypothesis import strategies as st

from hyperhive.terminal.writing import Writing
from hyperhive.web.frames import Drawn, Frame, links, piece, reset


def test_who_is_in_the_middle_of_a_frame_gets_the_rest_of_it() -> None:
    frame = Frame.of(10, 13, [Drawn(11, "<p>a</p>"), Drawn(13, "<p>b\nc</p>")], Writing(), Writing())
    assert frame is not None
    whole = b"event: terminal\nid: 13\ndata: rows\ndata: <p>a</p>\ndata: <p>b\ndata: c</p>\n\n"
    assert frame.above(9) is frame.above(10) is frame.encoded
    assert frame.encoded == whole
    assert frame.above(11) == whole.replace(b"data: <p>a</p>\n", b"")
    assert frame.above(13) == b""


def test_a_tick_without_anything_to_show_is_no_frame() -> None:
    assert Frame.of(1, 2, [], Writing(message="m", text="a"), Writing(message="m", text="a")) is None


def test_a_piece_says_where_it_goes_on_and_nothing_in_it_ends_its_line() -> None:
    before = Writing(message="m 1", block=2, text="👩a\r\u202e")
    now = Writing(message="m 1", block=2, text="👩a\r\u202eb\r\nid: 7\n\n")
    assert piece(5, before, now) == (
        b"event: terminal\nid: 5\ndata: piece\ndata: 11 text m 1:2\ndata: b\ndata: id: 7\ndata: \ndata: \n\n"
    )
    assert b"data: 0 text \ndata: \n\n" in piece(5, before, Writing())
    assert reset(5) == b"event: terminal\nid: 5\ndata: reset\ndata: \n\n"


@given(st.text(st.sampled_from("htps:/.x ,)<\"'\n")) | st.text())
def test_a_text_with_links_is_the_same_text(text: str) -> None:
    parts = list(links(text))
    assert "".join(part for part, _ in parts) == text
    assert all(part.startswith(("http://", "https://")) for part, is_link in parts if is_link)


def test_an_address_is_a_link_without_what_ends_its_sentence() -> None:
    told = [part for part, is_link in links("see (https://a.example/x?y=1), javascript:alert(1) or http://b.example.")]
    assert told[1::2] == ["https://a.example/x?y=1", "http://b.example"]
