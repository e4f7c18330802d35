"""The egress proxy and its process, over real sockets."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import needs
from hyperhive.containers.egress import Egress, EgressRule, Refusal
from hyperhive.containers.egress_proxy import Bounds, Proxy
from hyperhive.containers.egress_rules import Allowed
from hyperhive.protocol.faults import FaultError


@contextlib.asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Answers, once its peer has ended, with what it has heard."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"heard " + await reader.read())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def proxy(
    path: Path, port: int, *, public: bool = True, bounds: Bounds | None = None
) -> AsyncIterator[list[str]]:
    """A proxy that takes "up.example" for our own loopback, and loopback for public if told so."""
    refused: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    made = Proxy(
        path / "proxy.sock",
        (Allowed(host="up.example", port=port),),
        lambda host, port, why: refused.append(f"{host}:{port} {why}"),
        resolve=resolve,
        is_outside=lambda address: public,
        bounds=bounds,
    )
    await made.open()
    try:
        yield refused
    finally:
        await made.close()


async def ask(path: Path, request: bytes, *, end: bool = True) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path / "proxy.sock"))
    writer.write(request)
    if end:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


HOST_WITH_A_PUBLIC_ADDRESS = """
import fcntl, socket, struct
from hyperhive.containers.egress_proxy import is_outside
from hyperhive.containers.egress_rules import is_public

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    address = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton("9.9.9.9"))
    fcntl.ioctl(control, 0x8916, b"lo".ljust(16, b"\\0") + address)  # SIOCSIFADDR
    fcntl.ioctl(control, 0x8914, b"lo".ljust(16, b"\\0") + struct.pack("=H14x", 1))  # SIOCSIFFLAGS: up
print(is_public("9.9.9.9"), is_outside("9.9.9.9"), is_outside("9.9.9.10"))
"""


def connect(host: str, port: int) -> bytes:
    return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def test_what_is_on_the_list_is_relayed_both_ways_even_after_one_side_has_ended(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with echo_server() as port, proxy(tmp_path, port):
            return await ask(tmp_path, connect("up.example", port) + b"hello")

    assert asyncio.run(main()) == b"HTTP/1.1 200 Connection established\r\n\r\nheard hello"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (connect("other.example", 443), b"403"),
        (connect("127.0.0.1", 443), b"403"),
        (connect("[::1]", 443), b"403"),
        (b"GET http://up.example/ HTTP/1.1\r\n\r\n", b"405"),
        (b"CONNECT nonsense HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT up.exa", b"400"),
        (b"CONNECT up.example:443 HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n", b"431"),
        (bytes(range(256)) + b"\r\n\r\n", b"405"),
    ],
)
def test_everything_else_is_refused_with_a_status(tmp_path: Path, request_bytes: bytes, status: bytes) -> None:
    async def main() -> bytes:
        async with proxy(tmp_path, 1):
            return await ask(tmp_path, request_bytes)

    assert asyncio.run(main()).split(b" ")[1] == status


def test_a_name_that_resolves_to_a_private_address_is_refused_and_told(tmp_path: Path) -> None:
    async def main() -> tuple[bytes, list[str]]:
        async with echo_server() as port, proxy(tmp_path, port, public=False) as refused:
            return await ask(tmp_path, connect("up.example", port)), refused

    answer, refused = asyncio.run(main())
    assert answer.startswith(b"HTTP/1.1 403")
    assert "private" in refused[0]


def test_a_public_address_that_is_the_hosts_own_is_its_own() -> None:
    needs.bwrap()  # for its user namespaces
    found = subprocess.run(
        ["unshare", "--map-root-user", "--net", sys.executable, "-c", HOST_WITH_A_PUBLIC_ADDRESS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "True False True\n", found.stderr


@pytest.mark.parametrize("host", ["a..x", f"{'a' * 64}.example", ".example", "up.example..", "\u00fc.example"])
def test_a_name_that_no_resolver_takes_is_refused_without_asking_one(tmp_path: Path, host: str) -> None:
    async def main() -> bytes:
        path = tmp_path / "proxy.sock"
        allowed = (Allowed(host="*.example", port=443), Allowed(host=host, port=443))
        made = Proxy(path, allowed, lambda host, port, why: None)
        await made.open()
        try:
            return await ask(tmp_path, f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode("latin-1"))
        finally:
            await made.close()

    assert asyncio.run(main()).startswith(b"HTTP/1.1 400")


def test_a_peer_that_sends_its_head_too_slowly_is_cut(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with proxy(tmp_path, 1, bounds=Bounds(head_timeout_s=0.05)):
            return await ask(tmp_path, b"CONNECT up", end=False)

    assert asyncio.run(main()) == b""


def test_a_connection_on_which_nothing_moves_is_cut(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with echo_server() as port, proxy(tmp_path, port, bounds=Bounds(idle_timeout_s=0.05)):
            return await ask(tmp_path, connect("up.example", port), end=False)

    assert asyncio.run(main()).endswith(b"established\r\n\r\n")


def test_connections_over_the_bound_are_told_to_wait(tmp_path: Path) -> None:
    async def main() -> bytes:
        async with proxy(tmp_path, 1, bounds=Bounds(connections=1)):
            _, first = await asyncio.open_unix_connection(str(tmp_path / "proxy.sock"))
            answer = await ask(tmp_path, connect("up.example", 1))
            first.close()
            return answer

    assert asyncio.run(main()).startswith(b"HTTP/1.1 503")


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def main() -> int:
        async with proxy(tmp_path, 1):
            return (tmp_path / "proxy.sock").stat().st_mode & 0o777

    assert asyncio.run(main()) == 0o600


class Hive:
    """A hive's handle on its egress process, with what it was told."""

    def __init__(self, directory: Path) -> None:
        self.told: asyncio.Queue[Refusal] = asyncio.Queue()
        self.egress = Egress(directory, self.told.put_nowait, python=sys.executable)


