"""The agents as a list: who there is, how each is, who was."""

import os
from collections.abc import AsyncIterator

import hyperhive
from hyperhive.api.answers import DONE
from hyperhive.hub.agents import Agent
from hyperhive.hub.hive import Hive
from hyperhive.hub.status import status_row
from hyperhive.protocol import host
from hyperhive.protocol.host import Response
from hyperhive.protocol.ids import AgentName


async def list_agents(hive: Hive, _: host.List) -> Response:
    return Response(agents=[str(name) for name in hive.fleet.names()])


async def agent_status(hive: Hive, _: host.AgentStatus) -> Response:
    unread, reminders = await hive.mailbox.unread_counts(), await hive.asking.reminders.counts()
    spent = await hive.turns.spent_today()
    return Response(
        agent_statuses=[
            _row(hive, agent, unread.get(agent.name, 0), reminders.get(agent.name, 0), spent.get(agent.name, 0.0))
            for agent in hive.fleet.agents()
        ]
    )


async def subscribe_agent_status(hive: Hive, _: host.SubscribeAgentStatus) -> AsyncIterator[Response]:
    with hive.fleet.chronicle.changes.subscribe() as changes:
        yield DONE
        async for names in changes:
            reminders, spent = await hive.asking.reminders.counts(), await hive.turns.spent_today()
            for name in names:
                unread = await hive.mailbox.unread(name)
                if name in hive.fleet:
                    row = _row(
                        hive, hive.fleet.get(name), unread, reminders.get(AgentName(name), 0), spent.get(name, 0.0)
                    )
                    yield Response(agent_statuses=[row])


def _row(hive: Hive, agent: Agent, unread: int, reminders: int, spent_usd: float) -> host.AgentStatusRow:
    parent = agent.parent if agent.parent in hive.fleet else ""
    return status_row(
        agent, unread, reminders=reminders, needs_update=hive.fleet.house.needs_update(agent), parent=parent,
        cost_today_usd=spent_usd,
    )  # fmt: skip


async def hello(hive: Hive, _: host.Hello) -> Response:
    house = hive.fleet.house
    return Response(
        hive=host.HiveInfo(
            version=hyperhive.__version__,
            pid=os.getpid(),
            backend=house.keepers.usual,
            state_dir=str(house.paths.state_dir),
            runtime_dir=str(house.paths.runtime_dir),
            agents=len(hive.fleet.names()),
            rehearsal=house.rehearsal is not None,
        )
    )


async def urls(_hive: Hive, _: host.Urls) -> Response:
    return Response(urls=host.HiveUrls())


async def tombstones(hive: Hive, _: host.Tombstones) -> Response:
    return Response(tombstones=await hive.fleet.tombstones())
