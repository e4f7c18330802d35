"""The text that an agent is writing right now."""

from dataclasses import dataclass, replace
from typing import Self

from hyperhive.terminal.row import ENDS_WRITING, MAX_TEXT, Piece, Row


@dataclass(frozen=True, kw_only=True)
class Writing:
    """As far as its pieces have come; with an empty key there is none. What is beyond MAX_TEXT waits for its row."""

    message: str = ""
    block: int = 0
    text: str = ""
    is_thought: bool = False

    @property
    def key(self) -> str:
        """Another one for another text."""
        return f"{self.message}:{self.block}" if self.message else ""

    def then(self, shown: Row | Piece) -> "Writing":
        """What is being written when this has been shown, too."""
        if isinstance(shown, Row):
            is_over = shown.kind in ENDS_WRITING or (shown.message and shown.message == self.message)
            return Writing() if is_over else self
        if shown.is_end or not shown.message:
            return self
        if (shown.message, shown.block) != (self.message, self.block):
            return Writing(message=shown.message, block=shown.block, text=shown.text, is_thought=shown.is_thought)
        return self if len(self.text) >= MAX_TEXT else replace(self, text=self.text + shown.text)

    def goes_on_from(self, earlier: Self) -> bool:
        """Whether the earlier text is the beginning of this one."""
        return bool(self.key) and self.key == earlier.key and self.text.startswith(earlier.text)
