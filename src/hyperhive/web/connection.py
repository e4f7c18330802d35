"""A browser's connection: how many there may be, and how long one may take to ask for something."""

import asyncio
from typing import Any, Final

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS: Final = 200
HEADERS_S: Final = 10.0
"""From when a connection begins, or begins to ask again, until the request's headers are all there."""
MAX_HEADERS: Final = 32 << 10

log = structlog.get_logger(__name__)


class Connection(H11Protocol):
    """One too many is closed at once; so is one that does not ask in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            log.warning("refused a browser: too many connections", connected=MAX_CONNECTIONS)
            transport.abort()
            return
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering():
            self._forget()
        elif self._deadline is None:
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_request(self) -> None:
        self._deadline = self.loop.call_later(HEADERS_S, self._too_late)

    def _too_late(self) -> None:
        if not self._is_answering():
            self.transport.abort()

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
