"""Work that goes on when the one who asked for it has gone."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from hyperhive.protocol.faults import FaultError, FaultKind

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Background:
    """Owns tasks. `close` cancels and awaits those that still run."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    async def carry_out(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for the work, and let it end even when the one who waits goes away."""
        await asyncio.shield(self._keep(work))

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Do the work with nobody waiting: its failure is logged."""
        task = self._keep(work)
        task.add_done_callback(_log_failure)
        return task

    async def settled(self) -> None:
        """Until nothing is under way."""
        while self._tasks:
            await asyncio.wait([*self._tasks])

    async def close(self) -> None:
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        if self._closed:
            work.close()
            raise FaultError(FaultKind.UNAVAILABLE, "the hive is stopping; try again when it is up")
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _log_failure(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("work in the background failed", work=task.get_name(), error=str(error), exc_info=error)
