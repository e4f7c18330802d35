"""What may be spent: looked at before each turn and with every word of usage during it.

A budget that is spent holds the agent's mail back and ends its turn. It goes on when the day or month is over, when
the operator adds to it, or with a higher one.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Final

import msgspec
import structlog

from hyperhive.broker.budgets import HIVE, Amount, BudgetBook, Period, Sums
from hyperhive.broker.clock import Clock, SystemClock, Timer
from hyperhive.broker.notices import Notice, Notices
from hyperhive.hub import prompts
from hyperhive.hub.agents import Agent
from hyperhive.hub.background import Background
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.helper_events import helper_event
from hyperhive.hub.meter import Difference, advance, speaks_of_usage
from hyperhive.hub.prices import Prices
from hyperhive.protocol import host
from hyperhive.protocol.agent import OVER_BUDGET, OverBudget
from hyperhive.protocol.events import EventRecord
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import OPERATOR
from hyperhive.protocol.rpc import Peer
from hyperhive.protocol.settings import Budget

ANSWER_S: Final = 20.0
"""How long a harness may take to end its turn; then its container is started anew."""
MOST_TOLD: Final = 10
LATE_S: Final = 60.0
"""A harness that still spends when it has been told so often, and for so long, says that it ends its turns and does
not. What it had spent before may be heard of later, and what it has in the background may begin a turn or two."""
LOOK_AGAIN_S: Final = 600.0
"""The wall clock may be set: the day is asked for at least so often."""
KEEP_S: Final = 400 * 86400.0
"""What was spent longer ago is forgotten."""
_MOST_MODELS: Final = 64

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One number of a budget, and how far it is used up."""

    of: str  #: day, month
    sort: str  #: usd, tokens
    limit: float
    spent: float

    @property
    def is_spent(self) -> bool:
        return self.spent >= self.limit

    def __str__(self) -> str:
        when = "today" if self.of == "day" else "this month"
        if self.sort == "usd":
            return f"${self.spent:.2f} of the ${self.limit:.2f} for {when}"
        return f"{self.spent:.0f} of the {self.limit:.0f} tokens for {when}"


@dataclass
class Told:
    """How often a harness was told to end its turn since the budget is spent, and when first."""

    since: float
    times: int = 0


def bounds(budget: Budget, sums: Sums) -> Iterator[Bound]:
    """Each number that the budget has, with what was added to it."""
    for of in ("day", "month"):
        period: Period = getattr(sums, of)
        for sort in ("usd", "tokens"):
            limit = getattr(budget, f"{of}_{sort}")
            if limit is not None:
                yield Bound(
                    of=of, sort=sort, limit=limit + getattr(period.added, sort), spent=getattr(period.spent, sort)
                )


