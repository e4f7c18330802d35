"""One running claude and the turn worker that speaks its protocol, as seen from the runner."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Final, TypeVar

from hyperhive.harness import wire
from hyperhive.harness.command import ClaudeCommand
from hyperhive.harness.init import Child, Children
from hyperhive.harness.wire import ChangeModel, Connect, Prompt, ToolOffer
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.rpc import Method, Nothing, Peer

P = TypeVar("P")
R = TypeVar("R")

CONNECT_S: Final = 90.0
ANSWER_S: Final = 30.0
CLOSE_S: Final = 4.0
STATUS_S: Final = 1.0
"""How long the exit status of a claude that said no more may take."""
FOLLOW_S: Final = 5.0
"""How long the worker may outlive claude."""


class ClaudeError(Exception):
    """Claude or its worker could not be started, or is gone."""


class GaveUpError(ClaudeError):
    """Claude itself ended with an error before it was ready."""


class Claude:
    """Both processes are started at once, so that claude comes up while the worker imports the SDK."""

    def __init__(self, children: Children, claude: Child, worker: Child, peer: Peer) -> None:
        self._children = children
        self._claude = claude
        self._worker = worker
        self._peer = peer
        self.ended = peer.closed
        """Done when everything that claude said has been heard and no more will come."""
        self.cost_usd = 0.0
        """The running total that claude last gave."""
        self.logged_in = True
        """Whether it had a login when it started."""
        claude.ended.add_done_callback(lambda _: asyncio.get_running_loop().call_later(FOLLOW_S, self._follow))

    @classmethod
    async def start(
        cls,
        children: Children,
        command: ClaudeCommand,
        *,
        system_prompt: str,
        tools: list[ToolOffer],
        serve: Callable[[Peer], None],
    ) -> "Claude":
        """Ready for prompts when this returns; raises ClaudeError, and then nothing is left running."""
        claude = await cls._launch(children, command, serve)
        try:
            connected = await claude._call(wire.CONNECT, Connect(system_prompt=system_prompt, tools=tools), CONNECT_S)
        except ClaudeError as error:
            gave_up = await claude._gave_up()
            await claude.kill()
            raise (GaveUpError(str(error)) if gave_up else error) from error
        except BaseException:
            await claude.kill()
            raise
        claude.logged_in = connected.logged_in
        return claude

    @classmethod
    async def _launch(cls, children: Children, command: ClaudeCommand, serve: Callable[[Peer], None]) -> "Claude":
        ours, workers = socket.socketpair()
        claudes, workers_claude = socket.socketpair()
        try:
            claude = children.start(command.argv, env=command.env, fds={0: claudes.fileno(), 1: claudes.fileno()})
            worker = children.start(
                [sys.executable, "-I", "-m", "hyperhive.harness.worker_start"],
                env={name: command.env[name] for name in ("HOME", "PATH", "LANG")},
                fds={wire.WORKER_SOCKET: workers.fileno(), wire.CLAUDE_SOCKET: workers_claude.fileno()},
            )
        except OSError as error:
            ours.close()
            await children.clear()
            raise ClaudeError(f"cannot start claude: {error.strerror}: {error.filename or command.argv[0]}") from error
        finally:
            for end in (workers, claudes, workers_claude):
                end.close()
        ours.setblocking(False)
        _, peer = await asyncio.get_running_loop().create_unix_connection(lambda: _peer(serve), sock=ours)
        return cls(children, claude, worker, peer)

    async def _gave_up(self) -> bool:
        """Whether it was claude that ended, by itself and with an error, rather than the worker or by a signal."""
        await asyncio.wait([self._claude.ended], timeout=STATUS_S)
        worker_lost = self._worker.ended.done() and self._worker.ended.result() < 0
        return self._claude.ended.done() and self._claude.ended.result() > 0 and not worker_lost

    async def prompt(self, uuid: str, text: str, *, is_command: bool = False) -> None:
        await self._call(wire.PROMPT, Prompt(uuid=uuid, text=text, is_command=is_command), ANSWER_S)

    async def interrupt(self) -> None:
        await self._call(wire.INTERRUPT, Nothing())

    async def change_model(self, model: str) -> None:
        await self._call(wire.CHANGE_MODEL, ChangeModel(model=model))

    async def stop(self) -> None:
        """End claude in good order, or kill it; whatever it left running ends, too. Bounded; harmless twice."""
        try:
            await self._call(wire.CLOSE, Nothing(), CLOSE_S)
            async with asyncio.timeout(CLOSE_S):
                await asyncio.wait([self._claude.ended, self._worker.ended])
        except (ClaudeError, TimeoutError):
            pass  # it is gone, or hangs: killing settles both
        await self.kill()

    async def kill(self) -> None:
        await self._children.clear()
        self._peer.close()

    async def _call(self, method: Method[P, R], params: P, answer_s: float = ANSWER_S) -> R:
        try:
            async with asyncio.timeout(answer_s):
                return await self._peer.call(method, params)
        except FaultError as fault:
            raise ClaudeError(fault.message) from fault
        except TimeoutError as error:
            raise ClaudeError(f"claude's worker gave no answer to {method.name} in {answer_s:.0f} s") from error

    def _follow(self) -> None:
        """Claude is gone: the worker should have noticed."""
        if not self._worker.ended.done():
            os.kill(self._worker.pid, signal.SIGKILL)


def _peer(serve: Callable[[Peer], None]) -> Peer:
    peer = Peer(max_line=wire.MAX_LINE)
    serve(peer)
    return peer
