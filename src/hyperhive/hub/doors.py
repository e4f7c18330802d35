"""The dashboard's door: where it stands, who is let in, and who is inside."""

import asyncio
import contextlib
from typing import Final

from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.web_sessions import SessionRow, WebSessions
from hyperhive.hub.presence import Presence
from hyperhive.protocol.faults import FaultError, FaultKind

_SEEN_AGAIN_S: Final = 60
"""How exact `seen_at` of a session is."""


class Doors:
    """Made closed; the dashboard's server opens it at an address while it listens, and closes it afterwards."""

    def __init__(self, sessions: WebSessions, clock: Clock | None = None) -> None:
        self._sessions = sessions
        self._clock = clock or SystemClock()
        self._url = ""
        self._why_closed = "it is off: the daemon was started with --no-dashboard"
        self._presence = Presence()

    def open_at(self, url: str) -> None:
        """The dashboard answers there; the URL has no slash at its end."""
        self._url = url

    def close(self, why: str) -> None:
        """Whatever is open for a session ends; the sessions are good when it opens again."""
        self._url = ""
        self._why_closed = why
        self._presence.close()

    @property
    def url(self) -> str:
        """Where the dashboard is; empty while it is closed."""
        return self._url

    async def invite(self) -> str:
        """A link that lets one browser in, once, within a minute. Raises FaultError (`unavailable`) while closed.

        The token is in the link's fragment, which browsers do not send: it gets into nobody's log.
        """
        if not self._url:
            raise FaultError(FaultKind.UNAVAILABLE, f"cannot open the dashboard: {self._why_closed}")
        url = self._url
        return f"{url}/login#{await self._sessions.invite()}"

    async def expects(self, link: str) -> bool:
        """Whether it would let somebody in now."""
        return await self._sessions.expects(link)

    async def enter(self, link: str, *, address: str, browser: str) -> str:
        """The token of a new session, for the token of a link. Raises FaultError (`not_allowed`)."""
        token, _ = await self._sessions.begin(link, address=address, browser=browser)
        return token

    async def who(self, token: str) -> SessionRow | None:
        """The living session of the token, which counts as used now."""
        session = await self._sessions.of(token)
        if session is not None and self._clock.now() - session.seen_at > _SEEN_AGAIN_S:
            with contextlib.suppress(FaultError):  # a disk that is full keeps nobody out who comes to see why
                await self._sessions.seen(session.id)
        return session

    async def sessions(self) -> list[SessionRow]:
        """Newest first."""
        return await self._sessions.alive()

    async def end(self, id: int) -> None:
        """Its browser is outside at once, with all that it has open. Raises FaultError (`unknown_session`)."""
        if not await self._sessions.end(id):
            raise FaultError(
                FaultKind.UNKNOWN_SESSION, f"cannot end session {id}: there is none; `hive sessions` shows them"
            )
        self._presence.end(id)

    async def end_all(self) -> int:
        """How many there were."""
        ended = await self._sessions.end_all()
        for session in ended:
            self._presence.end(session.id)
        return len(ended)

    @property
    def streams(self) -> int:
        """How many are open, of all sessions."""
        return len(self._presence)

    def inside(self, id: int) -> "contextlib.AbstractContextManager[asyncio.Future[None]]":
        """While something is open for the session: a future that is done when the session was ended."""
        return self._presence.inside(id)
