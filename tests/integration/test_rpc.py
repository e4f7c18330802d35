"""The agent socket's wire over a real unix socket: both directions, and whatever a hostile end may write."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hyperhive.protocol.agent import ARRIVED, WHOAMI, Arrived, Whoami
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.framing import MAX_LINE
from hyperhive.protocol.rpc import Nothing, Peer


@asynccontextmanager
async def hive(path: Path, peers: list[Peer]) -> AsyncIterator[None]:
    def accept() -> Peer:
        peer = Peer()
        peer.serve(WHOAMI, whoami)
        peers.append(peer)
        return peer

    async def whoami(_: Nothing) -> Whoami:
        return Whoami(agent="a", role="agent", unread=3)

    server = await asyncio.get_running_loop().create_unix_server(accept, str(path))
    try:
        yield
    finally:
        server.close()
        for peer in peers:
            peer.close()


async def connect(path: Path) -> Peer:
    _, peer = await asyncio.get_running_loop().create_unix_connection(Peer, str(path))
    return peer


async def raw_exchange(path: Path, sent: bytes, answers: int) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=4 * MAX_LINE)
    writer.write(sent)
    got = [json.loads(await reader.readline()) for _ in range(answers)]
    writer.close()
    return got


def test_a_call_is_answered_and_the_other_side_can_call_back(tmp_path: Path) -> None:
    async def scene() -> None:
        peers: list[Peer] = []
        async with hive(tmp_path / "s", peers):
            peer = await connect(tmp_path / "s")
            arrived: asyncio.Future[Arrived] = asyncio.get_running_loop().create_future()

            def on_arrived(params: Arrived) -> Nothing:
                arrived.set_result(params)
                return Nothing()

            peer.serve(ARRIVED, on_arrived)
            assert await peer.call(WHOAMI, Nothing()) == Whoami(agent="a", role="agent", unread=3)
            peers[0].notify(ARRIVED, Arrived(unread=1, senders=["b"]))
            assert await arrived == Arrived(unread=1, senders=["b"])
            peer.close()
            await peer.closed

    asyncio.run(scene())


GOOD = b'{"jsonrpc":"2.0","id":7,"method":"whoami"}\n'


@pytest.mark.parametrize(
    ("line", "code", "kind"),
    [
        (b"not json\n", -32700, "malformed"),
        (b"[1,2]\n", -32700, "malformed"),
        (b"[" * 100_000 + b"\n", -32700, "malformed"),
        (b'{"jsonrpc":"2.0","id":1,"method":5}\n', -32700, "malformed"),
        (b"\xff\xfe\n", -32700, "malformed"),
        (b'{"id":1,"method":"no_such"}\n', -32601, "unknown_method"),
        (b'{"id":1,"method":"whoami","params":3}\n', -32602, "invalid_params"),
        (b"x" * (MAX_LINE + 10) + b"\n", -32600, "line_too_long"),
    ],
)
def test_a_bad_line_is_answered_with_a_fault_and_the_connection_goes_on(
    tmp_path: Path, line: bytes, code: int, kind: str
) -> None:
    async def scene() -> list[dict[str, Any]]:
        async with hive(tmp_path / "s", []):
            return await raw_exchange(tmp_path / "s", line + GOOD, 2)

    refused, good = asyncio.run(scene())
    assert (refused["error"]["code"], refused["error"]["data"]["kind"]) == (code, kind)
    me = {"agent": "a", "role": "agent", "unread": 3, "parent": "", "tool_groups": [], "held": False}
    assert good == {"jsonrpc": "2.0", "id": 7, "result": me}


def test_a_notification_is_never_answered_not_even_a_wrong_one(tmp_path: Path) -> None:
    async def scene() -> list[dict[str, Any]]:
        async with hive(tmp_path / "s", []):
            return await raw_exchange(tmp_path / "s", b'{"method":"no_such"}\n' + GOOD, 1)

    assert asyncio.run(scene())[0]["id"] == 7


def test_a_client_gone_in_mid_line_leaves_the_others_served(tmp_path: Path) -> None:
    async def scene() -> str:
        async with hive(tmp_path / "s", []):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            writer.write(GOOD[:10])
            await writer.drain()
            writer.transport.abort()
            peer = await connect(tmp_path / "s")
            return (await peer.call(WHOAMI, Nothing())).agent

    assert asyncio.run(scene()) == "a"


def test_calls_under_way_fail_when_the_connection_ends(tmp_path: Path) -> None:
    async def scene() -> FaultKind:
        server = await asyncio.get_running_loop().create_unix_server(
            lambda: Peer(on_connect=lambda peer: peer.close()), str(tmp_path / "s")
        )
        peer = await connect(tmp_path / "s")
        with pytest.raises(FaultError) as gone:
            await peer.call(WHOAMI, Nothing())
        server.close()
        return gone.value.kind

    assert asyncio.run(scene()) is FaultKind.UNAVAILABLE


def test_a_peer_that_never_reads_is_cut_instead_of_held_in_memory(tmp_path: Path) -> None:
    async def scene() -> None:
        peers: list[Peer] = []
        async with hive(tmp_path / "s", peers):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"), limit=1)
            writer.write(GOOD)
            await reader.readexactly(1)
            while not peers[0].closed.done():
                peers[0].notify(ARRIVED, Arrived(unread=1, senders=["b" * 100_000]))
                await asyncio.sleep(0)
            writer.transport.abort()

    asyncio.run(scene())