@dataclass(kw_only=True)
class Budgets:
    """`load` before agents come, `open` when the fleet is there, `close` at the end."""

    fleet: Fleet
    book: BudgetBook
    notices: Notices
    prices: Prices
    clock: Clock = field(default_factory=SystemClock)
    zone: tzinfo | None = None  #: None: the host's own
    whole: Budget = field(default_factory=Budget)  #: of all agents together
    _sums: dict[str, Sums] = field(default_factory=dict)
    _day: str = ""
    _timer: Timer | None = None
    _background: Background = field(default_factory=Background)
    answer_s: float = ANSWER_S
    _ending: set[str] = field(default_factory=set)
    _told: dict[str, Told] = field(default_factory=dict)
    _differing: set[str] = field(default_factory=set)
    _warned: set[tuple[str, str]] = field(default_factory=set)

    async def load(self) -> None:
        """What was spent before counts."""
        if kept := await self.book.hive_limits():
            self.whole = msgspec.json.decode(kept, type=Budget)
        await self._begin_day()

    async def open(self) -> None:
        """Judge every agent, and from now on those whose config changes and all when a day begins."""
        self._judge_all()
        self._background.begin(self._follow())
        self._wait_for_day()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._background.close()

    @property
    def today(self) -> str:
        return self._day_of(self.clock.now())

    def _day_of(self, seconds: float) -> str:
        return datetime.fromtimestamp(seconds, self.zone).strftime("%Y-%m-%d")

    # spending

    async def count(self, agent: Agent, records: Sequence[EventRecord]) -> None:
        """Take what the events say that was spent to the day that it is now, durably, each event once.

        Raises FaultError (`storage`): the harness sends them again.
        """
        if not any(speaks_of_usage(record) for record in records):
            return
        differences: list[Difference] = []

        def further(before: bytes) -> tuple[bytes, Amount]:
            after, more, found = advance(before, records, self.prices)
            differences[:] = found
            return after, more

        day = self.today
        spent, sums = await self.book.count(agent.name, agent.row.incarnation, day, further)
        self._take(day, sums)
        self._tell_differences(differences)
        if spent == Amount():
            return
        for each in self.fleet.agents():
            self.judge(each)
        if agent.over_budget:
            self._end_turn(agent)

    def judge(self, agent: Agent) -> None:
        """Hold the agent's mail or let it go on, and end its turn when it has just come to the end of its budget."""
        reason = self._reason(agent)
        newly = bool(reason) and not agent.over_budget
        if not reason:
            self._told.pop(agent.name, None)
        if reason != agent.over_budget:
            agent.over_budget = reason
            self.fleet.hold(agent)
        if newly:
            self.fleet.chronicle.note(agent.name, "budget_spent", {"reason": reason})
            self._background.begin(self.notices.add(helper_event("budget_spent", agent=agent.name, note=reason)))
            self._end_turn(agent)
        self._warn(agent.name, agent.settings.budget)
        self._warn(HIVE, self.whole)

    def greeted(self, agent: Agent) -> None:
        """Its harness is there, and may be at a turn that began before the budget was spent."""
        if agent.over_budget:
            self._end_turn(agent)

    # the operator's doing

    async def top_up(self, name: str | None, more: Amount) -> list[host.BudgetRow]:
        """More for today and this month, of one agent or of the whole hive; who waited for it goes on."""
        if more == Amount():
            raise FaultError(FaultKind.INVALID_PARAMS, "cannot top up by nothing: say usd or tokens")
        whose = HIVE if name is None else self.fleet.get(name).name
        day = self.today
        sums = await self.book.add(whose, day, more)
        self._warned = {warned for warned in self._warned if warned[0] != whose}
        self._take(day, sums)
        self._judge_all()
        return [self._row(whose)]

    async def set_whole(self, budget: Budget) -> list[host.BudgetRow]:
        """What all agents together may spend."""
        await self.book.set_hive_limits(msgspec.json.encode(budget))
        self.whole = budget
        self._judge_all()
        return [self._row(HIVE)]

    def rows(self, name: str | None) -> list[host.BudgetRow]:
        """Of one agent; or first the whole hive, then each."""
        if name is not None:
            return [self._row(self.fleet.get(name).name)]
        return [self._row(each) for each in (HIVE, *self.fleet.names())]

    # inside

    def _reason(self, agent: Agent) -> str:
        own = [f"it has spent {bound}" for bound in self._bounds(agent.name, agent.settings.budget) if bound.is_spent]
        all_ = [f"the hive has spent {bound}" for bound in self._bounds(HIVE, self.whole) if bound.is_spent]
        return "; ".join(own + all_)

    def _bounds(self, name: str, budget: Budget) -> Iterator[Bound]:
        return bounds(budget, self._sums.get(name, Sums()))

    def _take(self, day: str, sums: dict[str, Sums]) -> None:
        if day >= self._day:  # an answer from before midnight may come after it
            self._day, self._sums = day, sums

    def _judge_all(self) -> None:
        for agent in self.fleet.agents():
            self.judge(agent)

    def _warn(self, name: str, budget: Budget) -> None:
        for bound in self._bounds(name, budget):
            period = self._day if bound.of == "day" else self._day[:7]
            if bound.limit and bound.spent >= budget.warn_at * bound.limit and (name, period) not in self._warned:
                self._warned.add((name, period))
                self._background.begin(self._tell(name, period, str(bound)))

    async def _tell(self, name: str, period: str, spent: str) -> None:
        text = prompts.budget_warning(name, spent)
        owed = [Notice(recipient=recipient, body=text) for recipient in (name, OPERATOR) if recipient]
        owed.append(helper_event("budget_warning", agent=name, note=spent))
        if await self.book.warn(name, period, owed, self.clock.now()):
            self.notices.wake()
            self.fleet.chronicle.note(name, "budget_warning", {"note": text})

    def _end_turn(self, agent: Agent) -> None:
        if agent.peer is not None and agent.name not in self._ending:
            self._ending.add(agent.name)
            self._background.begin(self._end(agent, agent.peer))

    async def _end(self, agent: Agent, peer: Peer) -> None:
        try:
            if not await self._heeds(agent, peer):
                log.warning("a turn over budget does not end: its container is started anew", agent=agent.name)
                self._told.pop(agent.name, None)
                await self.fleet.begin_anew(agent)
        finally:
            self._ending.discard(agent.name)

    async def _heeds(self, agent: Agent, peer: Peer) -> bool:
        told = self._told.setdefault(agent.name, Told(self.clock.monotonic()))
        told.times += 1
        if told.times > MOST_TOLD and self.clock.monotonic() - told.since > LATE_S:
            return False
        try:
            async with asyncio.timeout(self.answer_s):
                await peer.call(OVER_BUDGET, OverBudget(reason=agent.over_budget[:500]))
        except (FaultError, TimeoutError) as error:
            log.debug("a harness gives no answer about its budget", agent=agent.name, error=str(error))
            return agent.peer is not peer
        return True

    def _tell_differences(self, differences: Sequence[Difference]) -> None:
        for each in differences:
            if each.model not in self._differing and len(self._differing) < _MOST_MODELS:
                self._differing.add(each.model)
                log.warning(
                    "the hive and claude count differently; the higher counts",
                    model=each.model, hive_usd=round(each.counted, 6), claude_usd=round(each.claimed, 6),
                )  # fmt: skip

    async def _follow(self) -> None:
        with self.fleet.chronicle.changes.subscribe() as changes:
            async for names in changes:
                for name in names:
                    if name in self.fleet:
                        self.judge(self.fleet.get(name))

    async def _begin_day(self) -> None:
        day = self.today
        sums = await self.book.sums(day)
        self._day, self._sums = day, sums

    def _wait_for_day(self) -> None:
        self._timer = self.clock.call_later(self._until_look(), lambda: self._looked())

    def _looked(self) -> None:
        if not self._background.closed:
            self._background.begin(self._look())
            self._wait_for_day()

    async def _look(self) -> None:
        if self.today != self._day:
            self._warned.clear()
            await self._begin_day()
            self._judge_all()
            await self.book.vacuum(self._day_of(self.clock.now() - KEEP_S))

    def _until_look(self) -> float:
        now = datetime.fromtimestamp(self.clock.now(), self.zone)
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return min(max(midnight.timestamp() - self.clock.now(), 1.0), LOOK_AGAIN_S)

    def _row(self, name: str) -> host.BudgetRow:
        budget = self.fleet.get(name).settings.budget if name else self.whole
        found = {(bound.of, bound.sort): bound for bound in self._bounds(name, budget)}
        sums = self._sums.get(name, Sums())
        over = self.fleet.get(name).over_budget if name else "; ".join(str(b) for b in found.values() if b.is_spent)

        def period(of: str, called: str) -> host.BudgetPeriod:
            spent: Amount = getattr(sums, of).spent
            usd, tokens = found.get((of, "usd")), found.get((of, "tokens"))
            return host.BudgetPeriod(
                period=called,
                spent_usd=spent.usd,
                spent_tokens=spent.tokens,
                usd=usd.limit if usd else msgspec.UNSET,
                tokens=round(tokens.limit) if tokens else msgspec.UNSET,
            )

        return host.BudgetRow(
            agent=name, day=period("day", self._day), month=period("month", self._day[:7]), over=over
        )


def how_on(name: str) -> str:
    """What the operator can do for an agent that is over budget."""
    return f"`hive budget {name} --top-up USD` or `hive budget --hive --top-up USD` lets it go on"
