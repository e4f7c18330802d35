"""What the operator may ask beyond the shape and the life of agents: mail, watching, an agent's turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from hyperhive.broker.events import Resync
from hyperhive.broker.letters import Draft, MailChange, MailChangeKind
from hyperhive.broker.mailbox import Mailbox
from hyperhive.hub import way_in
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.budgets import how_on
from hyperhive.hub.chronicle import Chronicle
from hyperhive.hub.fleet import Fleet
from hyperhive.protocol import agent as wire
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent, TurnState
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import OPERATOR
from hyperhive.protocol.rpc import Method, Nothing, P, R

log = structlog.get_logger(__name__)

ANSWER_S: Final = 40.0
"""How long a harness may take to do what the operator asks of it: setting a model waits for claude."""
CHECK_S: Final = 75.0
"""How long it may take to say what became of a login's code, which claude takes somewhere else."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The operator's side of the mailbox and the running harnesses."""

    fleet: Fleet
    mailbox: Mailbox
    chronicle: Chronicle

    # mail

    async def send(self, to: str, body: str, *, mid: str, in_reply_to: int | None = None) -> wire.Sent:
        draft = Draft(
            sender=OPERATOR, kind=wire.MessageKind.OPERATOR, mid=mid, to=to, body=body, in_reply_to=in_reply_to
        )
        return await self.mailbox.send(draft)

    async def reply_to(self, message: int, timeout_s: float) -> host.InboxRow:
        """The first message to the operator in that message's thread; raises FaultError when none comes in time."""
        row = await self.mailbox.wait_in_thread(message, OPERATOR, timeout_s)
        if row is None:
            raise FaultError(
                FaultKind.UNAVAILABLE,
                f"no reply to message {message} came within {timeout_s:g} s; `hive inbox` shows it when it does",
            )
        return row

    def mail_moved(self, change: MailChange) -> None:
        """Called for every step of every message: tells those who watch, and a working agent of new mail."""
        self.chronicle.mail(change)
        if change.kind != MailChangeKind.SENT or change.recipient not in self.fleet:
            return
        agent = self.fleet.get(change.recipient)
        if agent.peer is not None and agent.turn_state != TurnState.IDLE:
            agent.peer.notify(wire.ARRIVED, wire.Arrived(unread=1, senders=[change.sender]))

    # watching

    async def watch(
        self, name: str | None, *, since: int | None, history: int, follow: bool
    ) -> AsyncIterator[list[HiveEvent]]:
        """First an empty batch: what happens from now on will be told. Then kept events, oldest first, then new ones
        as they come; no gap and no double between the two.

        Raises FaultError (`unavailable`) when events came faster than they were taken.
        """
        with self.chronicle.events.subscribe(name) as live:
            yield []
            last = 0
            async for kept in self._kept(name, since, history):
                last = kept[-1].id
                yield kept
            while follow and (batch := await live.batch()):
                if isinstance(batch[-1], Resync):
                    raise FaultError(
                        FaultKind.UNAVAILABLE,
                        f"events came faster than they were read; go on from id {batch[-1].last}",
                    )
                new = [event for event in batch if isinstance(event, HiveEvent) and event.id > last]
                if new:
                    yield new

    async def _kept(self, name: str | None, since: int | None, history: int) -> AsyncIterator[list[HiveEvent]]:
        events = self.chronicle.events
        if since is None:
            if history and (latest := await events.latest(name, history)):
                yield latest
            return
        while kept := await events.after(since, name):
            since = kept[-1].id
            yield kept

    # a harness at work

    async def cancel(self, name: str) -> bool:
        """Interrupt the turn under way; whether there was one."""
        return (await self._ask(self.fleet.get(name), wire.CANCEL, Nothing())).done

    async def new_session(self, name: str) -> bool:
        return (await self._ask(self.fleet.get(name), wire.NEW_SESSION, Nothing())).done

    async def set_model(self, name: str, model: str) -> wire.ModelSet:
        """Raises FaultError (`invalid_params`) for one that its config does not offer."""
        agent = self.fleet.get(name)
        if not agent.settings.offers(model):
            offered = ", ".join(dict.fromkeys((agent.settings.model, *agent.settings.available_models)))
            raise FaultError(
                FaultKind.INVALID_PARAMS,
                f"cannot give {agent.name!r} the model {model!r}: its config offers {offered}",
            )
        return await self._ask(agent, wire.SET_MODEL, wire.SetModel(model=model))

    async def compact(self, name: str, instructions: str = "") -> bool:
        """Have the conversation summarised when the turn under way has ended; raises FaultError when it can't be."""
        if over := self.fleet.get(name).over_budget:
            raise FaultError(FaultKind.WRONG_STATE, f"cannot compact now, it costs money: {over}; {how_on(name)}")
        return (await self._ask(self.fleet.get(name), wire.COMPACT, wire.Compact(instructions=instructions))).done

    @asynccontextmanager
    async def attached(self, name: str, *, interrupt: bool) -> AsyncIterator[host.ShellCommand]:
        """The command that opens claude on the agent's conversation, which is the operator's own while this lasts.

        Raises FaultError (`wrong_state`) when a turn runs, or somebody is attached.
        """
        agent = self.fleet.get(name)
        if agent.attached:
            raise FaultError(FaultKind.WRONG_STATE, f"cannot attach to {agent.name!r}: somebody is attached already")
        agent.attached = True
        self.fleet.hold(agent)
        try:
            command = await way_in.attach_command(self.fleet.house, agent)
            try:
                await self._ask(agent, wire.ATTACH, wire.Attach(interrupt=interrupt))
                yield command
            finally:  # one that was too late to answer has its loop paused all the same
                await self._detach(agent)
        finally:
            agent.attached = False
            self.fleet.hold(agent)

    async def _detach(self, agent: Agent) -> None:
        """A harness that is not there any more has nothing to let go."""
        if agent.peer is None:
            return
        try:
            await self._ask(agent, wire.DETACH, Nothing())
        except FaultError as fault:
            log.warning("an agent was not told that the operator has detached", agent=agent.name, why=fault.message)

    async def login_start(self, name: str) -> wire.Login:
        """Begin a login of claude's, or join the one under way; it comes with its link, or says why there is none."""
        return await self._ask(self.fleet.get(name), wire.LOGIN_START, Nothing())

    async def login_code(self, name: str, code: str) -> wire.Login:
        """Hand the code over; what claude made of it."""
        return await self._ask(self.fleet.get(name), wire.LOGIN_CODE, wire.LoginCode(code=code), CHECK_S)

    async def login_cancel(self, name: str) -> bool:
        """Whether there was one to cancel."""
        return (await self._ask(self.fleet.get(name), wire.LOGIN_CANCEL, Nothing())).done

    async def _ask(self, agent: Agent, method: Method[P, R], params: P, answer_s: float = ANSWER_S) -> R:
        if agent.peer is None:
            raise FaultError(FaultKind.WRONG_STATE, _why_not_there(agent))
        try:
            async with asyncio.timeout(answer_s):
                return await agent.peer.call(method, params)
        except TimeoutError:
            raise FaultError(
                FaultKind.UNAVAILABLE,
                f"the harness of {agent.name!r} does not answer; `hive restart {agent.name}` starts it anew",
            ) from None


def _why_not_there(agent: Agent) -> str:
    if agent.phase in (Phase.RUNNING, Phase.STARTING):
        return f"the harness of {agent.name!r} is not connected yet; try again in a moment"
    return f"agent {agent.name!r} has no harness connected now; it is {agent.phase}: hive start {agent.name}"
