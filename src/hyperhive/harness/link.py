"""The runner's connection to the hive: made again whenever it is lost, so that a call only ends with an answer."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from hyperhive.harness.log import say
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Hello, Welcome
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.rpc import Method, Peer

P = TypeVar("P")
R = TypeVar("R")

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
ANSWER_S: Final = 60.0
"""How long the hive may take for an answer before the connection is taken for dead."""


OUR_MISTAKES: Final = frozenset({FaultKind.INVALID_PARAMS, FaultKind.MALFORMED, FaultKind.LINE_TOO_LONG})
"""Refusals that the same call will always get."""


class SupersededError(Exception):
    """A newer harness of this agent has taken over."""


class Link:
    def __init__(self, socket: Path, hello: Hello) -> None:
        self._socket = socket
        self._hello = hello
        self._methods: list[tuple[Method[Any, Any], Callable[[Any], Any]]] = []
        self._peer: Peer | None = None
        self._up = asyncio.Event()
        self._superseded = asyncio.Event()
        self.epoch = 0
        self.on_welcome: list[Callable[[Welcome], None]] = []
        """Called at each connection, before any call goes out over it."""

    def serve(self, method: Method[P, R], handler: Callable[[P], R | Awaitable[R]]) -> None:
        """Answer the hive's calls, on this connection and all later ones. To be called before `run`."""
        self._methods.append((method, handler))

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def run(self) -> None:
        """Keep the connection until cancelled; raises SupersededError."""
        async with asyncio.TaskGroup() as group:
            connecting = group.create_task(self._keep())
            await self._superseded.wait()
            connecting.cancel()
        raise SupersededError

    async def call(self, method: Method[P, R], params: Callable[[int], P], *, answer_s: float = ANSWER_S) -> R:
        """Call the hive with parameters made for the current epoch, again after each lost connection.

        Returns the answer or raises the hive's FaultError, never `unavailable`, or SupersededError. Waits as long as
        the hive is away.
        """
        while True:
            await self._up.wait()
            peer = self._peer
            assert peer is not None
            try:
                async with asyncio.timeout(answer_s):
                    return await peer.call(method, params(self.epoch))
            except TimeoutError:
                peer.close()
            except FaultError as fault:
                if fault.kind is FaultKind.STALE_EPOCH:
                    self._superseded.set()
                    raise SupersededError from fault
                if fault.kind is not FaultKind.UNAVAILABLE:
                    raise
            await asyncio.sleep(FIRST_PAUSE_S)

    async def insist(self, method: Method[P, R], params: Callable[[int], P], *, answer_s: float = ANSWER_S) -> R:
        """`call`, again after a refusal that may pass: for what has to happen sooner or later."""
        while True:
            try:
                return await self.call(method, params, answer_s=answer_s)
            except FaultError as fault:
                if fault.kind in OUR_MISTAKES:
                    raise
                say(f"{method.name}: {fault.message}; trying again")
                await asyncio.sleep(LONGEST_PAUSE_S)

    async def _keep(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            if await self._connection():
                pause = FIRST_PAUSE_S
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _connection(self) -> bool:
        """One connection, from hello to its end; false when it never came to a welcome."""
        try:
            _, peer = await asyncio.get_running_loop().create_unix_connection(self._new_peer, str(self._socket))
        except OSError:
            return False
        try:
            async with asyncio.timeout(ANSWER_S):
                welcome = await peer.call(agent.HELLO, self._hello)
            self._take(peer, welcome)
            await self._beat(peer)
        except (FaultError, TimeoutError) as error:
            if isinstance(error, FaultError) and error.kind is FaultKind.STALE_EPOCH:
                self._superseded.set()
            return self.is_up
        finally:
            self._up.clear()
            peer.close()
        return True

    def _new_peer(self) -> Peer:
        peer = Peer(max_line=agent.MAX_ANSWER)
        for method, handler in self._methods:
            peer.serve(method, handler)
        return peer

    def _take(self, peer: Peer, welcome: Welcome) -> None:
        self._peer, self.epoch = peer, welcome.epoch
        for take in self.on_welcome:
            take(welcome)
        self._up.set()

    async def _beat(self, peer: Peer) -> None:
        while not peer.closed.done():
            await asyncio.wait([peer.closed], timeout=agent.HEARTBEAT_S)
            if not peer.closed.done():
                async with asyncio.timeout(ANSWER_S):
                    await peer.call(agent.HEARTBEAT, agent.Heartbeat(epoch=self.epoch))
