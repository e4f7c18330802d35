"""Where in a TOML text each key is: the standard library's parser keeps no positions."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

KeyPath = tuple[str, ...]

MAX_DOTS: Final = 16
"""In a line, outside of strings: the parser's time grows with the square of a key's parts."""
_DEEPEST: Final = 8

_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.?|"{1,2}(?!"))*+(?:"{3,5}|\Z)|"(?:[^"\\\n]|\\[^\n])*+"?'
    r"|'''(?:[^']|'{1,2}(?!'))*+(?:'{3,5}|\Z)|'[^'\n]*+'?"
    r"|\#[^\n]*+|(?P<open>[\[{])|(?P<close>[\]}])|(?P<dot>\.)|(?P<end>\n)",
    re.DOTALL,
)
"""Strings of the four kinds, also without their ends: a text is looked at once, from left to right."""


def lines(text: str) -> dict[KeyPath, int]:
    """The line that each key of a correct text is first named in; tables within values only to a depth of 8.

    Takes time in proportion to the text.
    """
    found: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, statement in _statements(text):
        paths = [*_paths(tomllib.loads(statement))]
        is_header = statement.lstrip().startswith("[")
        if is_header:
            table = ()
        for path in paths:
            found.setdefault((*table, *path), number)
        if is_header:
            table = max(paths, key=len, default=())
    return found


def statements(text: str) -> Iterator[str]:
    """Each key with its value, and each table's header, of a correct text: all of it, in pieces."""
    for _, statement in _statements(text):
        yield statement


def crowded_line(text: str) -> int | None:
    """The first line with more than `MAX_DOTS` dots outside of strings, in a text that need not be correct."""
    number, dots = 1, 0
    for token in _TOKEN.finditer(text):
        if token["end"]:
            dots = 0
        dots += bool(token["dot"])
        if dots > MAX_DOTS:
            return number + text.count("\n", 0, token.start())
    return None


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each key with its value, and each table's header, with the line that it begins in."""
    start, number, depth = 0, 1, 0
    for token in _TOKEN.finditer(text):
        depth += bool(token["open"]) - bool(token["close"])
        if token["end"] and not depth:
            statement = text[start : token.end()]
            yield number, statement
            number += statement.count("\n")
            start = token.end()
    yield number, text[start:]


def _paths(table: dict[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key of a table and of the tables in it."""
    for key, value in table.items():
        path = (*above, key)
        yield path
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict) and len(path) < _DEEPEST:
            yield from _paths(inner, path)
