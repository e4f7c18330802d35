"""What becomes news for the operator: the hive's own events and the edges of what agents are, each once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from hyperhive.broker.bucket import Buckets
from hyperhive.broker.events import Resync
from hyperhive.broker.mailbox import Mailbox
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.asking import Asking
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.notify.words import News
from hyperhive.hub.watchdog import words
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import OPERATOR
from hyperhive.protocol.notify import NotifyKind

_PER_S: Final = 1 / 300
_BURST: Final = 3
"""News of one kind about one agent's state: a harness that means harm changes its mind more often."""

Tell = Callable[[News], None]
Wants = Callable[[NotifyKind], bool]
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class State:
    """What is told of an agent when it begins."""

    needs_login: bool = False
    limited: bool = False
    failed: bool = False
    asks: bool = False  #: its limit is over, and it waits for the operator's word

    over_budget: bool = False
    stuck: bool = False  #: and the hive can do no more about it
    no_room: bool = False  #: it is kept down for the disk's sake

    @classmethod
    def of(cls, agent: Agent) -> "State":
        stuck = agent.episode is not None and agent.episode.told
        failed = agent.phase is Phase.FAILED
        limited = agent.limited_until > 0 and not agent.row.limited_by
        return cls(agent.needs_login, limited, failed, agent.asks, bool(agent.over_budget), stuck,
                   bool(agent.no_room))  # fmt: skip


def edges(
    name: str, before: State, now: State, failure: str = "", *, over: str = "", stuck: str = "", no_room: str = ""
) -> list[News]:
    """What is new about the agent: `over`, which of its budgets is spent, `stuck` and `no_room`, how it is so."""
    told = [
        (NotifyKind.NEEDS_LOGIN, now.needs_login and not before.needs_login, "its messages wait until it has one", ""),
        (NotifyKind.LOGGED_IN, before.needs_login and not now.needs_login, "it goes on with its messages", ""),
        (NotifyKind.RATE_LIMITED, now.limited and not before.limited, "its messages wait", ""),
        (NotifyKind.RATE_LIMITED, now.asks and not before.asks, "that is over; `hive resume` lets it go on", ""),
        (NotifyKind.AGENT_FAILED, now.failed and not before.failed, "the hive gave up on its container", failure),
        (NotifyKind.BUDGET, now.over_budget and not before.over_budget, "its messages wait", over),
        (NotifyKind.STUCK, now.stuck and not before.stuck, stuck, ""),
        (NotifyKind.DISK, now.no_room and not before.no_room, no_room, ""),
    ]
    return [News(kind=kind, text=f"{name}: {text}", said=said) for kind, new, text, said in told if new]


