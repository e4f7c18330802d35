"""What a harness may ask of the hive: its own mail, sending as itself, and saying how it is.

Every call comes with the agent whose socket it arrived on; nothing in it says who the caller is.
"""

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET

from hyperhive.broker.events import EventLog
from hyperhive.broker.letters import Draft
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.turns import TurnRow, Turns
from hyperhive.hub.agents import Agent
from hyperhive.hub.budgets import Budgets
from hyperhive.hub.chronicle import Chronicle
from hyperhive.hub.credentials import Credentials
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.limits import Limits
from hyperhive.hub.lookout import Lookout
from hyperhive.hub.recipients import check_allowed
from hyperhive.hub.status import auth_words, state
from hyperhive.protocol import agent as wire
from hyperhive.protocol.events import EventRecord, TurnEnd, TurnStart, live_event
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.rpc import Nothing, Peer

MAX_TURN_MS: Final = 7 * 86400 * 1000
MAX_OVERLOAD_S: Final = 3600.0
"""No pause after an overload that a harness reports is taken to be longer."""
_MANAGER_ROLE: Final = "manager"
_TURN_KINDS: Final = frozenset({"turn_start", "turn_end"})


@dataclass(frozen=True, kw_only=True)
class Runners:
    """The agent socket's methods as use cases. All are done when what they answer is durable."""

    fleet: Fleet
    mailbox: Mailbox
    events: EventLog
    turns: Turns
    budgets: Budgets
    chronicle: Chronicle
    credentials: Credentials
    limits: Limits
    lookout: Lookout

    async def hello(self, agent: Agent, peer: Peer, hello: wire.Hello) -> wire.Welcome:
        """The runner of this boot speaks for the agent from now on; an older one is fenced off."""
        self.budgets.judge(agent)
        epoch = await self.mailbox.begin_epoch(agent.name, hello.boot_id)
        seen = await self.events.seen(agent.name, agent.row.incarnation)
        if agent.peer is not None and agent.peer is not peer:
            agent.peer.close()
        agent.peer, agent.epoch = peer, epoch.number
        agent.greeting.set()
        self.budgets.greeted(agent)
        self.lookout.greeted(
            agent, sends_canaries_back=hello.canary, held=[held.id for held in epoch.held], events_seen=seen
        )
        self.chronicle.changed(agent)
        return wire.Welcome(
            agent=agent.name,
            role=agent.settings.role,
            epoch=epoch.number,
            paused=agent.row.paused,
            events_seen=seen,
            peers=[name for name in self.fleet.names() if name != agent.name],
            held=[envelope.id for envelope in epoch.held],
            credential=self.credentials.given_to(agent).mark,
        )

    def gone(self, agent: Agent, peer: Peer) -> None:
        """The connection ended. The epoch lives on: its runner comes back, or its leases run out."""
        if agent.peer is peer:
            agent.peer = None
            self.mailbox.cancel_waits(agent.name)
            self.chronicle.changed(agent)

    def recv(self, agent: Agent, ask: wire.Recv) -> Awaitable[wire.Received]:
        received = self.mailbox.recv(agent.name, ask.epoch, ask.wait_seconds, ask.max, ask.ack)
        if ask.wait_seconds > 0:
            self.lookout.receives(agent, received)
        return received

    def read(self, agent: Agent, ask: wire.Read) -> Awaitable[wire.Settled]:
        return self.mailbox.read(agent.name, ask.epoch, ask.ids, ask.turn)

    def ack(self, agent: Agent, ask: wire.Ack) -> Awaitable[wire.Settled]:
        settled = self.mailbox.ack(agent.name, ask.epoch, ask.ids)
        self.lookout.settles(agent, settled)
        if ask.canary:
            self.lookout.sent_back(agent, ask.canary, settled)
        return settled

    def release(self, agent: Agent, ask: wire.Release) -> Awaitable[wire.Settled]:
        settled = self.mailbox.release(agent.name, ask.epoch, ask.ids, ask.failed, ask.reason)
        self.lookout.settles(agent, settled)
        return settled

    def heartbeat(self, agent: Agent, ask: wire.Heartbeat) -> Nothing:
        self.mailbox.heartbeat(agent.name, ask.epoch)
        self.lookout.heard(agent)
        return Nothing()

    def send(self, agent: Agent, ask: wire.Send) -> Awaitable[wire.Sent]:
        among = check_allowed(agent, ask.to)
        kind = wire.MessageKind.MANAGER if agent.settings.role == _MANAGER_ROLE else wire.MessageKind.AGENT
        return self.mailbox.send(
            Draft(
                sender=agent.name,
                kind=kind,
                mid=ask.mid,
                to=ask.to,
                body=ask.body,
                in_reply_to=ask.in_reply_to,
                turn=ask.turn,
                among=among,
            )
        )

    async def receipt(self, agent: Agent, ask: wire.ReceiptOf) -> wire.Receipt:
        return await self.mailbox.receipt(ask.id, agent.name)

    async def set_status(self, agent: Agent, ask: wire.SetStatus) -> Nothing:
        now = time.time()
        agent.row = await self.fleet.roster.update(agent.name, status_text=ask.text, status_set_at=now)
        agent.status_text, agent.status_set_at = ask.text, now
        self.chronicle.changed(agent)
        return Nothing()

    def list_agents(self, agent: Agent, _: Nothing) -> wire.Colleagues:
        others = [
            wire.Colleague(
                name=other.name,
                role=other.settings.role,
                state=state(other),
                status_text=other.status_text,
                description=other.row.description,
                parent=other.parent,
            )
            for other in self.fleet.agents()
            if other is not agent
        ]
        return wire.Colleagues(agents=others)

    async def whoami(self, agent: Agent, _: Nothing) -> wire.Whoami:
        return wire.Whoami(
            agent=agent.name,
            role=agent.settings.role,
            unread=await self.mailbox.unread(agent.name),
            parent=agent.parent,
            tool_groups=self.fleet.house.tool_groups(agent),
            held=agent.held,
        )

    def credential(self, agent: Agent, _: Nothing) -> wire.Credential:
        return self.credentials.given_to(agent)

    async def report(self, agent: Agent, report: wire.Report) -> Nothing:
        """What the harness says of itself: shown, and what decides when its container may sleep."""
        for field in ("turn_state", "rest", "model", "context_tokens"):
            value = getattr(report, field)
            if value is not UNSET:
                setattr(agent, field, value)
        if report.overloaded_until is not UNSET:
            agent.overloaded_until = min(report.overloaded_until, time.time() + MAX_OVERLOAD_S)
        if report.auth is not UNSET:
            agent.auth = report.auth
        if report.login is not UNSET:
            is_new = agent.login is None or agent.login.state != report.login.state
            agent.login = report.login
            if is_new and report.login.state == wire.LoginState.DONE:
                await self.limits.logged_in(agent)
        if report.limited_until is not UNSET:
            await self.limits.reported(agent, report.limited_until)
        if report.windows is not UNSET:
            await self.limits.used(agent, report.windows)
        if report.needs_login is not UNSET:
            known = agent.auth is not None and agent.auth.state != wire.AuthState.OK
            why = auth_words(agent, agent.auth.state) if agent.auth is not None and known else ""
            await self.fleet.set_needs_login(agent, report.needs_login, why)
        self.fleet.rest_changed(agent.name)
        self.chronicle.changed(agent)
        return Nothing()

    async def record(self, agent: Agent, batch: wire.Events) -> wire.EventsSeen:
        """Keep the harness's events; a turn's end is also kept as the turn's row, and what they spent is counted."""
        self.lookout.watch(agent, batch.records)
        try:
            return await self._keep(agent, batch)
        except FaultError as fault:
            self.lookout.could_not_keep(agent, fault)
            raise

    async def _keep(self, agent: Agent, batch: wire.Events) -> wire.EventsSeen:
        await self.budgets.count(agent, batch.records)
        for (
            record
        ) in batch.records:  # first: a batch that is kept is not sent again, a turn's row may be written twice
            if record.kind in _TURN_KINDS:
                await self._note_turn(agent, record)
        return wire.EventsSeen(seq=await self.events.append(agent.name, agent.row.incarnation, batch.records))

    async def _note_turn(self, agent: Agent, record: EventRecord) -> None:
        event = live_event(record.payload)
        if isinstance(event, TurnStart):
            agent.turn_cause = event.sender
        elif isinstance(event, TurnEnd):
            await self.turns.add(turn_row(agent, event, min(record.ts, time.time())))


def turn_row(agent: Agent, end: TurnEnd, ended_at: float) -> TurnRow:
    """The turn as statistics keep it. The time is the harness's word, but it is not in the future: there a turn would
    be of each day that comes, and never old enough to go."""
    return TurnRow(
        agent=agent.name,
        incarnation=agent.row.incarnation,
        turn=end.turn,
        outcome=end.outcome,
        started_at=ended_at - min(max(end.duration_ms, 0), MAX_TURN_MS) / 1000,
        ended_at=ended_at,
        model=agent.model,
        cause=agent.turn_cause,
        input_tokens=end.input_tokens,
        output_tokens=end.output_tokens,
        cache_read_tokens=end.cache_read_tokens,
        cache_creation_tokens=end.cache_creation_tokens,
        cost_usd=end.cost_usd,
        tool_calls=end.tool_calls,
    )
