"""A turn: from the messages that cause it to claude's result, and what becomes of the messages."""

import asyncio
import os
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import UNSET

from hyperhive.harness import transcript
from hyperhive.harness.claude import Claude, ClaudeError
from hyperhive.harness.condition import Condition
from hyperhive.harness.guard import refusal
from hyperhive.harness.journal import Journal
from hyperhive.harness.mail import Mail
from hyperhive.harness.prompt import arrival_notice, wake_prompt
from hyperhive.harness.rest import Rest
from hyperhive.harness.transcript import Ordered, Result, Settlement, Tally, settlement
from hyperhive.harness.wire import Notice, Said, ToolRequest, Verdict
from hyperhive.protocol.agent import Arrived, Received
from hyperhive.protocol.events import Note, Outcome, Stream, ToolCall, TurnEnd, TurnStart, TurnState
from hyperhive.protocol.ids import OPERATOR, SYSTEM
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import AgentSettings

INTERRUPT_TRIES: Final = 5
INTERRUPT_S: Final = 1.0
"""How long claude may take to heed an interrupt before it is told again; in the end it is killed."""


MAX_SHOWN: Final = 32 * 1024
"""Characters of a message in its turn's event, which takes them escaped; the mailbox has the whole."""

_UNDONE: Final = {
    None: Outcome.FAILED,
    Ordered.CANCEL: Outcome.CANCELLED,
    Ordered.STOP: Outcome.INTERRUPTED,
    Ordered.BUDGET: Outcome.BUDGET,
}


@dataclass
class Turn:
    id: str = field(default_factory=lambda: os.urandom(8).hex())
    messages: list[int] = field(default_factory=list)
    prompt: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: float = field(default_factory=time.monotonic)
    tally: Tally = field(default_factory=Tally)
    taken: asyncio.Event = field(default_factory=asyncio.Event)  #: the prompt is in claude's context
    over: asyncio.Event = field(default_factory=asyncio.Event)
    ordered: Ordered | None = None
    compacts: bool = False  #: it is there to shorten the conversation
    sends: int = 0

    @property
    def takes_mail(self) -> bool:
        """Whether messages may still become part of it."""
        return bool(self.messages) and self.ordered is None and not self.over.is_set()

    def next_mid(self) -> str:
        """The id of the turn's next message, the same however often it has to be sent."""
        self.sends += 1
        return f"{self.id}:{self.sends}"


@dataclass(frozen=True)
class Ended:
    outcome: Outcome
    resets_at: float | None = None  #: of a rejected usage limit
    overloads: int = 0  #: how many turns in a row have ended in one
    note: str = ""


