"""The text of notifications. What agents wrote is in it as a quotation that no service takes for anything else."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hyperhive.protocol.notify import NotifyKind

MAX_QUOTED: Final = 160
MAX_LINES: Final = 10
"""Things that one notification names; of more it says how many."""
_HARMLESS: Final = str.maketrans(
    "@#<>&*_`~|\\[]{}:/.!+$“”",
    '＠＃‹›＆∗＿ˋ∼｜＼［］｛｝：⁄․ǃ＋＄""',
)
"""What services make mentions, markup, commands and links of, and what looks like it and is none."""
_BLANK: Final = frozenset({"Zs", "Zl", "Zp", "Cc"})
_UNSEEN: Final = frozenset({"Cf", "Cs", "Co", "Cn"})


@dataclass(frozen=True, kw_only=True)
class News:
    """One thing that the operator may want to hear of. `said` is what an agent wrote."""

    kind: NotifyKind
    text: str  #: the hive's own words and names that it has checked
    said: str = ""

    @property
    def line(self) -> str:
        return f"{self.text}: {quoted(self.said)}" if self.said.strip() else self.text


def quoted(text: str, limit: int = MAX_QUOTED) -> str:
    """One line, clipped, between quotation marks, without a character that means something to a service."""
    shown = "".join(map(_shown, text[: 4 * limit]))
    words = " ".join(shown.split())
    clipped = words if len(words) <= limit and len(text) <= 4 * limit else f"{words[:limit].rstrip()} …"
    return f"“{clipped.translate(_HARMLESS)}”"


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    return " " if category in _BLANK else "" if category in _UNSEEN else character


def notification(news: Sequence[News], more: int, url: str) -> tuple[str, str]:
    """Title and body of one message about all of it, and about `more` that is not named."""
    count = len(news) + more
    title = news[0].kind.words if count == 1 else f"{count} things happened in the hive"
    lines = [f"- {one.kind.words}: {one.line}" for one in news[:MAX_LINES]] if count > 1 else [news[0].line]
    if unnamed := count - len(news[:MAX_LINES]):
        lines.append(f"and {unnamed} more")
    return f"hyperhive: {title}", "\n".join([*lines, *([f"The dashboard: {url}"] if url else [])])
