"""The loopback ports that lead to the hive's sockets."""

import asyncio
import contextlib
import socket as sockets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from hyperhive.harness.relay import MAX_CONNECTIONS, relay

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Test = Callable[[int], Awaitable[None]]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


@contextlib.asynccontextmanager
async def hive(socket: Path, handler: Handler) -> AsyncIterator[None]:
    """A server on the socket whose connections are all over when the block is."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with contextlib.suppress(ConnectionError):
            try:
                await handler(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    async with await asyncio.start_unix_server(serve, str(socket)):
        yield
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def relayed(handler: Handler, test: Test) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as folder:
            socket = Path(folder) / "s"
            async with hive(socket, handler), relay(0, socket) as port:
                await test(port)

    asyncio.run(main())


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def test_bytes_pass_both_ways_up_to_the_half_close() -> None:
    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = bytes(range(256)) * 16384

        async def send() -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        _, received = await asyncio.gather(send(), reader.read(-1))
        assert received == sent
        await closed(writer)

    relayed(echo, test)


def test_an_end_that_reads_late_loses_nothing() -> None:
    read = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read.wait()
        writer.write(str(len(await reader.read(-1))).encode())

    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * (16 << 20))
        writer.write_eof()
        read.set()
        assert await reader.read(-1) == b"16777216"
        await closed(writer)

    relayed(late, test)


def test_a_lost_hive_ends_the_connection() -> None:
    async def leave(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        return

    async def test(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        await closed(writer)

    relayed(leave, test)


def test_there_is_a_bound_on_connections() -> None:
    async def test(port: int) -> None:
        writers = []
        for _ in range(MAX_CONNECTIONS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            writers.append(writer)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        for one in [*writers, writer]:
            await closed(one)

    relayed(echo, test)


def test_without_the_hives_socket_a_connection_is_refused_and_the_next_one_may_work() -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as folder:
            socket = Path(folder) / "s"
            async with relay(0, socket) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                await closed(writer)
                async with hive(socket, echo):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(b"x")
                    assert await reader.read(1) == b"x"
                    await closed(writer)

    asyncio.run(main())


class Hasty(asyncio.SelectorEventLoop):
    """Reads from a connection that was paused when it was made, as the loop of Python 3.11.2 does."""

    async def create_server(self, protocol_factory: Any, *args: Any, **kwargs: Any) -> asyncio.Server:
        return await super().create_server(lambda: Heedless(protocol_factory()), *args, **kwargs)


class Heedless(asyncio.Protocol):
    def __init__(self, inner: asyncio.Protocol) -> None:
        self.inner = inner
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]
        self.connection_lost = inner.connection_lost  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.inner.connection_made(transport)
        cast(asyncio.ReadTransport, transport).resume_reading()


def test_what_comes_before_the_hive_is_reached_is_not_lost() -> None:
    async def main() -> bytes:
        with tempfile.TemporaryDirectory(prefix="hh-") as folder:
            path = Path(folder) / "s"
            async with hive(path, echo), relay(0, path) as port:
                early = sockets.create_connection(("127.0.0.1", port))  # and written to, before the loop has seen it
                early.sendall(b"early")
                reader, writer = await asyncio.open_connection(sock=early)
                async with asyncio.timeout(20):
                    said = await reader.readexactly(5)
                await closed(writer)
                return said

    with asyncio.Runner(loop_factory=Hasty) as runner:
        assert runner.run(main()) == b"early"