@dataclass(frozen=True, kw_only=True)
class Newsroom:
    """Looks things up for what it tells; what is there when `follow` begins is no news."""

    fleet: Fleet
    mailbox: Mailbox
    asking: Asking
    _known: dict[str, State] = field(default_factory=dict)
    _often: Buckets = field(default_factory=lambda: Buckets(_PER_S, _BURST))

    async def follow(self, tell: Tell, wants: Wants) -> None:
        """Until cancelled, or until events came faster than they were read: then begin anew.

        What nobody `wants` is not looked up.
        """
        self._known.update({agent.name: State.of(agent) for agent in self.fleet.agents()})
        async with asyncio.TaskGroup() as both:
            agents = both.create_task(self._follow_agents(tell))
            await self._follow_events(tell, wants)
            agents.cancel()

    async def _follow_agents(self, tell: Tell) -> None:
        with self.fleet.chronicle.changes.subscribe() as changes:
            async for names in changes:
                for name in names:
                    for news in self._about(name):
                        tell(news)

    def _about(self, name: str) -> list[News]:
        if name not in self.fleet:
            self._known.pop(name, None)
            return []
        agent = self.fleet.get(name)
        before, now = self._known.get(name, State()), State.of(agent)
        self._known[name] = now
        stuck = words(agent.episode) if agent.episode else ""
        clock = asyncio.get_running_loop().time()
        return [
            news
            for news in edges(
                name, before, now, agent.failure, over=agent.over_budget, stuck=stuck, no_room=agent.no_room
            )
            if not self._often.take((name, news.kind), clock)
        ]

    async def _follow_events(self, tell: Tell, wants: Wants) -> None:
        with self.fleet.chronicle.events.subscribe() as events:
            while batch := await events.batch():
                for event in batch:
                    if isinstance(event, Resync):
                        log.warning("events came too fast; what they said is not told outside")
                    elif news := await self._seen(event, wants):
                        tell(news)

    async def _seen(self, event: HiveEvent, wants: Wants) -> News | None:
        kind, look = _LOOKS.get(event.kind, (None, None))
        if kind is None or look is None or not wants(kind):
            return None
        try:
            return await look(self, event.agent, msgspec.json.decode(event.payload))
        except FaultError as fault:  # what it is about is gone, or the database does not answer
            log.debug("an event is not told outside", kind=event.kind, reason=fault.message)
            return None

    # what each event says

    async def approval_added(self, agent: str, fields: Mapping[str, Any]) -> News | None:
        row = await self.asking.approvals.get(fields["id"])
        if row is None or row.status != "pending":
            return None
        what = f"#{row.id} {row.kind.replace('_', ' ')} of {agent or 'all agents'}, asked for by {row.requester}"
        return News(kind=NotifyKind.APPROVAL, text=what, said=row.description or "")

    async def approval_resolved(self, agent: str, fields: Mapping[str, Any]) -> News | None:
        if fields["status"] != "failed":
            return None
        what = f"#{fields['id']} {fields['approval_kind'].replace('_', ' ')} of {agent or 'all agents'}"
        return News(kind=NotifyKind.DEPLOY_FAILED, text=what, said=fields["note"])

    async def question_asked(self, _: str, fields: Mapping[str, Any]) -> News | None:
        row = await self.asking.questions.get(fields["id"])
        if row is None or row.target != OPERATOR or row.answered_at is not None:
            return None
        return News(kind=NotifyKind.QUESTION, text=f"#{row.id}, {row.asker} asks", said=row.question)

    async def message_sent(self, _: str, fields: Mapping[str, Any]) -> News | None:
        if fields["recipient"] != OPERATOR:
            return None
        row = await self.mailbox.message(fields["id"])
        return News(kind=NotifyKind.OPERATOR_MAIL, text=f"#{row.id} from {row.sender}", said=row.body)

    async def budget_warning(self, _: str, fields: Mapping[str, Any]) -> News | None:
        return News(kind=NotifyKind.BUDGET, text=fields["note"])

    async def disk_short(self, _: str, fields: Mapping[str, Any]) -> News | None:
        return News(kind=NotifyKind.DISK, text=fields["note"])

    async def message_dead(self, _: str, fields: Mapping[str, Any]) -> News | None:
        what = f"#{fields['id']} from {fields['sender']} to {fields['recipient']}"
        return News(kind=NotifyKind.DEAD_LETTER, text=what)


Look = Callable[[Newsroom, str, Mapping[str, Any]], Awaitable[News | None]]
_LOOKS: Final[Mapping[str, tuple[NotifyKind, Look]]] = {
    "approval_added": (NotifyKind.APPROVAL, Newsroom.approval_added),
    "approval_resolved": (NotifyKind.DEPLOY_FAILED, Newsroom.approval_resolved),
    "question_asked": (NotifyKind.QUESTION, Newsroom.question_asked),
    "message_sent": (NotifyKind.OPERATOR_MAIL, Newsroom.message_sent),
    "budget_warning": (NotifyKind.BUDGET, Newsroom.budget_warning),
    "disk_short": (NotifyKind.DISK, Newsroom.disk_short),
    "message_dead": (NotifyKind.DEAD_LETTER, Newsroom.message_dead),
}
"""By the kind of the event: what it may be news of."""
