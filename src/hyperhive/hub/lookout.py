"""Watches whether agents go on, and takes the steps that `watchdog` decides on. One timer for all of them."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from hyperhive.broker.bucket import Buckets
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.deadlines import Alarm
from hyperhive.broker.jobs import JobDraft, JobKind, JobRow
from hyperhive.broker.letters import MailChange, MailChangeKind
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.notices import Notices
from hyperhive.hub.activity import Activity
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.background import Background
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.helper_events import helper_event
from hyperhive.hub.queue import IF_WANTED
from hyperhive.hub.watchdog import NEVER, Bounds, Episode, Memory, Sight, Step, Stuck, judge, reason, words
from hyperhive.protocol.agent import UNSTICK, Received, Settled, Unstick
from hyperhive.protocol.events import EventRecord, TurnState
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import SYSTEM

ANSWER_S: Final = 20.0
"""How long a harness may take to end a turn; what does not help is followed by the next step anyway."""
NOTES_PER_S: Final = 1 / 60
NOTES_BURST: Final = 20
"""How often an agent's being stuck is written down: an agent that means harm is stuck and goes on as it likes."""

Submit = Callable[[JobDraft], Awaitable[JobRow]]

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class _Watched:
    """What was seen of one agent since the daemon began, or since the agent was last meant to be down."""

    incarnation: int
    activity: Activity = field(default_factory=Activity)
    memory: Memory = field(default_factory=Memory)
    held: set[int] = field(default_factory=set)  #: messages in its hand
    heard_at: float = -NEVER
    greeted_at: float = -NEVER
    lived_at: float = -NEVER  #: claude's last sign of life
    proven_at: float = -NEVER
    up_since: float | None = None
    works_since: float | None = None
    free_since: float | None = None  #: at no turn, and nothing stands against its taking mail
    asks_since: float | None = None
    mail_since: float | None = None
    canary_since: float | None = None
    canary: str = ""  #: the mark of the one that is out
    sends_canaries_back: bool = False


