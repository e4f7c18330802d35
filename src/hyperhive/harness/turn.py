"""One turn: what is asked of claude in it, once or again after a compaction, and what came of that."""

import asyncio
import os
import time
import uuid
from typing import Final

from msgspec import UNSET, Struct, field

from hyperhive.harness import transcript
from hyperhive.harness.transcript import CompactMetadata, Ordered, Result, Tally, Usage
from hyperhive.protocol.agent import Envelope
from hyperhive.protocol.events import Outcome, TurnEnd

_UNDONE: Final = {
    None: Outcome.FAILED,
    Ordered.CANCEL: Outcome.CANCELLED,
    Ordered.STOP: Outcome.INTERRUPTED,
    Ordered.BUDGET: Outcome.BUDGET,
    Ordered.OVERDUE: Outcome.INTERRUPTED,
    Ordered.UNSTICK: Outcome.INTERRUPTED,
}
_NOT_THE_LENGTH: Final = frozenset(
    {
        *(Outcome.CANCELLED, Outcome.INTERRUPTED, Outcome.NEEDS_LOGIN, Outcome.RATE_LIMITED, Outcome.OVERLOADED),
        Outcome.BUDGET,
    }
)
"""How a compaction may end that says nothing of whether the conversation can be made shorter."""


class Asked(Struct):
    """Something that claude was given to do, and what it has shown of it so far."""

    compacts: bool = False  #: it is there to shorten the conversation
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    tally: Tally = field(default_factory=Tally)
    taken: asyncio.Event = field(default_factory=asyncio.Event)  #: it is in claude's context
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def outcome(self, ordered: Ordered | None) -> Outcome:
        """Claude calls a compaction a success also when it was interrupted or there was nothing to compact."""
        ended = transcript.outcome(self.tally, ordered)
        if ended is not Outcome.OK or not self.compacts or self.tally.compacted is not None:
            return ended
        if ordered is None and self.tally.resets_at is not None:  # of its reasons it gives a refused limit alone
            return Outcome.RATE_LIMITED if self.tally.resets_at else Outcome.OVERLOADED
        return _UNDONE[ordered]

    @property
    def failed_to_compact(self) -> bool:
        """For a reason that only another request will show: it is not in what claude says of a compaction."""
        return self.compacts and self.outcome(None) is Outcome.FAILED


class Turn(Struct):
    """`over` is set when claude has nothing more to do for it."""

    id: str = field(default_factory=lambda: os.urandom(8).hex())
    mail: list[Envelope] = field(default_factory=list)  #: that became part of it
    began: float = field(default_factory=time.monotonic)
    asked: list[Asked] = field(default_factory=lambda: [Asked()])
    over: asyncio.Event = field(default_factory=asyncio.Event)
    ordered: Ordered | None = None
    why: str = ""  #: it was ordered to end, in the hive's words
    upkeep: bool = False  #: it is about the conversation itself: no mail is spoken of in it
    sends: int = 0

    @property
    def messages(self) -> list[int]:
        """Their ids."""
        return [message.id for message in self.mail]

    @property
    def current(self) -> Asked:
        return self.asked[-1]

    @property
    def tally(self) -> Tally:
        return self.current.tally

    @property
    def takes_mail(self) -> bool:
        """Whether messages may still become part of it."""
        return bool(self.mail) and self.ordered is None and not self.over.is_set()

    @property
    def goes_on(self) -> bool:
        """Whether claude is to be asked once more: to compact what is too long, and then the same again."""
        if self.ordered is not None or self.upkeep:
            return False
        if len(self.asked) == 1:
            return self.current.outcome(None) is Outcome.OVERFLOW
        return len(self.asked) == 2 and (self.current.failed_to_compact or self.current.outcome(None) is Outcome.OK)

    def answered(self, result: Result) -> None:
        """Claude is done with what it was asked last."""
        self.tally.take(result)
        self.current.taken.set()
        self.current.over.set()
        if not self.goes_on:
            self.over.set()

    def next_mid(self) -> str:
        """The id of the turn's next message, the same however often it has to be sent."""
        self.sends += 1
        return f"{self.id}:{self.sends}"

    def outcome(self) -> Outcome:
        ended, compacting = self.current.outcome(self.ordered), len(self.asked) == 2
        if self.ordered is not None and (compacting or ended is Outcome.OVERFLOW):
            return _UNDONE[self.ordered]  # it would have gone on
        return Outcome.OVERFLOW if compacting and ended not in _NOT_THE_LENGTH else ended

    def note(self, ended: Outcome) -> str:
        """For a person: why it did not end well."""
        if self.upkeep and self.current.compacts and self.ordered is not None:
            return "the compaction was ended before it was done: the conversation is as it was"
        if ended is Outcome.CANCELLED:
            return "cancelled by the operator" + self._of_messages("count as handled")
        if ended is Outcome.BUDGET and self.ordered is Ordered.BUDGET:
            return "the budget is spent" + self._of_messages("went back to the queue")
        if self.ordered is Ordered.UNSTICK:
            return f"ended by the hive: {self.why}"
        if self.ordered is Ordered.STOP:
            return "the harness was stopped" + self._of_messages("went back to the queue")
        if self.ordered is Ordered.OVERDUE:
            return "it took too long and was ended"
        return (self._of_length(ended) + transcript.explanation(self.tally))[: transcript.MAX_NOTE]

    def end(self, ended: Outcome, note: str) -> TurnEnd:
        """With what all of it came to together."""
        usages = [each.tally.result.usage or Usage() for each in self.asked if each.tally.result is not None]
        return TurnEnd(
            turn=self.id,
            ok=ended is Outcome.OK,
            outcome=ended,
            note=note or UNSET,
            duration_ms=round((time.monotonic() - self.began) * 1000),
            cost_usd=sum(each.tally.cost_usd for each in self.asked),
            input_tokens=sum(usage.input_tokens or 0 for usage in usages),
            output_tokens=sum(usage.output_tokens or 0 for usage in usages),
            cache_read_tokens=sum(usage.cache_read_input_tokens or 0 for usage in usages),
            cache_creation_tokens=sum(usage.cache_creation_input_tokens or 0 for usage in usages),
            tool_calls=sum(each.tally.tool_calls for each in self.asked),
        )

    def _of_messages(self, became: str) -> str:
        return f"; its messages {became}" if self.mail else ""

    def _of_length(self, ended: Outcome) -> str:
        if ended is not Outcome.OVERFLOW or len(self.asked) == 1:
            return ""
        failed = next((asked for asked in self.asked if asked.failed_to_compact), None)
        if failed is not None or len(self.asked) == 2:
            why = transcript.explanation((failed or self.current).tally)
            return (
                f"the conversation is too long, and it could not be compacted ({why}); `/new-session` begins another: "
            )
        return "the conversation was compacted and is still too long: "


class Ended(Struct, frozen=True):
    outcome: Outcome
    resets_at: float | None = None  #: of a rejected usage limit
    note: str = ""
    ordered: Ordered | None = None  #: why it was told to end
    overloads: int = 0  #: how many turns in a row have ended in one


def of_compaction(compacted: CompactMetadata) -> str:
    before, after = compacted.pre_tokens, compacted.post_tokens
    counts = f": {before} tokens before, {after} after" if before is not None and after is not None else ""
    return f"the conversation goes on from a summary{counts}"
