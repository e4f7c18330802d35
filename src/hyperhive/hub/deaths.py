"""How the death of a container is told, when nobody ordered it."""

from dataclasses import dataclass
from typing import Final

import structlog

from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.notices import Notice, Notices
from hyperhive.containers.keeper import Exit
from hyperhive.hub import prompts
from hyperhive.hub.agents import Agent
from hyperhive.hub.chronicle import Chronicle
from hyperhive.hub.helper_events import helper_event
from hyperhive.hub.house import House
from hyperhive.hub.supervisor import cause_of, how_it_ended
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import OPERATOR, container_name

LAST_LINES: Final = 10
LAST_LINE_CHARACTERS: Final = 200
"""Of what a container wrote before it died, as the manager is told of it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Deaths:
    """Those who watch hear of it, the mailbox, the manager, and in the end the operator."""

    house: House
    mailbox: Mailbox
    chronicle: Chronicle
    notices: Notices

    async def died(self, agent: Agent, exit_: Exit) -> None:
        how = how_it_ended(exit_)
        log.warning("a container died", agent=agent.name, how=how)
        self.chronicle.note(agent.name, "container_crash", {"note": how, "oom": exit_.oom})
        await self.mailbox.container_died(agent.name)
        await self.notices.add(
            helper_event(
                "container_crash", agent=agent.name, note=how, cause=cause_of(exit_), status=exit_.status,
                signal=exit_.signal, last_lines=await self._last_words(agent),
            )
        )  # fmt: skip

    async def gave_up(self, agent: Agent, last: str) -> None:
        """It dies so often that it is not started again."""
        log.error("giving up on an agent", agent=agent.name, last=last)
        await self.notices.add(Notice(recipient=OPERATOR, body=prompts.gave_up(agent.name, last)))

    async def _last_words(self, agent: Agent) -> list[str] | None:
        """Hostile text, for whoever looks into the death; None when there is none."""
        try:
            lines = await self.house.keeper(agent).logs(container_name(agent.name), lines=LAST_LINES, boot=True)
        except (FaultError, OSError) as error:
            log.warning("cannot read what a container wrote last", agent=agent.name, error=str(error))
            return None
        return [line[:LAST_LINE_CHARACTERS] for line in lines] or None