def with_hive(directory: Path, body: Callable[[Hive], object]) -> None:
    async def main() -> None:
        hive = Hive(directory)
        await hive.egress.start()
        try:
            async with asyncio.timeout(30):
                await body(hive)  # type: ignore[misc]  # an async function
        finally:
            await hive.egress.close(stop=True)

    asyncio.run(main())


def rules(directory: Path, *allow: str) -> dict[str, EgressRule]:
    return {"a": EgressRule(socket=directory / "proxy.sock", allow=allow or ("up.example",))}


def process_of(directory: Path) -> int:
    return int((directory / "egress.lock").read_text())


def test_the_process_serves_what_is_declared_and_tells_what_it_refused(tmp_path: Path) -> None:
    async def body(hive: Hive) -> None:
        await hive.egress.declare(rules(tmp_path))
        assert (await ask(tmp_path, connect("evil.example", 443))).startswith(b"HTTP/1.1 403")
        told = await hive.told.get()
        assert (told.agent, told.host, told.port) == ("a", "evil.example", 443)

    with_hive(tmp_path, body)


def test_an_agent_that_is_no_longer_declared_loses_its_socket(tmp_path: Path) -> None:
    async def body(hive: Hive) -> None:
        await hive.egress.declare(rules(tmp_path))
        await hive.egress.declare({})
        assert not (tmp_path / "proxy.sock").exists()

    with_hive(tmp_path, body)


def test_the_process_serves_on_while_no_hive_is_there_and_the_next_hive_takes_it_over(tmp_path: Path) -> None:
    async def body(hive: Hive) -> None:
        await hive.egress.declare(rules(tmp_path))
        await hive.egress.close(stop=False)
        assert (await ask(tmp_path, connect("evil.example", 443))).startswith(b"HTTP/1.1 403")
        following = Hive(tmp_path)
        await following.egress.start()
        await following.egress.declare(rules(tmp_path))
        await ask(tmp_path, connect("more.example", 443))
        assert (await following.told.get()).host == "more.example"
        await following.egress.close(stop=True)

    with_hive(tmp_path, body)


def test_a_process_that_was_killed_is_replaced_and_told_everything_again(tmp_path: Path) -> None:
    async def body(hive: Hive) -> None:
        await hive.egress.declare(rules(tmp_path))
        killed = await asyncio.to_thread(_kill, tmp_path)
        await hive.egress.declare(rules(tmp_path))
        assert (await ask(tmp_path, connect("evil.example", 443))).startswith(b"HTTP/1.1 403")
        assert await asyncio.to_thread(process_of, tmp_path) != killed

    with_hive(tmp_path, body)


def _kill(directory: Path) -> int:
    pid = process_of(directory)
    os.kill(pid, signal.SIGKILL)
    return pid


def test_an_entry_that_is_not_well_formed_changes_nothing(tmp_path: Path) -> None:
    async def body(hive: Hive) -> None:
        await hive.egress.declare(rules(tmp_path))
        with pytest.raises(FaultError, match="addresses are not possible"):
            await hive.egress.declare(rules(tmp_path, "10.0.0.1"))
        assert (tmp_path / "proxy.sock").exists()

    with_hive(tmp_path, body)


def test_told_to_stop_it_takes_its_sockets_away(tmp_path: Path) -> None:
    async def body(hive: Hive) -> None:
        await hive.egress.declare(rules(tmp_path))
        await hive.egress.close(stop=True)
        assert not (tmp_path / "proxy.sock").exists()
        assert not hive.egress.control.exists()

    with_hive(tmp_path, body)