@dataclass(kw_only=True)
class Lookout:
    """`open` when the fleet is there, `close` at the end. What is called in between may come at any time."""

    fleet: Fleet
    mailbox: Mailbox
    notices: Notices
    submit: Submit
    clock: Clock = field(default_factory=SystemClock)
    _watched: dict[str, _Watched] = field(default_factory=dict)
    _background: Background = field(default_factory=Background)
    _notes: Buckets = field(default_factory=lambda: Buckets(NOTES_PER_S, NOTES_BURST))
    _alarm: Alarm | None = None
    _is_blind: bool = False

    async def open(self) -> None:
        self._alarm = Alarm(self.clock, self._look_at_all)
        for name in await self.mailbox.unread_counts():
            self.mail_waits(name)
        self._background.begin(self._follow())
        self._look_at_all()

    async def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        await self._background.close()

    # what is seen

    def greeted(self, agent: Agent, *, sends_canaries_back: bool, held: Sequence[int], events_seen: int) -> None:
        """A harness said hello, and still holds these messages; its further events are numbered above that."""
        seen = self._of(agent)
        seen.greeted_at = self.clock.monotonic()
        seen.held = set(held)
        seen.activity.seq = events_seen
        seen.sends_canaries_back = sends_canaries_back
        if seen.proven_at == -NEVER:
            seen.proven_at = seen.greeted_at
        if seen.canary_since is not None:
            self.mailbox.probe(agent.name, seen.canary)  # the earlier one may have been lost with the connection
        self.heard(agent)

    def heard(self, agent: Agent) -> None:
        """Its harness lives."""
        self._of(agent).heard_at = self.clock.monotonic()
        self._look_at(agent)

    def receives(self, agent: Agent, received: "asyncio.Future[Received]") -> None:
        """Its harness asks for mail."""
        self._of(agent).mail_since = None
        received.add_done_callback(lambda done: self._received(agent, done))
        self.heard(agent)

    def sent_back(self, agent: Agent, canary: str, settled: "asyncio.Future[Settled]") -> None:
        """A canary comes back; it has when its ack is carried out."""
        settled.add_done_callback(lambda done: self._came_back(agent, canary, done))

    def settles(self, agent: Agent, settled: "asyncio.Future[Settled]") -> None:
        """Its harness has done with messages."""
        settled.add_done_callback(lambda done: self._settled(agent, done))

    def could_not_keep(self, agent: Agent, fault: FaultError) -> None:
        """What its harness said: where the hive's disk is full it cannot be seen to go on, and says it again."""
        if fault.kind is FaultKind.STORAGE:
            self._of(agent).lived_at = self.clock.monotonic()

    def watch(self, agent: Agent, records: Sequence[EventRecord]) -> None:
        """Events of its harness."""
        seen = self._of(agent)
        signs = [seen.activity.take(record) for record in records]
        if any(signs):
            seen.lived_at = self.clock.monotonic()
        self.heard(agent)

    def mail_moved(self, change: MailChange) -> None:
        seen = self._watched.get(change.recipient)
        if seen is None or change.recipient not in self.fleet:
            return
        if change.kind is MailChangeKind.LEASED:
            if not seen.held:
                seen.lived_at = self.clock.monotonic()
            seen.held.add(change.id)
            self._look_at(self.fleet.get(change.recipient))
        elif change.id in seen.held and change.kind is not MailChangeKind.READ:
            seen.held.discard(change.id)
            if change.kind is MailChangeKind.HANDLED:
                seen.proven_at = self.clock.monotonic()

    def mail_waits(self, name: str) -> None:
        """Mail can be leased to the agent, and its harness does not ask for any."""
        if name in self.fleet:
            agent = self.fleet.get(name)
            seen = self._of(agent)
            if seen.mail_since is None:
                seen.mail_since = self.clock.monotonic()
                self._look_at(agent)

    def press(self, busy: bool) -> None:
        """While busy nothing is read from any agent: what is not heard then says nothing."""
        self._is_blind = busy
        if not busy:
            for seen in self._watched.values():
                seen.heard_at = seen.lived_at = self.clock.monotonic()
            self._look_at_all()

    def _received(self, agent: Agent, done: "asyncio.Future[Received]") -> None:
        if not done.cancelled() and done.exception() is None and done.result().messages and done.result().unread:
            self.mail_waits(agent.name)

    def _came_back(self, agent: Agent, canary: str, done: "asyncio.Future[Settled]") -> None:
        seen = self._of(agent)
        if not done.cancelled() and done.exception() is None and canary == seen.canary:
            seen.canary_since, seen.canary, seen.proven_at = None, "", self.clock.monotonic()
            self._look_at(agent)

    def _settled(self, agent: Agent, done: "asyncio.Future[Settled]") -> None:
        if not done.cancelled() and isinstance(fault := done.exception(), FaultError):
            self.could_not_keep(agent, fault)

    async def _follow(self) -> None:
        with self.fleet.chronicle.changes.subscribe() as changes:
            async for names in changes:
                for name in names:
                    if name in self.fleet:
                        self._look_at(self.fleet.get(name))
                    else:
                        self._watched.pop(name, None)

    # judging

    def _look_at_all(self) -> None:
        for agent in self.fleet.agents():
            self._look_at(agent)

    def _look_at(self, agent: Agent) -> None:
        if self._alarm is None or self._background.closed or self._is_blind:
            return
        seen, now = self._of(agent), self.clock.monotonic()
        if not agent.should_run and not agent.running:
            self._watched[agent.name] = _Watched(incarnation=seen.incarnation, mail_since=seen.mail_since)
            self._show(agent, None)
            return
        verdict = judge(self._sight(agent, seen, now), seen.memory, Bounds.of(agent.settings.stuck), now)
        seen.memory = verdict.memory
        if verdict.look_at < NEVER:
            self._alarm.set(verdict.look_at)
        if verdict.probe:
            self._probe(agent, seen, now)
        episode = verdict.memory.episode
        self._show(agent, episode)
        if episode is not None and verdict.step is not None:
            self._take(agent, episode, verdict.step)
        if episode is not None and verdict.tell:
            self._tell(agent, episode)

    def _sight(self, agent: Agent, seen: _Watched, now: float) -> Sight:
        up = agent.phase is Phase.RUNNING
        if not up:
            seen.held.clear()
            seen.activity.forget()
        works = up and (agent.turn_state != TurnState.IDLE or bool(seen.held))
        seen.up_since = _since(seen.up_since, up, now)
        seen.works_since = _since(seen.works_since, works, now)
        seen.free_since = _since(seen.free_since, up and agent.is_free(self.clock.now()) and not works, now)
        seen.asks_since = _since(seen.asks_since, up and seen.activity.waits_for_answer, now)
        waits = [since for since in (seen.mail_since, seen.canary_since) if since is not None]
        may_probe = seen.free_since is not None and agent.peer is not None and seen.sends_canaries_back and not waits
        return Sight(
            up_since=seen.up_since,
            heard_at=seen.heard_at,
            greeted_at=seen.greeted_at,
            quiet_since=None if seen.works_since is None else max(seen.works_since, seen.lived_at),
            in_tool=bool(seen.activity.open) or (agent.turn_state != TurnState.IDLE and not seen.activity.has_begun),
            prompt_since=seen.asks_since,
            repeats=seen.activity.repeats,
            waits_since=None if seen.free_since is None or not waits else max(min(waits), seen.free_since),
            proven_at=seen.proven_at if may_probe else None,
        )

    def _of(self, agent: Agent) -> _Watched:
        seen = self._watched.get(agent.name)
        if seen is None or seen.incarnation != agent.row.incarnation:
            seen = self._watched[agent.name] = _Watched(incarnation=agent.row.incarnation)
        return seen

    def _show(self, agent: Agent, episode: Episode | None) -> None:
        before, agent.episode = agent.episode, episode
        if before == episode:
            return
        self.fleet.chronicle.changed(agent)
        if before is not None and episode is None:
            self._note(agent, before.stuck, "it goes on")

    # acting

    def _probe(self, agent: Agent, seen: _Watched, now: float) -> None:
        seen.canary, seen.canary_since = os.urandom(8).hex(), now
        self.mailbox.probe(agent.name, seen.canary)
        self._look_at(agent)

    def _take(self, agent: Agent, episode: Episode, step: Step) -> None:
        log.warning("an agent is stuck", agent=agent.name, stuck=episode.stuck, step=step)
        self._note(agent, episode.stuck, words(episode))
        match step:
            case Step.RECONNECT:
                if agent.peer is not None:
                    agent.peer.close()
            case Step.RESTART_CONTAINER:
                self._background.begin(self._restart(agent, episode))
            case Step.NUDGE | Step.INTERRUPT | Step.RESTART_CLAUDE:
                unstick = msgspec.convert({"step": step, "reason": reason(episode.stuck)}, Unstick)
                self._background.begin(self._ask(agent, unstick))

    async def _ask(self, agent: Agent, unstick: Unstick) -> None:
        if agent.peer is None:
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                await agent.peer.call(UNSTICK, unstick)
        except (FaultError, TimeoutError) as error:
            log.info("a step does not help", agent=agent.name, step=unstick.step, reason=str(error))

    async def _restart(self, agent: Agent, episode: Episode) -> None:
        if not agent.should_run:
            return
        why = f"{episode.stuck}: {reason(episode.stuck)}"
        await self.submit(
            JobDraft(
                agent=agent.name, kind=JobKind.RESTART, params={IF_WANTED: True}, source="watchdog", requester=SYSTEM,
                reason=why,
            )
        )  # fmt: skip

    def _tell(self, agent: Agent, episode: Episode) -> None:
        log.error("an agent stays stuck", agent=agent.name, stuck=episode.stuck)
        self._note(agent, episode.stuck, words(episode))
        told = helper_event("stuck", agent=agent.name, stuck=episode.stuck, note=words(episode))
        self._background.begin(self.notices.add(told))

    def _note(self, agent: Agent, stuck: Stuck, note: str) -> None:
        if not self._notes.take(agent.name, self.clock.monotonic()):
            self.fleet.chronicle.note(agent.name, "stuck", {"stuck": stuck, "note": note})


def _since(before: float | None, holds: bool, now: float) -> float | None:
    """Since when it holds without a break, as far as it was looked at."""
    return (now if before is None else before) if holds else None
