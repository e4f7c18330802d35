"""What happens in the hive, told to those who watch and kept for those who look later."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog

from hyperhive.broker.events import EventLog
from hyperhive.broker.letters import MailChange, MailChangeKind
from hyperhive.containers.egress import Refusal
from hyperhive.hub.agents import Agent
from hyperhive.hub.changes import Changes
from hyperhive.protocol.faults import FaultError

log = structlog.get_logger(__name__)
_encode: Final = msgspec.json.Encoder().encode
_TOLD: Final = frozenset({MailChangeKind.SENT, MailChangeKind.REQUEUED, MailChangeKind.DEAD})


class Chronicle:
    """Events of the hive's own (kept, numbered) and news of changed agents (not kept: ask for the roster)."""

    def __init__(self, events: EventLog) -> None:
        self.events = events
        self.changes = Changes()
        self.mail_changes = Changes()  #: the recipients of messages that went a step, any step

    def changed(self, agent: Agent) -> None:
        """Something that the roster shows of the agent is different now."""
        self.changes.publish(agent.name)

    def note(self, agent: str, kind: str, fields: Mapping[str, Any]) -> None:
        """Keep and publish an event about an agent; a full disk costs the event, not what it is about."""
        payload = msgspec.Raw(_encode({"kind": kind, **fields}))
        self.events.tell(kind, payload, agent).add_done_callback(_log_lost)

    def egress_refused(self, refusal: Refusal) -> None:
        """An agent wanted to reach what its network settings do not allow."""
        fields = {"host": refusal.host, "port": refusal.port, "reason": refusal.reason, "count": refusal.count}
        self.note(refusal.agent, "egress_refused", fields)

    def mail(self, change: MailChange) -> None:
        """A message went a step; one that tells somebody something is an event: sent, back in the queue, given up."""
        self.mail_changes.publish(change.recipient)
        if change.kind in _TOLD:
            written = self.events.tell(f"message_{change.kind}", msgspec.Raw(_encode(change)))
            written.add_done_callback(_log_lost)


def _log_lost(written: Any) -> None:
    if not written.cancelled() and isinstance(written.exception(), FaultError):
        log.error("an event could not be kept", error=str(written.exception()))
