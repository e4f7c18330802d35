"""Rows on a terminal: text that is being written grows in place, and nobody's lines get mixed up."""

from typing import TYPE_CHECKING

from hyperhive.cli.row import Part, Row
from hyperhive.cli.safe import one_line

if TYPE_CHECKING:
    from rich.console import Console


class Terminal:
    """Prints the rows of one agent or of many. With `names` each line begins with whose it is."""

    def __init__(self, console: "Console", *, names: bool) -> None:
        self._console = console
        self._names = names
        self._writing = ""  #: the agent whose piece of text the cursor is behind
        self._streamed: dict[str, str] = {}  #: by agent, the message that was shown while it was written

    def show(self, agent: str, row: Row) -> None:
        match row.part:
            case Part.PIECE:
                self._piece(agent, row)
            case Part.END:
                self._end_line()
            case Part.LINE:
                self._line(agent, row)

    def _piece(self, agent: str, row: Row) -> None:
        if not row.text:
            return
        self._streamed[agent] = row.message
        text = row.text
        if self._writing != agent:
            self._end_line()
            self._print(self._prefix(agent), "dim")
            text = "  " + text
            self._writing = agent
        self._print(self._continued(text), row.style)

    def _line(self, agent: str, row: Row) -> None:
        if row.message and self._streamed.get(agent) == row.message:
            return  # every character of it has been shown already
        self._end_line()
        self._print(self._prefix(agent), "dim")
        self._print(self._continued(row.text) + "\n", row.style)

    def _end_line(self) -> None:
        if self._writing:
            self._print("\n", "")
            self._writing = ""

    def _continued(self, text: str) -> str:
        """Lines after the first stand under it, so that no text can begin a line of its own."""
        return text.replace("\n", "\n" + " " * len(self._prefix("")) + "  ")

    def _prefix(self, agent: str) -> str:
        return f"{one_line(agent or 'hive', 12):<12} " if self._names else ""

    def _print(self, text: str, style: str) -> None:
        self._console.out(text, style=style or None, highlight=False, end="")
