"""Keeps one agent's container as it is wanted: starts, stops, restarts after a death, gives up loudly."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from hyperhive.containers.runtime import Exit, Running, Runtime
from hyperhive.containers.spec import ContainerSpec
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.restarts import next_delay
from hyperhive.protocol.agent import SHUTDOWN, Shutdown
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import container_name
from hyperhive.protocol.rpc import Nothing

STOP_GRACE_S: Final = 10.0
GRACEFUL_STOP_S: Final = 600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the hub does around a container's life. None of these may raise."""

    prepare: Callable[[Agent], Awaitable[ContainerSpec]]  #: may raise FaultError: then nothing is started
    changed: Callable[[Agent], None]
    died: Callable[[Agent, Exit], Awaitable[None]]  #: a death that nobody ordered
    gave_up: Callable[[Agent, str], Awaitable[None]]


class Supervisor:
    """The life of one agent's container. Its methods are serial: the next waits until the one before is done.

    `run` must be running for deaths to be noticed; it ends when cancelled and leaves the container as it is.
    """

    def __init__(self, agent: Agent, runtime: Runtime, hooks: Hooks) -> None:
        self._agent = agent
        self._runtime = runtime
        self._hooks = hooks
        self._turnstile = asyncio.Lock()
        self._running: Running | None = None
        self._started = asyncio.Event()
        self._deaths: list[float] = []

    async def run(self) -> None:
        """Wait for the container's death, over and over, and do what it calls for."""
        while True:
            await self._started.wait()
            running = self._running
            if running is None:
                self._started.clear()
                continue
            exit_ = await running.wait()
            async with self._turnstile:
                unexpected = self._running is running
                if unexpected:
                    self._forget()
            if unexpected:
                await self._recover(exit_)

    async def adopt(self, running: Running) -> None:
        """Take over a container that outlived an earlier daemon."""
        async with self._turnstile:
            self._agent.greeted = True  # an earlier daemon's
            self._attach(running)

    async def start(self) -> None:
        """Up when it returns; nothing happens to one that is up. Raises FaultError and stays failed otherwise."""
        async with self._turnstile:
            self._deaths.clear()
            await self._start()

    async def stop(self, *, graceful: bool = False) -> None:
        """Down when it returns. Graceful lets the turn under way end first."""
        async with self._turnstile:
            await self._stop(graceful=graceful)
            self._enter(Phase.STOPPED)

    async def restart(self) -> None:
        async with self._turnstile:
            self._deaths.clear()
            await self._stop(graceful=False)
            await self._start()

    async def _start(self) -> None:
        if self._running is not None:
            return
        self._enter(Phase.STARTING)
        try:
            spec = await self._hooks.prepare(self._agent)
            self._attach(await self._runtime.start(spec))
        except FaultError as fault:
            self._enter(Phase.FAILED, fault.message)
            raise

    async def _stop(self, *, graceful: bool) -> None:
        running = self._running
        if running is None:
            return
        self._enter(Phase.STOPPING)
        if graceful:
            await self._let_the_turn_end(running)
        if self._agent.greeted:
            await self._runtime.stop(container_name(self._agent.name), grace_s=STOP_GRACE_S)
        else:  # it has begun nothing, and a first process that is not up yet hears no TERM
            await self._runtime.kill(container_name(self._agent.name))
        self._forget()

    async def _let_the_turn_end(self, running: Running) -> None:
        if self._agent.peer is None:
            return
        self._agent.peer.call_soon(SHUTDOWN, Shutdown(grace_seconds=GRACEFUL_STOP_S)).add_done_callback(_ignore)
        try:
            async with asyncio.timeout(GRACEFUL_STOP_S):
                await running.wait()
        except TimeoutError:
            log.warning("the turn did not end in time", agent=self._agent.name, seconds=GRACEFUL_STOP_S)

    async def _recover(self, exit_: Exit) -> None:
        """Tell the hub, wait, start again; or give up."""
        self._deaths.append(time.monotonic())
        await self._hooks.died(self._agent, exit_)
        delay = next_delay(self._deaths, self._deaths[-1])
        if delay is None:
            self._enter(Phase.FAILED, f"died {len(self._deaths)} times in a row, last: {how_it_ended(exit_)}")
            await self._hooks.gave_up(self._agent, how_it_ended(exit_))
            return
        self._enter(Phase.BACKING_OFF, how_it_ended(exit_))
        await asyncio.sleep(delay)
        async with self._turnstile:
            if self._agent.phase is not Phase.BACKING_OFF:
                return  # stopped, started or destroyed meanwhile
            try:
                await self._start()
            except FaultError as fault:
                log.error("cannot start the agent again", agent=self._agent.name, error=fault.message)
                await self._hooks.gave_up(self._agent, fault.message)

    def _attach(self, running: Running) -> None:
        self._running = running
        self._started.set()
        self._enter(Phase.RUNNING)

    def _forget(self) -> None:
        self._running = None
        self._started.clear()
        self._agent.forget_container()

    def _enter(self, phase: Phase, failure: str = "") -> None:
        self._agent.phase = phase
        self._agent.failure = failure
        self._hooks.changed(self._agent)


def how_it_ended(exit_: Exit) -> str:
    """In words, for people and for the manager."""
    if exit_.oom:
        return "killed for want of memory; limits.memory in agent.toml raises its limit"
    if exit_.signal is not None:
        return f"killed by {signal.Signals(exit_.signal).name}"
    return "ended, nobody saw how" if exit_.status is None else f"exited with status {exit_.status}"


def _ignore(answer: "asyncio.Future[Nothing]") -> None:
    if not answer.cancelled():
        answer.exception()  # the container's end says it all
