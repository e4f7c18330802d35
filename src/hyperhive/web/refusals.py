"""What agents wanted to reach and may not: what the operator has to know to allow it."""

import contextlib
from dataclasses import dataclass
from typing import Final

import msgspec

from hyperhive.containers.egress_rules import Allowed
from hyperhive.hub.hive import Hive
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.settings import AgentSettings

SHOWN: Final = 12


class _Payload(msgspec.Struct, frozen=True):
    host: str
    port: int
    reason: str
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class RefusedHost:
    """A host that an agent asked for in vain, at last at that time (Unix seconds)."""

    agent: str
    host: str
    port: int
    reason: str
    count: int
    last: float

    @property
    def entry(self) -> str:
        """What would allow it in the agent's `network.allow`; empty when nothing can."""
        entry = self.host if self.port == 443 else f"{self.host}:{self.port}"
        with contextlib.suppress(FaultError):
            Allowed.parse(entry)
            return entry
        return ""


async def refused(hive: Hive) -> list[RefusedHost]:
    """The newest first, each host of an agent once. What its config allows by now is settled."""
    settings = {str(agent.name): agent.settings for agent in hive.fleet.agents()}
    found: dict[tuple[str, str, int], RefusedHost] = {}
    for event in await hive.fleet.chronicle.events.told("egress_refused", settings):
        row = _row(event, found)
        found.pop((row.agent, row.host, row.port), None)
        found[row.agent, row.host, row.port] = row
    return [row for row in reversed(found.values()) if not _is_allowed(settings[row.agent], row)][:SHOWN]


def _row(event: HiveEvent, before: dict[tuple[str, str, int], RefusedHost]) -> RefusedHost:
    said = msgspec.json.decode(event.payload, type=_Payload)
    earlier = before.get((event.agent, said.host, said.port))
    return RefusedHost(
        agent=event.agent, host=said.host, port=said.port, reason=said.reason, last=event.ts,
        count=said.count + (earlier.count if earlier else 0),
    )  # fmt: skip


def _is_allowed(settings: AgentSettings, row: RefusedHost) -> bool:
    return any(Allowed.parse(entry).covers(row.host, row.port) for entry in settings.network.allow)
