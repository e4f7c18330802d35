"""The agents' sockets: who a call comes from is the socket it arrived on."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from hyperhive.api.listener import bind, unbind
from hyperhive.config.paths import Paths
from hyperhive.hub.agents import Agent
from hyperhive.hub.asking import Asking
from hyperhive.hub.runners import Runners
from hyperhive.hub.steering import Steering
from hyperhive.protocol import agent as wire
from hyperhive.protocol.ids import AgentName
from hyperhive.protocol.rpc import Method, Peer

MAX_CONNECTIONS: Final = 16
"""Of one agent: its runner needs one; whatever else runs in the container may not take the hive's memory."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class AgentSide:
    """What the handlers ask."""

    runners: Runners
    asking: Asking
    steering: Steering


Use = Callable[[Any, Agent, Any], Any]
ENDPOINTS: Final[tuple[tuple[Method[Any, Any], str, Use], ...]] = (
    (wire.RECV, "runners", Runners.recv),
    (wire.READ, "runners", Runners.read),
    (wire.ACK, "runners", Runners.ack),
    (wire.RELEASE, "runners", Runners.release),
    (wire.HEARTBEAT, "runners", Runners.heartbeat),
    (wire.SEND, "runners", Runners.send),
    (wire.RECEIPT, "runners", Runners.receipt),
    (wire.SET_STATUS, "runners", Runners.set_status),
    (wire.LIST_AGENTS, "runners", Runners.list_agents),
    (wire.WHOAMI, "runners", Runners.whoami),
    (wire.REPORT, "runners", Runners.report),
    (wire.EVENTS, "runners", Runners.record),
    (wire.ASK, "asking", Asking.ask),
    (wire.ANSWER, "asking", Asking.answer),
    (wire.REMIND, "asking", Asking.remind),
    (wire.GET_LOOSE_ENDS, "asking", Asking.get_loose_ends),
    (wire.CANCEL_LOOSE_END, "asking", Asking.cancel_loose_end),
    # only for agents that have the tool group; Steering refuses the others
    (wire.KILL, "steering", Steering.kill),
    (wire.START, "steering", Steering.start),
    (wire.RESTART, "steering", Steering.restart),
    (wire.UPDATE, "steering", Steering.update),
    (wire.REQUEST_SPAWN, "steering", Steering.request_spawn),
    (wire.REQUEST_INIT_CONFIG, "steering", Steering.request_init_config),
    (wire.REQUEST_APPLY_COMMIT, "steering", Steering.request_apply_commit),
    (wire.GET_LOGS, "steering", Steering.get_logs),
    (wire.GET_APPROVALS, "steering", Steering.get_approvals),
)
"""All an agent can ask, and whom the hive asks for it; beside `hello`, which needs to know the connection."""


@dataclass
class _Door:
    server: asyncio.Server
    peers: set[Peer] = field(default_factory=set)


class AgentDoors:
    """One listening socket per agent. `close_all` ends them and every connection."""

    def __init__(self, paths: Paths, side: Callable[[], AgentSide]) -> None:
        self._paths = paths
        self._side = side
        self._doors: dict[AgentName, _Door] = {}
        self._busy = False

    async def open(self, agent: Agent) -> None:
        if agent.name in self._doors:
            return
        uid = agent.row.uid
        sock = await bind(self._paths.agent_socket(agent.name), mode=0o600 if uid is None else 0o660, gid=uid)
        peers: set[Peer] = set()
        server = await asyncio.get_running_loop().create_unix_server(
            functools.partial(self._accept, agent, peers), sock=sock
        )
        self._doors[agent.name] = _Door(server, peers)

    async def close(self, name: AgentName) -> None:
        door = self._doors.pop(name, None)
        if door is None:
            return
        door.server.close()
        for peer in list(door.peers):
            peer.close()
        await asyncio.to_thread(unbind, self._paths.agent_socket(name))

    def press(self, busy: bool) -> None:
        """While the database has more to write than it can, nothing more is read from any agent."""
        self._busy = busy
        for door in self._doors.values():
            for peer in door.peers:
                peer.hold(busy)

    async def close_all(self) -> None:
        for name in list(self._doors):
            await self.close(name)

    def _accept(self, agent: Agent, peers: set[Peer]) -> Peer:
        peer = Peer(on_connect=functools.partial(self._connected, agent, peers))
        side = self._side()

        async def hello(params: wire.Hello) -> wire.Welcome:
            return await side.runners.hello(agent, peer, params)

        peer.serve(wire.HELLO, hello)
        for method, part, use in ENDPOINTS:
            peer.serve(method, functools.partial(use, getattr(side, part), agent))
        return peer

    def _connected(self, agent: Agent, peers: set[Peer], peer: Peer) -> None:
        if len(peers) >= MAX_CONNECTIONS or not _may_enter(agent, peer):
            log.warning("refused a connection to an agent's socket", agent=agent.name, open=len(peers))
            peer.close()
            return
        peers.add(peer)
        peer.hold(self._busy)
        peer.closed.add_done_callback(lambda _: self._left(agent, peers, peer))

    def _left(self, agent: Agent, peers: set[Peer], peer: Peer) -> None:
        peers.discard(peer)
        self._side().runners.gone(agent, peer)


def _may_enter(agent: Agent, peer: Peer) -> bool:
    """Where every agent has a uid of its own, nobody else comes through its door."""
    uid = peer.peer_uid()
    return agent.row.uid is None or uid in (0, agent.row.uid)