class Turns:
    """Runs one turn at a time. Claude may begin turns by itself, when work in its background ends: those are recorded
    as turns that `system` caused, without messages.
    """

    def __init__(self, *, rest: Rest, mail: Mail, journal: Journal, condition: Condition, settings: AgentSettings):
        self._rest = rest
        self._mail = mail
        self._journal = journal
        self._condition = condition
        self._settings = settings
        self._turn: Turn | None = None
        self._own: Turn | None = None  # one that claude has begun by itself
        self._arrived: Arrived | None = None
        self._window = 0
        self._overloads = 0
        self.claim = asyncio.Lock()
        """Held by whoever has a turn carried out, until it is settled."""
        rest.on_release = self._lost_own

    @property
    def current(self) -> Turn | None:
        return self._turn or self._own

    @property
    def is_running(self) -> bool:
        """Whether claude is at a turn of ours, or what caused it is still to be settled."""
        return self.claim.locked()

    async def settled(self) -> None:
        """Wait until no turn of ours is under way."""
        async with self.claim:
            pass

    async def run(self, received: Received, system_prompt: str) -> Ended:
        """Carry the messages' turn out to its end and settle them. The caller holds the claim."""
        turn = self._turn = Turn(messages=[m.id for m in received.messages])
        self._begin(turn, received)
        return await self._whole(turn, wake_prompt(received.messages, received.unread), system_prompt)

    async def compact(self, instructions: str, system_prompt: str) -> Ended:
        """Let claude go on from a summary of the conversation. The caller holds the claim."""
        turn = self._turn = Turn(compacts=True)
        command = f"/compact {instructions}".rstrip()
        self._rest.busy(True)
        self._condition.turn(TurnState.COMPACTING)
        self._journal.record(TurnStart(turn=turn.id, sender=OPERATOR, body=command))
        return await self._whole(turn, command, system_prompt)

    async def cancel(self) -> bool:
        """The operator wants the turn to end. Whether there was one."""
        return await self._order(Ordered.CANCEL)

    async def stop(self) -> bool:
        """The harness is being stopped: the turn ends, its messages go back unharmed. Whether there was one."""
        return await self._order(Ordered.STOP)

    async def over_budget(self) -> bool:
        """Nothing more may be spent: the turn ends, its messages go back unharmed. Whether there was one.

        Claude cannot be told to end a turn that it began by itself: it is ended as a whole.
        """
        if self._own is not None:
            await self._rest.kill()
            return True
        return await self._order(Ordered.BUDGET)

    def arrived(self, arrived: Arrived) -> None:
        """Mail has come in: claude hears of it at the next tool boundary, if it is at work."""
        if self.current is not None:
            self._arrived = arrived

    def mail_was_read(self) -> None:
        """Nothing is left to announce."""
        self._arrived = None

    # what the worker calls

    async def said(self, said: Said) -> Nothing:
        for line in said.lines:
            self._journal.record(Stream(value=line))
            heard = transcript.message(line)
            if heard is not None:
                self._hear(heard)
        await self._journal.room()
        return Nothing()

    def tool_request(self, request: ToolRequest) -> Verdict:
        self._journal.record(ToolCall(tool=request.tool, input=request.input, tool_use_id=request.tool_use_id))
        if self.current is not None:
            self.current.tally.tool_calls += 1
        why = refusal(request.tool, request.command, self._settings)
        if why is not None:
            self._journal.record(Note(text=why, level="warning"))
        return Verdict(refusal=why)

    def boundary(self, _: Nothing) -> Notice:
        arrived, self._arrived = self._arrived, None
        return Notice(text="" if arrived is None else arrival_notice(arrived))

    # the course of a turn

    def _begin(self, turn: Turn, received: Received) -> None:
        first = received.messages[0]
        self._rest.busy(True)
        self._condition.turn(TurnState.THINKING)
        self._journal.record(
            TurnStart(
                turn=turn.id,
                sender=first.sender,
                body=first.body[:MAX_SHOWN],
                unread=received.unread,
                messages=turn.messages[:],
                attempt=max(m.attempt for m in received.messages),
            )
        )

    async def _whole(self, turn: Turn, prompt: str, system_prompt: str) -> Ended:
        try:
            trouble = await self._carry_out(turn, prompt, system_prompt)
        finally:
            turn.over.set()
            self._turn = self._arrived = None
        ended = _outcome(turn)
        note = "" if ended is Outcome.OK else trouble or _note(turn, ended)
        self._overloads = self._overloads + 1 if ended is Outcome.OVERLOADED else 0
        await self._settle(turn, ended, note)
        self._end(turn, ended, note)
        return Ended(ended, turn.tally.resets_at, self._overloads, note)

    async def _carry_out(self, turn: Turn, prompt: str, system_prompt: str) -> str:
        """Why claude could not do it, when the reason is not claude's own."""
        try:
            claude = await self._rest.warm(system_prompt)
            turn.tally.cost_before = claude.cost_usd
            if turn.ordered is None:
                await claude.prompt(turn.prompt, prompt, is_command=turn.compacts)
                await _either(turn.taken, claude)
                if turn.messages:
                    await self._mail.read(turn.messages, turn.id)
                await _either(turn.over, claude)
        except ClaudeError as error:
            await self._rest.kill()  # it may still come to a prompt whose messages go back
            await self._rest.doze()
            return str(error)
        if self._rest.claude is None:
            await self._rest.doze()
        return ""

    async def _settle(self, turn: Turn, ended: Outcome, note: str) -> None:
        if not turn.messages:
            return
        match settlement(ended, turn.ordered, self._overloads):
            case Settlement.ACK:
                stale = await self._mail.ack(turn.messages)
                if stale:
                    text = f"messages {stale} had been taken back by the hive: they may be handled twice"
                    self._journal.record(Note(text=text, level="warning"))
            case Settlement.RETURN:
                await self._mail.release(turn.messages, failed=False, reason=note)
            case Settlement.FAIL:
                await self._mail.release(turn.messages, failed=True, reason=note)

    def _end(self, turn: Turn, ended: Outcome, note: str) -> None:
        usage = (turn.tally.result.usage if turn.tally.result else None) or transcript.Usage()
        self._journal.record(
            TurnEnd(
                turn=turn.id,
                ok=ended is Outcome.OK,
                outcome=ended,
                note=note or UNSET,
                duration_ms=round((time.monotonic() - turn.began) * 1000),
                cost_usd=turn.tally.cost_usd,
                input_tokens=usage.input_tokens or 0,
                output_tokens=usage.output_tokens or 0,
                cache_read_tokens=usage.cache_read_input_tokens or 0,
                cache_creation_tokens=usage.cache_creation_input_tokens or 0,
                tool_calls=turn.tally.tool_calls,
            )
        )
        if self.current is None:
            self._condition.turn(TurnState.IDLE)
            self._rest.busy(False)

    async def _order(self, ordered: Ordered) -> bool:
        turn = self._turn
        if turn is None or turn.over.is_set():
            return False
        turn.ordered = ordered
        for _ in range(INTERRUPT_TRIES):
            claude = self._rest.claude
            if claude is None:
                return True  # not started yet, and it will not be asked
            if await self._heeds(claude, turn):
                return True
        await self._rest.kill()
        return True

    async def _heeds(self, claude: Claude, turn: Turn) -> bool:
        try:
            async with asyncio.timeout(INTERRUPT_S):
                await claude.interrupt()
                await _either(turn.over, claude)
        except TimeoutError:
            return False
        except ClaudeError:
            return True
        return True

    # what claude says

    def _hear(self, said: transcript.Message) -> None:
        match said:
            case transcript.Init():
                self._rest.session_is(said.session_id)
                self._turn_of_claude(said)
            case transcript.Lifecycle():
                if self._turn is not None and said.command_uuid == self._turn.prompt and said.state != "queued":
                    self._turn.taken.set()
            case transcript.Status():
                self._hear_status(said)
            case transcript.Compacted():
                self._tally(said)
                self._journal.record(Note(text=_of_compaction(said.compact_metadata)))
            case transcript.Background():
                self._rest.background(len(said.tasks))
            case transcript.RateLimit():
                self._tally(said)
                if windows := said.rate_limit_info.windows:
                    self._condition.windows(windows)
            case Result():
                self._hear_result(said)
            case _:
                self._tally(said)

    def _turn_of_claude(self, said: transcript.Init) -> None:
        turn = self._turn
        if turn is not None and (said.user_message_uuids is None or turn.prompt in said.user_message_uuids):
            turn.taken.set()
        elif self._own is None:
            self._own = Turn(tally=Tally(cost_before=self._rest.claude.cost_usd if self._rest.claude else 0.0))
            self._rest.busy(True)
            self._condition.turn(TurnState.THINKING)
            body = "work in the background has ended, and claude goes on by itself"
            self._journal.record(TurnStart(turn=self._own.id, sender=SYSTEM, body=body))

    def _hear_status(self, said: transcript.Status) -> None:
        """Claude may also compact by itself, in the middle of a turn."""
        turn = self.current
        if turn is not None and not turn.compacts:
            compacts = said.status == TurnState.COMPACTING
            self._condition.turn(TurnState.COMPACTING if compacts else TurnState.THINKING)

    def _tally(self, said: transcript.Message) -> None:
        if self.current is not None:
            self.current.tally.take(said)
            self._show_context()

    def _show_context(self) -> None:
        tokens = self.current.tally.context.context if self.current is not None else 0
        if tokens:
            self._condition.context(tokens, self._window)

    def _hear_result(self, result: Result) -> None:
        self._rest.session_is(result.session_id)
        windows = [usage.context_window or 0 for usage in (result.model_usage or {}).values()]
        self._window = max(windows, default=self._window)
        self._show_context()
        turn, own = self._turn, self._own
        if turn is not None and result.answers(turn.prompt):
            turn.tally.take(result)
            turn.taken.set()
            turn.over.set()
        if own is not None:
            own.tally.take(result)
            self._end_own(own)
        if self._rest.claude is not None:
            self._rest.claude.cost_usd = result.total_cost_usd or 0.0

    def _end_own(self, own: Turn) -> None:
        self._own = None
        ended = transcript.outcome(own.tally, None)
        self._end(own, ended, "" if ended is Outcome.OK else _note(own, ended))

    def _lost_own(self) -> None:
        if self._own is not None:
            self._end_own(self._own)


