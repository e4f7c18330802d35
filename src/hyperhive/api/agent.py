"""The agents' sockets: who a call comes from is the socket it arrived on."""

import asyncio
import functools
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from hyperhive.api.listener import bind, unbind
from hyperhive.broker.bucket import Buckets
from hyperhive.config.paths import Paths
from hyperhive.hub.agents import Agent
from hyperhive.hub.asking import Asking
from hyperhive.hub.runners import Runners
from hyperhive.hub.steering import Steering
from hyperhive.protocol import agent as wire
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import AgentName
from hyperhive.protocol.rpc import Method, Peer
from hyperhive.protocol.settings import SYSTEMS

MAX_CONNECTIONS: Final = 16
"""Of one agent: its runner needs one; whatever else runs in the container may not take the hive's memory."""

IDS_OF_A_CONTAINER: Final = 65_536
PICKED_UIDS: Final = range(0x80000, 0x70000000)
"""From where systemd-nspawn picks the ids of a container."""
STEERING_PER_S: Final = 1.0
STEERING_BURST: Final = 60
"""How often one agent may act on others: each time leaves rows behind."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class AgentSide:
    """What the handlers ask."""

    runners: Runners
    asking: Asking
    steering: Steering


EVERY_AGENT: Final = ""
"""In the place of a tool group."""


@dataclass(frozen=True)
class Endpoint:
    """A method, the tool group that its caller must have, and who answers it."""

    method: Method[Any, Any]
    group: str
    answers: Callable[[AgentSide], Callable[[Agent, Any], Any]]


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(wire.RECV, EVERY_AGENT, lambda side: side.runners.recv),
    Endpoint(wire.READ, EVERY_AGENT, lambda side: side.runners.read),
    Endpoint(wire.ACK, EVERY_AGENT, lambda side: side.runners.ack),
    Endpoint(wire.RELEASE, EVERY_AGENT, lambda side: side.runners.release),
    Endpoint(wire.HEARTBEAT, EVERY_AGENT, lambda side: side.runners.heartbeat),
    Endpoint(wire.SEND, EVERY_AGENT, lambda side: side.runners.send),
    Endpoint(wire.RECEIPT, EVERY_AGENT, lambda side: side.runners.receipt),
    Endpoint(wire.SET_STATUS, EVERY_AGENT, lambda side: side.runners.set_status),
    Endpoint(wire.LIST_AGENTS, EVERY_AGENT, lambda side: side.runners.list_agents),
    Endpoint(wire.WHOAMI, EVERY_AGENT, lambda side: side.runners.whoami),
    Endpoint(wire.CREDENTIAL, EVERY_AGENT, lambda side: side.runners.credential),
    Endpoint(wire.REPORT, EVERY_AGENT, lambda side: side.runners.report),
    Endpoint(wire.EVENTS, EVERY_AGENT, lambda side: side.runners.record),
    Endpoint(wire.ASK, EVERY_AGENT, lambda side: side.asking.ask),
    Endpoint(wire.ANSWER, EVERY_AGENT, lambda side: side.asking.answer),
    Endpoint(wire.REMIND, EVERY_AGENT, lambda side: side.asking.remind),
    Endpoint(wire.GET_LOOSE_ENDS, EVERY_AGENT, lambda side: side.asking.get_loose_ends),
    Endpoint(wire.CANCEL_LOOSE_END, EVERY_AGENT, lambda side: side.asking.cancel_loose_end),
    Endpoint(wire.KILL, "lifecycle", lambda side: side.steering.kill),
    Endpoint(wire.START, "lifecycle", lambda side: side.steering.start),
    Endpoint(wire.RESTART, "lifecycle", lambda side: side.steering.restart),
    Endpoint(wire.UPDATE, "lifecycle", lambda side: side.steering.update),
    Endpoint(wire.REQUEST_SPAWN, "approvals", lambda side: side.steering.request_spawn),
    Endpoint(wire.REQUEST_INIT_CONFIG, "approvals", lambda side: side.steering.request_init_config),
    Endpoint(wire.REQUEST_APPLY_COMMIT, "approvals", lambda side: side.steering.request_apply_commit),
    Endpoint(wire.REQUEST_SCHEDULE, "approvals", lambda side: side.steering.request_schedule),
    Endpoint(wire.REQUEST_SCHEDULE_REMOVAL, "approvals", lambda side: side.steering.request_schedule_removal),
    Endpoint(wire.REQUEST_UPDATE_META_INPUTS, SYSTEMS, lambda side: side.steering.request_update_meta_inputs),
    Endpoint(wire.GET_LOGS, "diagnostics", lambda side: side.steering.get_logs),
    Endpoint(wire.GET_APPROVALS, "approvals", lambda side: side.steering.get_approvals),
)
"""All an agent can ask, beside `hello`, which needs to know the connection."""


@dataclass
class _Door:
    server: asyncio.Server
    peers: set[Peer] = field(default_factory=set)


class AgentDoors:
    """One listening socket per agent. `close_all` ends them and every connection."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._side: AgentSide  # by `answer_with`
        self._doors: dict[AgentName, _Door] = {}
        self._pace = Buckets(STEERING_PER_S, STEERING_BURST)
        self._busy = False

    def answer_with(self, side: AgentSide) -> None:
        """Who answers the agents; to be said before the first door is opened."""
        self._side = side

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
        side = self._side

        async def hello(params: wire.Hello) -> wire.Welcome:
            return await side.runners.hello(agent, peer, params)

        peer.serve(wire.HELLO, hello)
        for endpoint in ENDPOINTS:
            peer.serve(endpoint.method, functools.partial(self._answer, endpoint, endpoint.answers(side), agent))
        return peer

    def _answer(self, endpoint: Endpoint, answer: Callable[[Agent, Any], Any], agent: Agent, params: Any) -> Any:
        if endpoint.group:
            _check_group(endpoint, self._side.steering.fleet.house.tool_groups(agent))
            if wait := self._pace.take(agent.name, time.monotonic()):
                raise FaultError(
                    FaultKind.TOO_FAST, f"cannot {endpoint.method.name} so often; try again in {wait:.0f} s"
                )
        return answer(agent, params)

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
        self._side.runners.gone(agent, peer)


def _check_group(endpoint: Endpoint, groups: Collection[str]) -> None:
    if endpoint.group not in groups:
        raise FaultError(
            FaultKind.NOT_ALLOWED,
            f"cannot {endpoint.method.name}: this agent does not have the tool group {endpoint.group!r}; "
            "ask the manager to do it",
        )


def _may_enter(agent: Agent, peer: Peer) -> bool:
    """Where every agent has a uid of its own, nobody else comes through its door."""
    uid, own = peer.peer_uid(), agent.row.uid
    if own is None or uid in (0, own):
        return True
    # In a range that systemd-nspawn picked for a container the kernel sees the same number behind the range's own.
    picked = agent.row.backend is BackendKind.NIXOS and uid is not None and uid in PICKED_UIDS
    return picked and (uid or 0) % IDS_OF_A_CONTAINER == own
