"""A daemon that is killed again and again under load: what it acknowledged is neither lost nor silently doubled."""

import json
import os
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, running_hive
from outsider import Outsider

pytestmark = [pytest.mark.container, pytest.mark.chaos, pytest.mark.timeout(180)]

KILLS = 15
SENDERS = 4
AGENTS = ("a", "b")
PAUSE_S = 0.02
"""Between two tries to reach a daemon that is not there."""


class Ledger:
    """What the clients were told, and a count of it to wait for."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._told = threading.Condition()
        self._count = 0
        self.sent: dict[str, int] = {}
        self.bodies: dict[int, str] = {}
        self.attempts: dict[int, list[int]] = defaultdict(list)
        self.acked: set[int] = set()
        self.after_ack: list[int] = []

    def note(self) -> None:
        with self._told:
            self._count += 1
            self._told.notify_all()

    def wait_for_more(self, count: int) -> None:
        with self._told:
            goal = self._count + count
            assert self._told.wait_for(lambda: self._count >= goal, 60), "nothing goes on any more"


@contextmanager
def working(*jobs: Callable[[], None]) -> Iterator[None]:
    failures: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)


def again_and_again(path: Path, ledger: Ledger, serve: Callable[[Outsider], None]) -> None:
    """Serve on one connection after the other until it returns by itself."""
    while True:
        try:
            with Outsider(path) as client:
                return serve(client)
        except OSError:
            ledger.over.wait(PAUSE_S)


def sender(path: Path, ledger: Ledger, number: int) -> None:
    """Sends until it is over; what is not answered is sent again under its mid."""
    done = 0

    def serve(client: Outsider) -> None:
        nonlocal done
        while not ledger.over.is_set():
            mid, to = f"{number}:{done}", AGENTS[done % len(AGENTS)]
            answer = client.ask(json.dumps({"cmd": "send", "to": to, "body": f"body of {mid}", "mid": mid}))
            if answer["ok"]:
                (ledger.sent[mid],) = answer["ids"]
                done += 1
                ledger.note()
            else:
                assert answer["error_kind"] in ("too_fast", "inbox_full", "unavailable"), answer
                ledger.over.wait(PAUSE_S)

    again_and_again(path, ledger, serve)


def runner(path: Path, ledger: Ledger, name: str) -> None:
    """Receives, reads and acks until it is over and nothing comes any more; one boot all through."""
    taken: set[int] = set()  # this process's own memory of what it has been given and has not seen acked

    def take(messages: list[dict[str, int | str]]) -> None:
        for message in messages:
            number = int(message["id"])
            if number in ledger.acked:
                ledger.after_ack.append(number)
            ledger.attempts[number].append(int(message.get("attempt", 1)))
            ledger.bodies[number] = str(message["body"])
            taken.add(number)

    def settle(client: Outsider, epoch: int) -> None:
        ids = sorted(taken)
        if not ids:
            return
        client.call("read", epoch=epoch, ids=ids, turn="turn")
        settled = client.call("ack", epoch=epoch, ids=ids)
        if "stale" in settled:
            ledger.acked.update(ids)
            taken.clear()
            ledger.note()

    def serve(client: Outsider) -> None:
        welcome = client.call("hello", boot_id=f"boot-of-{name}")
        epoch = welcome["epoch"]
        unseen = [number for number in welcome.get("held", []) if number not in taken]  # the answer was lost
        if unseen:
            client.call("release", epoch=epoch, ids=unseen, failed=False)
        while True:
            settle(client, epoch)
            received = client.call("recv", epoch=epoch, wait_seconds=0.5, max=8)
            take(received.get("messages", []))
            if ledger.over.is_set() and received.get("messages") == [] and not taken:
                return

    again_and_again(path, ledger, serve)


@pytest.fixture
def hive() -> Iterator[HiveProcess]:
    """With agents whose containers are stopped: their sockets are there for the test's own runners."""
    needs.bwrap()
    with running_hive() as (hive, _):
        for name in AGENTS:
            hive.ask(host.Spawn(name=name))
            hive.ask(host.Kill(name=name))
        yield hive


def test_nothing_acknowledged_is_lost_or_doubled_while_the_daemon_is_killed(hive: HiveProcess) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")  # noqa: T201 (shown when it fails)
    chance, ledger, socket = random.Random(seed), Ledger(), hive.paths.host_socket
    senders = [lambda number=number: sender(socket, ledger, number) for number in range(SENDERS)]
    runners = [lambda name=name: runner(hive.paths.agent_socket(name), ledger, name) for name in AGENTS]
    with working(*senders, *runners):
        for _ in range(KILLS):
            ledger.wait_for_more(chance.randint(1, 400))
            hive.kill()
            hive.start()
        ledger.wait_for_more(10)
        ledger.over.set()

    assert len(set(ledger.sent.values())) == len(ledger.sent), "no two messages have one id"
    assert set(ledger.sent.values()) <= ledger.acked, "no acknowledged message is lost"
    assert {number: ledger.bodies[number] for number in ledger.sent.values()} == {
        number: f"body of {mid}" for mid, number in ledger.sent.items()
    }
    assert max(Counter(ledger.bodies.values()).values()) == 1, "no message is stored twice"
    assert ledger.after_ack == [], "what was acked never comes again"
    doubled = {number: each for number, each in ledger.attempts.items() if len(set(each)) < len(each)}
    assert doubled == {}, "every delivery after the first says so"
    assert [hive.status(name).unread for name in AGENTS] == [0, 0]
    with Outsider(socket) as client:
        for number in sorted(ledger.sent.values())[:: max(1, len(ledger.sent) // 200)]:
            assert client.ask(f'{{"cmd":"receipt_for","id":{number}}}')["receipt"]["state"] == "handled"
