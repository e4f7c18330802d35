"""The dashboard under load: crowds, browsers that do not read, and what a daemon is like when they have gone."""

import asyncio
import contextlib
import gzip
import resource
import select
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, eventually, running_hive
from hyperhive.web.connection import MAX_CONNECTIONS
from hyperhive.web.serving import serving
from hyperhive.web.settings import WebSettings
from web_visitor import FORM, Visitor

pytestmark = pytest.mark.timeout(120)

CROWD = 1000


@pytest.fixture(scope="module", autouse=True)
def _room_for_a_crowd() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    with running_hive(dashboard=True) as (hive, _):
        yield hive


@pytest.fixture
def operator(hive: HiveProcess) -> Visitor:
    return Visitor.of(hive).log_in(hive)


def pid_of(hive: HiveProcess) -> int:
    assert hive.process is not None
    return hive.process.pid


def descriptors(hive: HiveProcess) -> int:
    return len(list(Path(f"/proc/{pid_of(hive)}/fd").iterdir()))


def resident_mb(hive: HiveProcess) -> float:
    pages = int(Path(f"/proc/{pid_of(hive)}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@contextlib.contextmanager
def crowd(connect: Callable[[], socket.socket], beginning: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, each of which has said no more than that."""
    with contextlib.ExitStack() as held:
        there = [held.enter_context(contextlib.closing(connect())) for _ in range(CROWD)]
        for connection in there:
            with contextlib.suppress(ConnectionError):
                connection.sendall(beginning)
        yield there


def ended_of(there: list[socket.socket]) -> int:
    """How many the other side has closed."""
    poll = select.poll()
    for connection in there:
        poll.register(connection, select.POLLIN)
    return len(poll.poll(0))


HEADER_BEGUN = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "
FORM_BEGUN = (
    f"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\nContent-Type: {FORM}\r\n"
    "Content-Length: 100\r\n\r\nlink="
).encode()


@pytest.mark.parametrize("beginning", [b"", HEADER_BEGUN, FORM_BEGUN], ids=["silent", "header", "form"])
def test_a_thousand_connections_keep_nobody_out(hive: HiveProcess, operator: Visitor, beginning: bytes) -> None:
    with stream_of(operator) as stream:
        before, held_before = descriptors(hive), resident_mb(hive)
        with crowd(operator.connect, beginning) as there:
            assert operator.get("/").status == 200
            assert hive.ask(host.List()).ok
            assert descriptors(hive) <= before + MAX_CONNECTIONS + 20
            assert resident_mb(hive) < held_before + 60
            assert ended_of(there) >= CROWD - MAX_CONNECTIONS
        eventually(lambda: descriptors(hive) <= before + 5)
        hive.send("operator", "is it still live?")
        until(stream, b"is it still live?")


def test_pages_are_packed_for_who_takes_it_and_streams_never_are(operator: Visitor) -> None:
    plain, packed = operator.get("/"), operator.get("/", Accept_Encoding="gzip")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert b"</html>" in gzip.decompress(packed.body)
    with operator.connect() as stream:
        lines = ["GET /live HTTP/1.1", f"Host: {operator.host}", f"Cookie: {operator.cookie}", "Accept-Encoding: gzip"]
        stream.sendall("\r\n".join([*lines, "", ""]).encode())
        until(stream, b"data: ")


# pages that do not read


@contextlib.contextmanager
def stream_of(operator: Visitor, buffer: int = 0) -> Iterator[socket.socket]:
    """A page's stream, begun."""
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.settimeout(60)
    connection.connect(operator.address)
    with contextlib.closing(connection):
        request = f"GET /live HTTP/1.1\r\nHost: {operator.host}\r\nCookie: {operator.cookie}\r\n\r\n"
        connection.sendall(request.encode())
        assert b" 200 OK" in connection.recv(300)
        yield connection


def until(stream: socket.socket, word: bytes) -> None:
    """Read until it has been said."""
    end = b""
    while word not in end:
        chunk = stream.recv(1 << 20)
        assert chunk, "the stream has ended"
        end = end[-1024:] + chunk


def test_a_page_that_never_reads_slows_no_other_and_holds_little(hive: HiveProcess, operator: Visitor) -> None:
    body = "x" * 2000
    with contextlib.ExitStack() as held:
        for _ in range(20):
            held.enter_context(stream_of(operator, buffer=4096))
        fast = held.enter_context(stream_of(operator))
        before = resident_mb(hive)
        for number in range(60):  # each makes the flow and the inbox be drawn and sent anew, some 100 kB of HTML
            hive.send("operator", f"{body} number-{number}.")
            until(fast, f"number-{number}.".encode())
        assert resident_mb(hive) < before + 60


def test_a_browser_that_takes_nothing_any_more_is_cut_off_by_the_kernel() -> None:
    """Here after a second, so that nobody waits for the twenty of the real one."""

    async def run() -> None:
        ended = asyncio.Event()

        async def flood(_request: Request) -> Response:
            async def chunks() -> AsyncIterator[bytes]:
                try:
                    while True:
                        yield b"x" * 65536
                        await asyncio.sleep(0)
                finally:
                    ended.set()

            return StreamingResponse(chunks())

        app = Starlette(routes=[Route("/", flood)])
        async with serving(app, WebSettings(port=0), user_timeout_ms=1000) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")  # and then no more: the reader's bound stops it
            await asyncio.wait_for(ended.wait(), 60)
            writer.transport.abort()

    asyncio.run(run())


def test_a_crowd_that_asks_and_takes_no_answer_keeps_nobody_out() -> None:
    """As many as there may be, and none of them is given up by the kernel meanwhile."""

    async def run() -> None:
        async def flood(_request: Request) -> Response:
            async def chunks() -> AsyncIterator[bytes]:
                while True:
                    yield b"x" * 16384
                    await asyncio.sleep(0)

            return StreamingResponse(chunks())

        async def ok(_request: Request) -> Response:
            return Response("ok")

        def asks_and_reads_nothing(port: int) -> socket.socket:
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", port))
            connection.sendall(b"GET /flood HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return connection

        async def answer(port: int) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                return await reader.read()

        app = Starlette(routes=[Route("/flood", flood), Route("/", ok)])
        with contextlib.ExitStack() as held:
            async with asyncio.timeout(60), serving(app, WebSettings(port=0), user_timeout_ms=600_000) as port:
                for _ in range(MAX_CONNECTIONS):
                    connection = await asyncio.to_thread(asks_and_reads_nothing, port)
                    held.enter_context(contextlib.closing(connection))
                got = b""
                while not got.endswith(b"ok"):  # until all of them stand still
                    with contextlib.suppress(ConnectionError):
                        got = await answer(port)
                held.close()

    asyncio.run(run())
