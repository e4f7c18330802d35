"""How claude is shown what others wrote: whole, and never to be taken for words of the hive.

A text stands between two fence lines longer than any run of the fence's character inside it, and what could pass for
a line break or steer a terminal is shown escaped.
"""

import re
import time
from typing import Final

FENCE: Final = "~"
MIN_FENCE: Final = 8
MAX_WORD: Final = 128
MAX_ONE_LINE: Final = 500

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._*@:/-]")


def fenced(text: str) -> str:
    """The text between two lines that it can't contain."""
    body = escaped(text)
    fence = fence_for(body)
    return f"{fence}\n{body}\n{fence}"


def fence_for(body: str) -> str:
    """A line that the body can't contain."""
    longest = max(map(len, re.findall(f"{FENCE}+", body)), default=0)
    return FENCE * max(MIN_FENCE, longest + 1)


def escaped(text: str) -> str:
    """The text with its own line breaks and tabs, and everything else that could act as a control made visible."""
    return _CONTROL.sub(lambda m: f"\\u{ord(m[0]):04x}", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    return " ".join(escaped(text).split())[:MAX_ONE_LINE]


def one_word(text: str) -> str:
    """A name in a line of the hive's: bounded, and without anything that could end it."""
    return _NOT_PLAIN.sub("_", text[:MAX_WORD]) or "_"


def utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
