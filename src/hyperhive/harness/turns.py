"""A turn: from the messages that cause it to claude's result, and what becomes of the messages."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hyperhive.harness import transcript
from hyperhive.harness.claude import Claude, ClaudeError
from hyperhive.harness.condition import Condition
from hyperhive.harness.guard import refusal
from hyperhive.harness.journal import Journal
from hyperhive.harness.mail import Mail
from hyperhive.harness.prompt import arrival_notice, nudge, once_more, wake_prompt
from hyperhive.harness.rest import Rest
from hyperhive.harness.transcript import Ordered, Result, Settlement, Tally, settlement
from hyperhive.harness.turn import Asked, Ended, Turn, of_compaction
from hyperhive.harness.wire import Notice, Said, ToolRequest, Verdict
from hyperhive.protocol.agent import Arrived, Received
from hyperhive.protocol.events import Note, Outcome, Stream, ToolCall, TurnStart, TurnState
from hyperhive.protocol.ids import OPERATOR, SYSTEM
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import AgentSettings

INTERRUPT_TRIES: Final = 5
INTERRUPT_S: Final = 1.0
"""How long claude may take to heed an interrupt before it is told again; in the end it is killed."""
MAX_NOTES_CALLS: Final = 24
"""Tool calls with which an agent has to get its notes written."""
MAX_SHOWN: Final = 32 * 1024
"""Characters of a message in its turn's event, which takes them escaped; the mailbox has the whole."""


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
        self._nudge = ""  # what claude hears at the next tool boundary
        self._window = 0
        self._overloads = 0
        self.claim = asyncio.Lock()
        """Held by whoever has a turn carried out, until it is settled."""
        self.recall: Callable[[int], Awaitable[str]] = _nothing
        """What a prompt begins with when claude does not remember what was before; takes how many messages wait."""
        self.on_forget: Callable[[], None] = lambda: None
        """Called when a conversation goes on from a summary."""
        self.on_recalled: Callable[[], None] = lambda: None
        """Called when such a prompt is in claude's context."""
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
        turn = self._turn = Turn(mail=[*received.messages])
        self._begin(turn, received)
        return await self._whole(turn, wake_prompt(turn.mail, received.unread), system_prompt, received.unread)

    async def compact(self, instructions: str, system_prompt: str, *, sender: str = OPERATOR) -> Ended:
        """Let claude go on from a summary of the conversation. The caller holds the claim."""
        turn = self._turn = Turn(asked=[Asked(compacts=True)], upkeep=True)
        command = f"/compact {instructions}".rstrip()
        self._rest.busy(True)
        self._condition.turn(TurnState.COMPACTING)
        self._journal.record(TurnStart(turn=turn.id, sender=sender, body=command))
        return await self._whole(turn, command, system_prompt)

    async def checkpoint(self, text: str, system_prompt: str, *, within_s: float) -> Ended:
        """Let the agent write down what it will need, in so much time. The caller holds the claim."""
        turn = self._turn = Turn(upkeep=True)
        self._rest.busy(True)
        self._condition.turn(TurnState.THINKING)
        self._journal.record(TurnStart(turn=turn.id, sender=SYSTEM, body=text))
        overdue = asyncio.get_running_loop().create_task(self._end_after(within_s, turn))
        try:
            return await self._whole(turn, text, system_prompt)
        finally:
            overdue.cancel()

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
        if self._own is None:
            return await self._order(Ordered.BUDGET)
        for turn in (self._own, self._turn):  # one of ours that waits behind it ends with claude
            if turn is not None and not turn.over.is_set():
                turn.ordered = Ordered.BUDGET
        await self._rest.kill()
        return True

    async def unstick(self, step: str, why: str) -> bool:
        """The hive takes the agent to be stuck: tell claude, end the turn, or end claude. Whether there was a turn."""
        turn = self.current
        if turn is None:
            return False
        if step == "nudge":
            self._nudge = nudge(why)
            return True
        turn.why = why
        if step == "interrupt" and turn is self._turn:
            return await self._order(Ordered.UNSTICK)
        turn.ordered = Ordered.UNSTICK
        await self._rest.kill()
        return True

    def arrived(self, arrived: Arrived) -> None:
        """Mail has come in: claude hears of it at the next tool boundary, if it is at work."""
        if self.current is not None and not self.current.upkeep:
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
        why = self._too_many(request) or refusal(request.tool, request.command, self._settings)
        if why is not None:
            self._journal.record(Note(text=why, level="warning"))
        return Verdict(refusal=why)

    def boundary(self, _: Nothing) -> Notice:
        arrived, self._arrived = self._arrived, None
        said, self._nudge = self._nudge, ""
        texts = (said, "" if arrived is None else arrival_notice(arrived))
        return Notice(text="\n".join(text for text in texts if text))

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
                messages=turn.messages,
                attempt=max(m.attempt for m in received.messages),
            )
        )

    async def _whole(self, turn: Turn, prompt: str, system_prompt: str, unread: int = 0) -> Ended:
        try:
            trouble = await self._carry_out(turn, prompt, system_prompt, unread)
        finally:
            turn.over.set()
            self._turn = self._arrived = None
        ended = turn.outcome()
        unstuck = turn.note(ended) if turn.ordered is Ordered.UNSTICK else ""
        note = "" if ended is Outcome.OK else unstuck or trouble or turn.note(ended)
        self._overloads = self._overloads + 1 if ended is Outcome.OVERLOADED else 0
        await self._settle(turn, ended, note)
        self._end(turn, ended, note)
        return Ended(ended, turn.tally.resets_at, note, turn.ordered, self._overloads)

    async def _carry_out(self, turn: Turn, prompt: str, system_prompt: str, unread: int) -> str:
        """Why claude could not do it, when the reason is not claude's own."""
        try:
            await self._ask(turn, prompt, system_prompt, unread)
            if turn.goes_on:
                self._shorten(turn)
                await self._ask(turn, "/compact", system_prompt, unread)
            if turn.goes_on:
                again = once_more(turn.mail, unread, compacted=not turn.current.failed_to_compact)
                turn.asked.append(Asked())
                self._condition.turn(TurnState.THINKING)
                await self._ask(turn, again, system_prompt, unread)
        except ClaudeError as error:
            await self._rest.kill()  # it may still come to a prompt whose messages go back
            await self._rest.doze()
            return str(error)
        if self._rest.claude is None:
            await self._rest.doze()
        return ""

    async def _ask(self, turn: Turn, prompt: str, system_prompt: str, unread: int) -> None:
        """Until claude is done with it; raises ClaudeError."""
        asked = turn.current
        recalled = "" if turn.upkeep or asked.compacts else await self.recall(unread)
        claude = await self._rest.warm(system_prompt)
        asked.tally.cost_before = claude.cost_usd
        if turn.ordered is not None:
            return
        await claude.prompt(asked.uuid, recalled + prompt, is_command=asked.compacts)
        await _either(asked.taken, claude)
        if turn.mail and len(turn.asked) == 1:
            await self._mail.read(turn.messages, turn.id)
        if recalled and asked.taken.is_set():
            self.on_recalled()
        await _either(asked.over, claude)

    def _shorten(self, turn: Turn) -> None:
        text = "the conversation is too long for the model: it is compacted, and the turn is tried once more"
        self._journal.record(Note(text=text, level="warning"))
        turn.asked.append(Asked(compacts=True))
        self._condition.turn(TurnState.COMPACTING)

    async def _end_after(self, seconds: float, turn: Turn) -> None:
        await asyncio.sleep(seconds)
        if turn is self._turn:
            await self._order(Ordered.OVERDUE)

    def _too_many(self, request: ToolRequest) -> str | None:
        """Whether a turn for notes has become something else."""
        turn = self.current
        if turn is None or not turn.upkeep or turn.tally.tool_calls <= MAX_NOTES_CALLS:
            return None
        return f"{request.tool} is refused: this turn is for your notes, and had {MAX_NOTES_CALLS} calls. End it now."

    async def _settle(self, turn: Turn, ended: Outcome, note: str) -> None:
        if not turn.mail:
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
        self._nudge = ""
        self._journal.record(turn.end(ended, note))
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
                if self._turn is not None and said.command_uuid == self._turn.current.uuid and said.state != "queued":
                    self._turn.current.taken.set()
            case transcript.Status():
                self._hear_status(said)
            case transcript.Compacted():
                self._tally(said)
                self._journal.record(Note(text=of_compaction(said.compact_metadata)))
                self.on_forget()
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
        if turn is not None and (said.user_message_uuids is None or turn.current.uuid in said.user_message_uuids):
            turn.current.taken.set()
        elif self._own is None:
            before = self._rest.claude.cost_usd if self._rest.claude else 0.0
            self._own = Turn(asked=[Asked(tally=Tally(cost_before=before))])
            self._rest.busy(True)
            self._condition.turn(TurnState.THINKING)
            body = "work in the background has ended, and claude goes on by itself"
            self._journal.record(TurnStart(turn=self._own.id, sender=SYSTEM, body=body))

    def _hear_status(self, said: transcript.Status) -> None:
        """Claude may also compact by itself, in the middle of a turn."""
        turn = self.current
        if turn is not None and not turn.current.compacts:
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
        if turn is not None and result.answers(turn.current.uuid):
            turn.answered(result)
        if own is not None:
            own.tally.take(result)
            self._end_own(own)
        if self._rest.claude is not None:
            self._rest.claude.cost_usd = result.total_cost_usd or 0.0

    def _end_own(self, own: Turn) -> None:
        self._own = None
        ended = own.outcome()
        self._end(own, ended, "" if ended is Outcome.OK else own.note(ended))

    def _lost_own(self) -> None:
        if self._own is not None:
            self._end_own(self._own)


async def _either(event: asyncio.Event, claude: Claude) -> None:
    """Wait until the event has come or claude is gone."""
    waiting = asyncio.create_task(event.wait())
    sources: list[asyncio.Future[Any]] = [waiting, claude.ended]
    try:
        await asyncio.wait(sources, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _nothing(_unread: int) -> str:
    return ""
