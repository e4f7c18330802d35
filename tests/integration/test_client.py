"""The client against real sockets, those that answer and those that do not."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

import needs
from hyperhive.client import Client, ClientError, GoneError, NoDaemonError, patience, unreachable
from hyperhive.protocol import host
from hyperhive.protocol.events import Note
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.testing.fake_host import FakeHost, agent_row


def call(path: Path, request: host.AnyRequest | None = None, *, timeout_s: float | None = None) -> host.Response:
    return asyncio.run(Client(path).call(request or host.List(), timeout_s=timeout_s))


@contextmanager
def answering(path: Path, reply: bytes, *, after: Callable[[], object] = lambda: None) -> Iterator[list[bytes]]:
    """A socket that reads one line and writes these bytes, whatever was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                asked.append(lines.readline())
                try:
                    connection.sendall(reply)
                except OSError:
                    return
                after()

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join()


def test_an_answer_comes_back_typed(tmp_path: Path) -> None:
    with FakeHost(tmp_path / "s") as fake:
        fake.hive.agents["alpha"] = agent_row("alpha")
        assert call(tmp_path / "s").agents == ["alpha"]


def test_the_request_on_the_wire_is_one_tagged_line(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b'{"version":1,"ok":true}\n') as asked:
        call(tmp_path / "s", host.Approve(id=42))
    assert asked == [b'{"cmd":"approve","id":42}\n']


def test_a_refusal_keeps_its_kind_and_words(tmp_path: Path) -> None:
    with FakeHost(tmp_path / "s"), pytest.raises(FaultError, match="not managed") as refused:
        call(tmp_path / "s", host.Restart(name="ghost"))
    assert refused.value.kind is FaultKind.UNKNOWN_AGENT


@pytest.mark.parametrize("kind", [b"", b',"error_kind":"from_the_future"'])
def test_a_refusal_of_an_older_or_newer_daemon_is_a_refusal(tmp_path: Path, kind: bytes) -> None:
    reply = b'{"version":1,"ok":false,"error":"no"' + kind + b"}\n"
    with answering(tmp_path / "s", reply), pytest.raises(FaultError, match="no"):
        call(tmp_path / "s")


def test_no_socket_means_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="hive serve"):
        call(tmp_path / "s")


def test_a_left_over_socket_means_no_daemon(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / "s"))
    with pytest.raises(NoDaemonError, match="left over"):
        call(tmp_path / "s")


def test_a_socket_of_others_is_no_absent_daemon() -> None:
    error = unreachable(PermissionError(13, "Permission denied"), Path("/run/hyperhive/host.sock"))
    assert not isinstance(error, NoDaemonError)
    assert "hive-admin" in str(error)
    assert "log in again" in str(error)


def test_a_user_without_the_group_is_told_so(tmp_path: Path) -> None:
    needs.root()
    with FakeHost(tmp_path / "s"):
        (tmp_path / "s").chmod(0o600)
        for directory in (tmp_path, *tmp_path.parents[:-2]):
            directory.chmod(directory.stat().st_mode | 0o011)
        os.seteuid(65534)
        try:
            with pytest.raises(ClientError, match="hive-admin") as refused:
                call(tmp_path / "s")
        finally:
            os.seteuid(0)
    assert not isinstance(refused.value, NoDaemonError)


def test_a_connection_closed_without_an_answer_says_so(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b""), pytest.raises(GoneError, match="without an answer"):
        call(tmp_path / "s")


def test_half_an_answer_is_none(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b'{"version":1,"ok":true}'), pytest.raises(GoneError):
        call(tmp_path / "s")


def test_a_newer_version_is_refused_before_anything_else_of_it_is_read(tmp_path: Path) -> None:
    reply = b'{"version":2,"ok":"certainly","agents":7}\n'
    with answering(tmp_path / "s", reply), pytest.raises(ClientError, match=r"version 2.*update"):
        call(tmp_path / "s")


def test_a_daemon_from_before_the_version_is_accepted(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b'{"ok":true,"agents":["a"],"news":{"of":"tomorrow"}}\n'):
        assert call(tmp_path / "s").agents == ["a"]


@pytest.mark.parametrize("reply", [b"hello\n", b"[]\n", b'{"ok":1}\n', b"[" * 100_000 + b"\n", b'{"agents":"\xff"}\n'])
def test_what_is_no_answer_is_said_to_be_none(tmp_path: Path, reply: bytes) -> None:
    with answering(tmp_path / "s", reply), pytest.raises(ClientError, match="cannot read"):
        call(tmp_path / "s")


def test_an_endless_line_is_given_up_at_the_bound(tmp_path: Path) -> None:
    with answering(tmp_path / "s", b"x" * (4 << 20)), pytest.raises(ClientError, match="bytes"):
        call(tmp_path / "s")


def test_a_silent_daemon_is_given_up_after_the_deadline(tmp_path: Path) -> None:
    given_up = threading.Event()
    with answering(tmp_path / "s", b"", after=given_up.wait):
        with pytest.raises(ClientError, match="did not answer"):
            call(tmp_path / "s", timeout_s=0.05)
        given_up.set()


def test_waiting_for_a_reply_is_as_patient_as_it_was_asked_to_be() -> None:
    assert (patience(host.WaitReply(id=1, timeout_seconds=100)) or 0) > 100
    assert (patience(host.Spawn(name="a")) or 0) > (patience(host.List()) or 0)
    assert patience(host.Watch()) is None


def test_a_stream_gives_each_answer_until_the_daemon_ends_it(tmp_path: Path) -> None:
    async def names() -> list[object]:
        answers = Client(tmp_path / "s").stream(host.SubscribeAgentStatus())
        return [[row.name for row in answer.agent_statuses or []] async for answer in answers]

    with FakeHost(tmp_path / "s") as fake:
        fake.hive.agents = {name: agent_row(name) for name in ("a", "b")}
        assert asyncio.run(names()) == [[], ["a"], ["b"]]


def test_events_go_on_behind_the_last_one_when_the_daemon_is_back(tmp_path: Path) -> None:
    lost: list[str] = []

    async def watch(first: FakeHost) -> tuple[list[int], list[host.AnyRequest]]:
        seen = []
        async with aclosing(Client(tmp_path / "s").events(host.Watch(history=10), on_lost=lost.append)) as events:
            async for event in events:
                seen.append(event.id)
                if event.id == 2:
                    await asyncio.to_thread(first.__exit__, None, None, None)
                    second = FakeHost(tmp_path / "s")
                    second.hive.events = first.hive.events
                    second.hive.happen("a", Note(text="three"))
                    await asyncio.to_thread(second.__enter__)
                if event.id == 3:
                    await asyncio.to_thread(second.__exit__, None, None, None)
                    break
        return seen, second.hive.received

    first = FakeHost(tmp_path / "s")
    first.hive.happen("a", Note(text="one"))
    first.hive.happen("a", Note(text="two"))
    first.__enter__()
    seen, asked_of_the_second = asyncio.run(watch(first))
    assert seen == [1, 2, 3]
    assert len(lost) == 1
    assert isinstance(asked_of_the_second[0], host.Watch)
    assert asked_of_the_second[0].since == 2


def test_watching_a_hive_that_was_never_there_is_an_error_at_once(tmp_path: Path) -> None:
    async def watch() -> None:
        async with aclosing(Client(tmp_path / "s").events(host.Watch(), on_lost=print)) as events:
            async for _ in events:
                pass

    with pytest.raises(NoDaemonError):
        asyncio.run(watch())
