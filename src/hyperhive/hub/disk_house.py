"""The fleet as tenants of the hive's disk."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from hyperhive.broker.notices import Notices
from hyperhive.containers.nspawn import UIDS
from hyperhive.containers.spec import Limits
from hyperhive.hub.agents import Agent
from hyperhive.hub.background import Background
from hyperhive.hub.directories import FIRST_UID
from hyperhive.hub.disk_guard import Tenant
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.helper_events import helper_event
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import MANAGER, container_name


@dataclass(kw_only=True)
class DiskHouse:
    """A `Landlord`. `close` it after its guard."""

    fleet: Fleet
    notices: Notices
    _background: Background = field(default_factory=Background)

    async def close(self) -> None:
        await self._background.close()

    def tenants(self) -> Sequence[Tenant]:
        return [self._tenant(agent) for agent in self.fleet.agents()]

    async def keep_down(self, name: str, why: str, *, at_once: bool) -> None:
        await self.fleet.keep_down(name, why, at_once=at_once)

    async def let_up(self, name: str) -> bool:
        return await self.fleet.let_up(name)

    def counted(self, name: str, size: int) -> None:
        if name in self.fleet:
            agent = self.fleet.get(name)
            agent.disk_bytes = size
            self.fleet.chronicle.changed(agent)

    def tell_of_stop(self, name: str, why: str) -> None:
        self.fleet.chronicle.note(name, "no_room", {"note": why})
        self._background.begin(self.notices.add(helper_event("no_room", agent=name, note=why)))

    def tell_short(self, text: str) -> None:
        self.fleet.chronicle.note("", "disk_short", {"note": text})

    def _tenant(self, agent: Agent) -> Tenant:
        paths, name = self.fleet.house.paths, agent.name
        places = [paths.agent_state(name), paths.agent_claude(name), *([paths.proposed] if name == MANAGER else [])]
        return Tenant(
            name=name,
            runs=agent.running,
            is_kept_down=bool(agent.no_room),
            places=tuple(places),
            owners=_owners(agent.row.uid),
            most=_most(agent),
            written=functools.partial(self._written, agent),
        )

    async def _written(self, agent: Agent) -> int:
        try:
            return await self.fleet.house.keeper(agent).written(container_name(agent.name))
        except FaultError:  # a hive without that backend any more
            return 0


def _owners(uid: int | None) -> range:
    """What the agent writes belongs to one of these; where all agents are the hive's own user nobody can tell."""
    if uid is None:
        return range(0)
    return range(uid - uid % UIDS, uid - uid % UIDS + UIDS) if uid >= FIRST_UID else range(uid, uid + 1)


def _most(agent: Agent) -> int | None:
    try:
        return Limits.from_settings(agent.settings.limits).disk_bytes
    except FaultError:  # an earlier version took it
        return None
