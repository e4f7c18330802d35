"""What claude is reminded of after it has forgotten: who it is, what it has open, what waits for it."""

from pathlib import Path
from typing import Final

from hyperhive.harness.link import Link
from hyperhive.harness.log import say
from hyperhive.harness.onelinefile import OneLineFile
from hyperhive.harness.prompt import recalled
from hyperhive.protocol import agent
from hyperhive.protocol.rpc import Nothing

COMPACTED: Final = "Your conversation was compacted: before this there is only a summary of it."
ENDED: Final = "Your earlier conversation was long and has been ended: this is a new one."
_WHY: Final = {"compacted": COMPACTED, "ended": ENDED}
_LINE: Final = "|".join(_WHY)


class Recall:
    """Owed from the moment that claude forgets until a prompt with it is in claude's context, a restart in between
    included; where it cannot be kept, until the runner ends.
    """

    def __init__(self, link: Link, path: Path, *, name: str, role: str) -> None:
        self._link = link
        self._file = OneLineFile(path, _LINE)
        self._name = name
        self._role = role
        self._owed = ""
        try:
            self._owed = self._file.read() or ""
        except (OSError, ValueError) as error:
            say(f"what claude is to be reminded of cannot be read: {error}")

    def compacted(self) -> None:
        self._owe("compacted")

    def ended(self) -> None:
        self._owe("ended")

    def settled(self) -> None:
        """Claude has it."""
        self._owe("")

    async def text(self, unread: int) -> str:
        """What the next prompt begins with; empty when claude remembers."""
        if not self._owed:
            return ""
        open_ends = (await self._link.insist(agent.GET_LOOSE_ENDS, lambda _: Nothing())).ends
        return recalled(self._name, self._role, _WHY[self._owed], open_ends, unread)

    def _owe(self, what: str) -> None:
        self._owed = what
        try:
            if what:
                self._file.write(what)
            else:
                self._file.remove()
        except OSError as error:
            say(f"what claude is to be reminded of is not kept: {error}")
