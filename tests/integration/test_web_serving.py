"""The dashboard's port: taken, freed, behind TLS, and ended."""

import asyncio
import contextlib
import http.client
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import needs
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.web.serving import USER_TIMEOUT_MS, serving
from hyperhive.web.settings import WebSettings


async def hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


async def forever(_request: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"begin\n"
        await asyncio.Event().wait()

    return StreamingResponse(chunks())


def app() -> Starlette:
    return Starlette(routes=[Route("/", hello), Route("/forever", forever)])


def fetch(port: int, context: ssl.SSLContext | None = None) -> bytes:
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    else:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().read()


def test_a_free_port_is_found_and_given_back() -> None:
    async def run() -> None:
        told: list[int] = []
        async with serving(app(), WebSettings(port=0), told.append) as port:
            assert await asyncio.to_thread(fetch, port) == b"hello"
        assert told[:1] == [port]
        assert told[-1] == 0
        with socket.create_server(("127.0.0.1", port)):
            pass

    asyncio.run(run())


def test_a_port_that_is_taken_is_served_once_it_is_free() -> None:
    async def run() -> None:
        opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def tell(port: int) -> None:
            if port and not opened.done():
                opened.set_result(port)

        with socket.create_server(("127.0.0.1", 0)) as holder:
            taken = holder.getsockname()[1]
            async with serving(app(), WebSettings(port=taken), tell) as port:
                assert port == taken
                assert not opened.done()
                holder.close()
                assert await asyncio.wait_for(opened, 30) == taken
                assert await asyncio.to_thread(fetch, taken) == b"hello"

    asyncio.run(run())


def test_a_port_that_stays_taken_is_given_up_when_the_daemon_stops() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            async with serving(app(), WebSettings(port=holder.getsockname()[1])):
                pass

    asyncio.run(run())


def test_an_address_of_another_machine_is_refused_in_words() -> None:
    async def run() -> None:
        settings = WebSettings(host="192.0.2.1", tls_cert=Path("x"), tls_key=Path("x"), public_url="https://a")
        object.__setattr__(settings, "tls_cert", None)
        object.__setattr__(settings, "tls_key", None)
        async with serving(app(), settings):
            raise AssertionError("it listens")

    with pytest.raises(FaultError, match=r"192\.0\.2\.1") as fault:
        asyncio.run(run())
    assert fault.value.kind is FaultKind.BAD_CONFIG


def test_a_stream_that_never_ends_does_not_keep_the_daemon_from_stopping() -> None:
    async def run() -> None:
        async with serving(app(), WebSettings(port=0)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /forever HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await reader.readuntil(b"begin\n")
        assert b"HTTP" not in await reader.read()
        writer.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_the_kernel_cuts_off_a_browser_that_acknowledges_nothing() -> None:
    """Accepted connections take the option from the listening socket, which is looked for among this process's own."""

    async def run() -> None:
        async with serving(app(), WebSettings(port=0)) as port:
            with _listening_at(port) as listener:
                assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT_MS

    asyncio.run(run())


def _listening_at(port: int) -> socket.socket:
    """A copy of the socket."""
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with contextlib.suppress(OSError), contextlib.ExitStack() as failed:
            copy = failed.enter_context(socket.socket(fileno=os.dup(number)))
            if copy.family == socket.AF_INET and copy.getsockname()[1] == port:
                failed.pop_all()
                return copy
    raise AssertionError("nobody listens")


def certificate(folder: Path) -> tuple[Path, Path]:
    needs.program("openssl", "apt-get install openssl")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return cert, key


def test_with_a_certificate_it_speaks_tls_and_nothing_else(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)

    async def run() -> None:
        context = await asyncio.to_thread(ssl.create_default_context, cafile=str(cert))
        async with serving(app(), WebSettings(port=0, tls_cert=cert, tls_key=key)) as port:
            assert await asyncio.to_thread(fetch, port, context) == b"hello"
            with pytest.raises((http.client.HTTPException, OSError)):
                await asyncio.to_thread(fetch, port)

    asyncio.run(run())


def test_a_certificate_that_cannot_be_used_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("nothing")
    cert, key = certificate(tmp_path)
    lock = [
        "openssl",
        "rsa",
        "-aes128",
        "-passout",
        "pass:secret",
        "-in",
        str(key),
        "-out",
        str(tmp_path / "locked.pem"),
    ]
    subprocess.run(lock, check=True, capture_output=True, timeout=60)
    with (tmp_path / "locked.pem").open("a") as file:
        file.write(cert.read_text())

    async def run(cert: Path) -> None:
        async with serving(app(), WebSettings(port=0, tls_cert=cert, tls_key=cert)):
            raise AssertionError("it listens")

    for name in ("bad.pem", "missing.pem", "locked.pem"):
        with pytest.raises(FaultError, match=name) as fault:
            asyncio.run(run(tmp_path / name))
        assert fault.value.kind is FaultKind.BAD_CONFIG