def _outcome(turn: Turn) -> Outcome:
    """Claude calls a compaction a success also when it was interrupted or there was nothing to compact."""
    ended = transcript.outcome(turn.tally, turn.ordered)
    if ended is not Outcome.OK or not turn.compacts or turn.tally.compacted is not None:
        return ended
    return _UNDONE[turn.ordered]


def _of_compaction(compacted: transcript.CompactMetadata) -> str:
    before, after = compacted.pre_tokens, compacted.post_tokens
    counts = f": {before} tokens before, {after} after" if before is not None and after is not None else ""
    return f"the conversation goes on from a summary{counts}"


def _note(turn: Turn, ended: Outcome) -> str:
    if turn.compacts and turn.ordered is not None:
        return "the compaction was ended before it was done: the conversation is as it was"
    if ended is Outcome.CANCELLED:
        return "cancelled by the operator; its messages count as handled"
    if ended is Outcome.BUDGET and turn.ordered is Ordered.BUDGET:
        return "the budget is spent; its messages went back to the queue"
    if turn.ordered is Ordered.STOP:
        return "the harness was stopped; its messages went back to the queue"
    return transcript.explanation(turn.tally)


async def _either(event: asyncio.Event, claude: Claude) -> None:
    """Wait until the event has come or claude is gone."""
    waiting = asyncio.create_task(event.wait())
    sources: list[asyncio.Future[Any]] = [waiting, claude.ended]
    try:
        await asyncio.wait(sources, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
