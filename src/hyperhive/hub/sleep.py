"""When an idle agent's container is stopped, and when it is started again."""

import asyncio
from collections.abc import Awaitable, Callable

from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.roster import Wanted
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.background import Background
from hyperhive.hub.supervisor import Supervisor
from hyperhive.protocol.events import Rest, TurnState

Record = Callable[[Agent, bool], Awaitable[None]]
"""Writes down whether the agent is asleep."""


class Sleep:
    """One agent's deep sleep: its container is stopped after `deep_sleep_after` seconds of dozing, up for mail."""

    def __init__(
        self, agent: Agent, supervisor: Supervisor, mailbox: Mailbox, background: Background, record: Record
    ) -> None:
        self._agent = agent
        self._supervisor = supervisor
        self._mailbox = mailbox
        self._background = background
        self._record = record
        self._bedtime: asyncio.TimerHandle | None = None

    def rest_changed(self) -> None:
        """The harness has said how it is: its time for sleep runs from when it dozes with nothing to do."""
        self.stay_awake()
        delay = self._agent.settings.deep_sleep_after
        if delay and self._may_sleep():
            self._bedtime = asyncio.get_running_loop().call_later(delay, self._go_to_bed)

    def mail_waits(self) -> None:
        """Mail came: a sleeper is woken, unless the operator wants it to rest."""
        agent = self._agent
        asleep = agent.row.asleep and agent.phase is Phase.STOPPED and not self._background.closed
        if asleep and agent.row.wanted is Wanted.UP and not agent.held:
            self._background.begin(self._wake())

    def stay_awake(self) -> None:
        """Forget the time that ran; harmless when none does."""
        if self._bedtime is not None:
            self._bedtime.cancel()
            self._bedtime = None

    def _may_sleep(self) -> bool:
        agent = self._agent
        idle = agent.phase is Phase.RUNNING and agent.rest == Rest.DOZING and agent.turn_state == TurnState.IDLE
        return idle and not agent.attached and not agent.logs_in and not agent.limited_until

    def _go_to_bed(self) -> None:
        if not self._background.closed:
            self._background.begin(self._fall_asleep())

    async def _fall_asleep(self) -> None:
        if not self._may_sleep() or await self._mailbox.unread(self._agent.name):
            return
        await self._record(self._agent, True)
        await self._supervisor.align()
        if await self._mailbox.unread(self._agent.name):  # it came while the container was stopping
            self.mail_waits()

    async def _wake(self) -> None:
        await self._record(self._agent, False)
        await self._supervisor.align()
