"""However bytes arrive, the same lines come out, and a line never costs more memory than its bound."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from hyperhive.protocol.framing import OVERLONG, LineSplitter, Overlong

MAX = 16
texts = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=8)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(a % (len(data) + 1) for a in at)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(lines=texts, at=st.lists(st.integers(min_value=0, max_value=400), max_size=12))
def test_lines_come_out_whole_whatever_the_chunks(lines: list[bytes], at: list[int]) -> None:
    splitter = LineSplitter(MAX)
    out: list[bytes | Overlong] = []
    for chunk in cut(b"".join(line + b"\n" for line in lines), at):
        out.extend(splitter.feed(chunk))
    assert out == [OVERLONG if len(line) > MAX else line for line in lines if line]
    assert splitter.pending == 0


@given(chunks=st.lists(st.binary(max_size=64), max_size=20))
def test_a_splitter_never_holds_more_than_one_line(chunks: list[bytes]) -> None:
    splitter = LineSplitter(MAX)
    for chunk in chunks:
        list(splitter.feed(chunk))
        assert splitter.pending <= MAX


def test_an_overlong_line_is_reported_before_it_ends() -> None:
    splitter = LineSplitter(MAX)
    assert list(splitter.feed(b"x" * (MAX + 1))) == [OVERLONG]
    assert list(splitter.feed(b"still the same line\nnext\n")) == [b"next"]
