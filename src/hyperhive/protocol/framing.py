"""Lines out of bytes, with a bound on each."""

from collections.abc import Iterator
from typing import Final

MAX_LINE: Final = 1 << 20
"""Bytes in a line, the newline not counted."""


class Overlong:
    """Stands in the place of a line that was longer than the bound; its bytes are gone."""


OVERLONG: Final = Overlong()


class LineSplitter:
    """Cuts arriving bytes into lines and never holds more than one line's bound of them.

    A line over the bound is dropped up to its newline and reported once, as `OVERLONG`, as soon as the bound is
    passed; the lines behind it are read as usual. Empty lines are skipped.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max = max_line
        self._part = bytearray()
        self._dropping = False

    def feed(self, data: bytes) -> Iterator[bytes | Overlong]:
        """The lines that end within `data`, in order. Consume it before the next call."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            yield from self._end(piece)
        yield from self._keep(rest)

    @property
    def pending(self) -> int:
        """Bytes of the line that has not ended yet."""
        return len(self._part)

    def _end(self, piece: bytes) -> Iterator[bytes | Overlong]:
        if self._dropping:
            self._dropping = False
            return
        line = bytes(self._part) + piece if self._part else piece
        self._part.clear()
        if len(line) > self._max:
            yield OVERLONG
        elif line := line.rstrip(b"\r"):
            yield line

    def _keep(self, rest: bytes) -> Iterator[Overlong]:
        if self._dropping:
            return
        self._part += rest
        if len(self._part) > self._max:
            self._part.clear()
            self._dropping = True
            yield OVERLONG
