"""The dashboard's port: bound as it should be, served, and waited for while somebody else has it."""

import asyncio
import contextlib
import errno
import functools
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import structlog
import uvicorn
from starlette.applications import Starlette

from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.web.connection import MAX_HEADERS, Connection
from hyperhive.web.settings import WebSettings

USER_TIMEOUT_MS: Final = 20_000
"""A browser that acknowledges nothing for so long is cut off by the kernel; nothing else ends a write to it."""
BACKLOG: Final = 128
DRAIN_S: Final = 2
"""How long answers under way may take when the daemon stops."""
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def serving(
    app: Starlette,
    settings: WebSettings,
    on_port: Callable[[int], None] = lambda _port: None,
    *,
    user_timeout_ms: int = USER_TIMEOUT_MS,
) -> AsyncIterator[int]:
    """Serve until left; the port. `on_port` is told it whenever the dashboard begins to listen, and 0 when it ends.

    A port that is taken is waited for meanwhile, and is the log's business. Raises FaultError (`bad_config`) for a
    certificate or key that cannot be used, or an address that is not this machine's.
    """
    config = await asyncio.to_thread(_config, app, settings)
    async with app.router.lifespan_context(app):
        listen = functools.partial(_listen, settings, user_timeout_ms)
        listener = listen()
        task = asyncio.create_task(_serve(config, settings, listen, listener, on_port), name="dashboard")
        try:
            yield _port(listener) if listener else settings.port
        finally:
            on_port(0)  # first: it ends the streams, for which the server would wait
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if listener is not None:
                listener.close()  # of a task that did not come to begin


async def _serve(
    config: uvicorn.Config,
    settings: WebSettings,
    listen: Callable[[], socket.socket | None],
    listener: socket.socket | None,
    on_port: Callable[[int], None],
) -> None:
    wait_s = FIRST_WAIT_S
    while listener is None:
        log.warning("the dashboard's port is taken; trying again", port=settings.port, in_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        listener = listen()
    on_port(_port(listener))
    try:
        await _until_cancelled(_Server(config), listener)
    except Exception:  # the boundary of a task that nobody waits for: the hive works without its pages
        log.exception("the dashboard has ended")
        on_port(0)
    finally:
        listener.close()


async def _until_cancelled(server: "_Server", listener: socket.socket) -> None:
    """uvicorn is told to stop instead of being cancelled: it closes what it opened."""
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Without a hand on the process's signals: they are the daemon's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: Starlette, settings: WebSettings) -> uvicorn.Config:
    """Reads the certificate."""
    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", log_config=None, log_level="critical", access_log=False,
        server_header=False, proxy_headers=False, backlog=BACKLOG, timeout_graceful_shutdown=DRAIN_S,
        h11_max_incomplete_event_size=MAX_HEADERS, ssl_certfile=settings.tls_cert, ssl_keyfile=settings.tls_key,
        ssl_keyfile_password="",
    )  # fmt: skip
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise FaultError(
            FaultKind.BAD_CONFIG,
            f"cannot open the dashboard with the certificate {settings.tls_cert} and the key {settings.tls_key}: "
            f"{error}; both are PEM files that the daemon's user may read, the key without a password",
        ) from error
    return config


def _listen(settings: WebSettings, user_timeout_ms: int) -> socket.socket | None:
    """A listening socket, or None while the port is somebody else's."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return None
        raise FaultError(
            FaultKind.BAD_CONFIG,
            f"cannot open the dashboard at {settings.host}:{settings.port}: {error.strerror}; "
            "give --dashboard an address of this machine",
        ) from error
    return listener


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port
