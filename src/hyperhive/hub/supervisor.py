"""Keeps one agent's container as it is wanted: starts, stops, restarts after a death, gives up loudly."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from hyperhive.containers.keeper import Exit, Keeper, Life
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.restarts import next_delay
from hyperhive.protocol.agent import SHUTDOWN, Shutdown
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import container_name
from hyperhive.protocol.rpc import Nothing

STOP_GRACE_S: Final = 10.0
GRACEFUL_STOP_S: Final = 600.0
GREETING_S: Final = 60.0
"""How long a new container's harness may take until it says hello."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What the hub does around a container's life."""

    launch: Callable[[Agent], Awaitable[Life]]  #: raises FaultError, and then nothing runs
    changed: Callable[[Agent], None]
    died: Callable[[Agent, Exit], Awaitable[None]]  #: a death that nobody ordered
    gave_up: Callable[[Agent, str], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class _Death:
    """A death that nobody ordered. `order`: the last order before it; `delay`: None to give up."""

    exit: Exit
    order: int
    delay: float | None


class Supervisor:
    """The life of one agent's container. Orders are serial: the next waits until the one before is done.

    `run` must be running for deaths to be noticed; it ends when cancelled and leaves the container as it is. `keeper`
    tells who keeps it now.
    """

    def __init__(self, agent: Agent, keeper: Callable[[], Keeper], hooks: Hooks) -> None:
        self._agent = agent
        self._keeper = keeper
        self._hooks = hooks
        self._turnstile = asyncio.Lock()
        self._running: Life | None = None
        self._ending: Life | None = None  #: ordered to end; its death is no news
        self._attached = asyncio.Event()
        self._orders = 0
        self._retired = False
        self._deaths: list[float] = []

    async def run(self) -> None:
        """Wait for the container's death, over and over, and do what it calls for."""
        while True:
            running = await self._next()
            try:
                await self._follow(running)
            except Exception:  # the boundary of supervision: the watch over the next life goes on
                log.exception("a mistake in supervising an agent", agent=self._agent.name)
                if self._running is running:
                    self._forget()
                self._enter(Phase.FAILED, "the hive made a mistake while handling its death; the log has the reason")

    async def adopt(self, running: Life) -> None:
        """Take over a container that outlived an earlier daemon."""
        async with self._turnstile:
            self._agent.greeting.set()  # an earlier daemon's runner: it may be at work
            self._attach(running)

    async def start(self) -> None:
        """Up when it returns; nothing happens to one that is up. Raises FaultError and stays failed otherwise."""
        async with self._order():
            self._deaths.clear()
            await self._start()

    async def stop(self, hurried: asyncio.Event | None = None) -> None:
        """Down when it returns. With `hurried` the turn under way may end first, until that is set."""
        async with self._order():
            await self._stop(hurried)

    async def halt(self) -> None:
        """Down when it returns, without a moment for whoever is in it."""
        async with self._order():
            await self._stop(at_once=True)

    async def restart(self) -> None:
        async with self._order():
            self._deaths.clear()
            await self._stop()
            await self._start()

    async def replace(self, given_up: asyncio.Event) -> None:
        """Ended and made anew; the new one is up and its harness has said hello when it returns.

        Raises FaultError when it does not come so far, or when `given_up` is set meanwhile; then nothing runs.
        """
        async with self._order():
            self._deaths.clear()
            await self._stop()
            await self._start()
            await self._expect_greeting(given_up)

    async def align(self) -> None:
        """Up or down, as the roster says when its turn comes."""
        async with self._order():
            await (self._start() if self._agent.should_run else self._stop())

    async def retire(self) -> None:
        """Down for good: no start that still waits will happen."""
        async with self._order():
            self._retired = True
            await self._stop()

    # orders

    @contextlib.asynccontextmanager
    async def _order(self) -> AsyncIterator[None]:
        async with self._turnstile:
            self._orders += 1
            yield

    async def _start(self) -> None:
        if self._retired:
            raise FaultError(FaultKind.UNKNOWN_AGENT, f"cannot start {self._agent.name!r}: it was destroyed")
        if self._running is not None and not self._running.is_over:
            return
        self._enter(Phase.STARTING)
        try:
            self._attach(await self._hooks.launch(self._agent))
        except FaultError as fault:
            self._enter(Phase.FAILED, fault.message)
            raise
        except OSError as error:
            text = f"cannot start {self._agent.name!r}: {error.strerror} ({error.filename}); then start it again"
            self._enter(Phase.FAILED, text)
            raise FaultError(FaultKind.STORAGE, text) from error

    async def _stop(self, hurried: asyncio.Event | None = None, *, at_once: bool = False) -> None:
        running = self._running
        if running is not None:
            self._ending = running
            self._enter(Phase.STOPPING)
            if hurried is not None:
                await self._let_the_turn_end(running, hurried)
            await self._end(at_once=at_once)
            self._forget()
        self._enter(Phase.STOPPED)

    async def _expect_greeting(self, given_up: asyncio.Event) -> None:
        running = self._running
        assert running is not None
        waits = [asyncio.create_task(wait()) for wait in (self._agent.greeting.wait, running.wait, given_up.wait)]
        await _first_of(waits, GREETING_S)
        if self._agent.greeting.is_set():
            return
        why = "it was called off"
        if running.is_over:
            why = f"its container ended before its harness was up: {how_it_ended(await running.wait())}"
        elif not given_up.is_set():
            why = f"its harness did not come up within {GREETING_S:g} s"
        await self._stop()
        raise FaultError(FaultKind.BACKEND, f"{self._agent.name!r} did not come up: {why}")

    async def _end(self, *, at_once: bool) -> None:
        container = container_name(self._agent.name)
        if self._agent.greeting.is_set() and not at_once:
            await self._keeper().stop(container, grace_s=STOP_GRACE_S)
        else:  # it may have begun nothing, and a first process that is not up yet hears no TERM
            await self._keeper().kill(container)

    async def _let_the_turn_end(self, running: Life, hurried: asyncio.Event) -> None:
        if self._agent.peer is None:
            return
        self._agent.peer.call_soon(SHUTDOWN, Shutdown(grace_seconds=GRACEFUL_STOP_S)).add_done_callback(_ignore)
        waits = [asyncio.create_task(wait()) for wait in (running.wait, hurried.wait)]
        await _first_of(waits, GRACEFUL_STOP_S)

    # deaths

    async def _next(self) -> Life:
        while self._running is None:
            await self._attached.wait()
        return self._running

    async def _follow(self, running: Life) -> None:
        """One container to its end, and what comes after a death that nobody ordered."""
        exit_ = await running.wait()
        death = await self._note(running, exit_)
        if death is None:
            return
        await self._hooks.died(self._agent, exit_)
        if death.delay is None:
            await self._hooks.gave_up(self._agent, how_it_ended(exit_))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(death.delay):
                await self._attached.wait()  # an order may start it sooner
        await self._start_again(death)

    async def _note(self, running: Life, exit_: Exit) -> _Death | None:
        async with self._turnstile:
            if self._running is not running:
                return None  # the order that ended it has seen to everything
            self._forget()
            if running is self._ending:
                self._enter(Phase.STOPPED)
                return None
            self._deaths.append(time.monotonic())
            delay = next_delay(self._deaths, self._deaths[-1])
            if delay is None:
                count = len(self._deaths)
                self._enter(Phase.FAILED, f"died {count} times in a row, last: {how_it_ended(exit_)}")
            else:
                self._enter(Phase.BACKING_OFF, how_it_ended(exit_))
            return _Death(exit=exit_, order=self._orders, delay=delay)

    async def _start_again(self, death: _Death) -> None:
        async with self._turnstile:
            if self._orders != death.order:
                return  # stopped, started or destroyed meanwhile
            try:
                await self._start()
            except FaultError as fault:
                log.error("cannot start the agent again", agent=self._agent.name, error=fault.message)
                await self._hooks.gave_up(self._agent, fault.message)

    def _attach(self, running: Life) -> None:
        self._running = running
        self._attached.set()
        self._enter(Phase.RUNNING)

    def _forget(self) -> None:
        self._running = None
        self._attached.clear()
        self._agent.forget_container()

    def _enter(self, phase: Phase, failure: str = "") -> None:
        self._agent.phase = phase
        self._agent.failure = failure
        self._hooks.changed(self._agent)


async def _first_of(waits: Sequence["asyncio.Task[Any]"], timeout_s: float) -> None:
    """Until one of them is over, or for so long; none is left behind."""
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def how_it_ended(exit_: Exit) -> str:
    """In words, for people and for the manager."""
    if exit_.oom:
        return "killed for want of memory; limits.memory in agent.toml raises its limit"
    if exit_.signal is not None:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(exit_.signal).name}"
        return f"killed by signal {exit_.signal}"
    return "ended, nobody saw how" if exit_.status is None else f"exited with status {exit_.status}"


def cause_of(exit_: Exit) -> str:
    """In one word, for programs."""
    if exit_.oom:
        return "oom"
    if exit_.signal is not None:
        return "signal"
    return "unseen" if exit_.status is None else "exit"


def _ignore(answer: "asyncio.Future[Nothing]") -> None:
    if not answer.cancelled():
        answer.exception()  # the container's end says it all
