"""A browser's connection: how many there may be, and how long one may take to ask for something."""

import asyncio
from typing import Any, ClassVar, Final

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS: Final = 200
HEADERS_S: Final = 10.0
"""From when a connection begins, or begins to ask again, until the request's headers are all there."""
MAX_HEADERS: Final = 32 << 10
COMPLAINT_S: Final = 60.0
"""How often the log says that there are too many."""

log = structlog.get_logger(__name__)


class Connection(H11Protocol):
    """One that does not ask in time is closed. When there are too many, the one that has been about to ask for longest
    makes room, then the one that has not taken its answer for longest, so that neither who says nothing nor who reads
    nothing keeps anybody out; when all are being answered, the newest is closed at once.
    """

    _complained_at: ClassVar = -COMPLAINT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._asking_since = self._stuck_since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS and self._make_room() is self:
            return
        self._expect_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering():
            self._forget()
        elif self._deadline is None:
            self._expect_request()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck_since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _make_room(self) -> "Connection":
        """Closes one, this one if need be."""
        others = [one for one in self.connections if isinstance(one, Connection) and one is not self]
        asking = [one for one in others if one.is_asking]
        stuck = [one for one in others if one.flow.write_paused]
        goes = min(
            asking,
            key=lambda one: one._asking_since,
            default=min(stuck, key=lambda one: one._stuck_since, default=self),
        )
        self._complain()
        self.connections.discard(goes)
        goes.transport.abort()
        return goes

    def _complain(self) -> None:
        """A crowd does not fill the log, too."""
        if self.loop.time() - Connection._complained_at > COMPLAINT_S:
            Connection._complained_at = self.loop.time()
            log.warning("there are too many browsers' connections: some are closed", connected=MAX_CONNECTIONS)

    @property
    def is_asking(self) -> bool:
        """Whether we wait for it: for its request, the rest of it, or the next one."""
        return not self._is_answering() or self.conn.their_state is h11.SEND_BODY

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_request(self) -> None:
        self._asking_since = self.loop.time()
        self._deadline = self.loop.call_later(HEADERS_S, self._too_late)

    def _too_late(self) -> None:
        if not self._is_answering():
            self.transport.abort()

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
