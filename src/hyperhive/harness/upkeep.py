"""The conversation kept at a bearable length: compacted when it has become long, ended when it is left alone.

Before either the agent writes its notes, in a turn of its own. All of it happens between two turns; mail that comes
meanwhile waits.
"""

import asyncio
from typing import Final

from msgspec import Struct

from hyperhive.harness.agenda import Agenda
from hyperhive.harness.condition import Condition
from hyperhive.harness.journal import Journal
from hyperhive.harness.link import Link
from hyperhive.harness.prompt import notes_prompt
from hyperhive.harness.recall import Recall
from hyperhive.harness.rest import Rest
from hyperhive.harness.session import Session
from hyperhive.harness.transcript import MAX_NOTE, Ordered
from hyperhive.harness.turn import Ended
from hyperhive.harness.turns import Turns
from hyperhive.protocol import agent
from hyperhive.protocol.events import Note, Outcome
from hyperhive.protocol.ids import SYSTEM
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import SessionSettings

GROWTH: Final = 1.1
"""By how much a conversation must have grown until what did not make it shorter is tried again."""
TELL_S: Final = 60.0
_NOTED: Final = frozenset({Outcome.OK, Outcome.OVERFLOW})
BEFORE_COMPACTION: Final = "Your conversation has become long: after this turn it is replaced by a summary of it."
BEFORE_RESET: Final = "Your conversation is long and has been idle: after this turn it ends and a new one begins."


class Upkeep(Struct, kw_only=True, dict=True):
    turns: Turns
    rest: Rest
    session: Session
    condition: Condition
    journal: Journal
    link: Link
    agenda: Agenda
    recall: Recall
    settings: SessionSettings

    def __post_init__(self) -> None:
        self._tried_at = 0  # how long it was after it was last to be made shorter
        self._news = asyncio.Event()
        self.rest.on_use = self._news.set

    async def after_turn(self) -> Ended | None:
        """Compact a conversation that has become too long. To be called when no turn is under way.

        How the last turn of that has ended; None when there was none.
        """
        ended = None
        if self._is_long():
            async with self.turns.claim:
                if self._is_long() and await self._may_begin():
                    ended = await self._compact()
                    self._tried_at = self._tokens
        return ended

    async def run(self) -> None:
        """End a large conversation that nobody has needed for long."""
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(self.settings.reset_after if self._is_left_alone() else None):
                    await self._news.wait()
            except TimeoutError:
                ended = None
                async with self.turns.claim:
                    if not self._news.is_set() and self._is_left_alone() and await self._may_begin():
                        ended = await self._reset()
                        self._tried_at = self._tokens
                self.agenda.sit_out(ended)

    @property
    def _tokens(self) -> int:
        return self.condition.usage.context_tokens

    def _is_long(self) -> bool:
        limit = watermark(self.settings, self.condition.usage.context_window)
        return limit is not None and self._tokens >= limit and self._has_grown()

    def _is_left_alone(self) -> bool:
        large = self.settings.reset_after > 0 and self._tokens >= self.settings.reset_at_tokens
        return large and self._has_grown() and not self.rest.is_needed

    def _has_grown(self) -> bool:
        """Whether there is a conversation, and more of it than the last try has left."""
        self._tried_at = min(self._tried_at, self._tokens)
        return self.session.id is not None and self._tokens >= self._tried_at * GROWTH

    async def _may_begin(self) -> bool:
        """Whether nothing stands against a turn that nobody has asked for."""
        if not self.agenda.is_open or self.condition.is_barred or not await self._all_is_told():
            return False
        held = (await self.link.insist(agent.WHOAMI, lambda _: Nothing())).held
        return not held and self.agenda.is_open

    async def _all_is_told(self) -> bool:
        """The hive counts what was spent from the events: whether it has them, so that its word is the last one."""
        try:
            async with asyncio.timeout(TELL_S):
                await self.journal.flush()
        except TimeoutError:
            return False
        return True

    async def _compact(self) -> Ended | None:
        system_prompt = await self.agenda.system_prompt()
        noted = await self._note_down(BEFORE_COMPACTION, system_prompt)
        if not await self._may_go_on(noted, "compacted"):
            return noted
        ended = await self.turns.compact("", system_prompt, sender=SYSTEM)
        if ended.outcome is not Outcome.OK:
            self._warn(f"the conversation could not be compacted: {ended.note}")
        return ended

    async def _reset(self) -> Ended | None:
        tokens = self._tokens
        noted = await self._note_down(BEFORE_RESET, await self.agenda.system_prompt())
        if await self._may_go_on(noted, "ended"):
            self.rest.new_session()
            self.recall.ended()
            idle = f"a conversation of {tokens} tokens was left alone for {self.settings.reset_after} s"
            self.journal.record(Note(text=f"{idle}: it has ended, and the next turn begins a new one"))

        return noted

    async def _note_down(self, why: str, system_prompt: str) -> Ended | None:
        """The agent's notes, where it has a time for them."""
        within_s = self.settings.notes_within
        if not within_s:
            return None
        return await self.turns.checkpoint(notes_prompt(why), system_prompt, within_s=within_s)

    async def _may_go_on(self, noted: Ended | None, done: str) -> bool:
        """Behind the agent's notes, or without them where it had its time or there is no room for them."""
        if noted is not None and noted.outcome not in _NOTED and noted.ordered is not Ordered.OVERDUE:
            missing = f"the agent's notes could not be written: {noted.note}"
            self._warn(f"the conversation is not {done}, because {missing}")
            return False
        return self.session.id is not None and await self._may_begin()

    def _warn(self, text: str) -> None:
        self.journal.record(Note(text=text[:MAX_NOTE], level="warning"))


def watermark(settings: SessionSettings, window: int) -> float | None:
    """How many tokens are too many; None while that is not known, or when none are."""
    limits = [settings.compact_at * window, settings.compact_at_tokens or 0]
    return min((limit for limit in limits if limit), default=None)
