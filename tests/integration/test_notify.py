"""What becomes news for the operator, on a real hive without containers; and sending it to a real server."""

import asyncio
import contextlib
import dataclasses
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from hyperhive.broker.letters import Draft, MailChange, MailChangeKind
from hyperhive.config import notify
from hyperhive.config.notify import Target
from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.hive import Hive
from hyperhive.hub.notify.newsroom import Newsroom
from hyperhive.hub.notify.notifications import Sender
from hyperhive.hub.notify.words import News
from hyperhive.protocol import agent as wire
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import OPERATOR, AgentName
from hyperhive.protocol.notify import BY_DEFAULT, NotifyKind
from notify_receiver import SECRET, receiver

SCOUT = AgentName("scout")


class House:
    def __init__(self, hive: Hive) -> None:
        self.hive = hive
        self.newsroom = Newsroom(fleet=hive.fleet, mailbox=hive.mailbox, asking=hive.asking)
        self.wants: Callable[[NotifyKind], bool] = lambda _: True
        self._news: asyncio.Queue[News] = asyncio.Queue()

    @property
    def scout(self) -> Agent:
        return self.hive.fleet.get(SCOUT)

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.newsroom.follow(self._news.put_nowait, lambda kind: self.wants(kind)))
        for _ in range(5):
            await asyncio.sleep(0)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def next(self) -> tuple[NotifyKind, str]:
        news = await self._news.get()
        return news.kind, news.line

    async def nothing(self) -> None:
        """Whatever happened before has been seen by now, and was no news."""
        self.wants = lambda _: True
        self.hive.fleet.chronicle.mail(change(MailChangeKind.DEAD, 99))
        assert await self.next() == (NotifyKind.DEAD_LETTER, "#99 from scout to manager")

    def changes(self, *, limited_until: float | None = None, **fields: object) -> None:
        if limited_until is not None:
            self.scout.row = dataclasses.replace(self.scout.row, limited_until=limited_until)
        for name, value in fields.items():
            setattr(self.scout, name, value)
        self.hive.fleet.chronicle.changed(self.scout)


def change(kind: MailChangeKind, number: int) -> MailChange:
    return MailChange(kind=kind, id=number, sender="scout", recipient="manager", thread=number)


def play(scene: Callable[[House], Awaitable[None]], begin: Callable[[House], Awaitable[None]] | None = None) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with asyncio.timeout(30), hive_at(paths, rehearsal=None) as hive:
                await hive.fleet.make(SCOUT, {"agent.toml": ""})
                house = House(hive)
                if begin:
                    await begin(house)
                async with house.following():
                    await scene(house)

    asyncio.run(run())


async def letter(house: House, to: str = OPERATOR) -> None:
    draft = Draft(sender=SCOUT, kind=wire.MessageKind.AGENT, to=to, body="look @here")
    await house.hive.mailbox.send(draft)


def test_each_kind_of_event_is_news_once() -> None:
    async def scene(house: House) -> None:
        hive = house.hive
        asked = await hive.asking.ask(house.scout, wire.Ask(mid="m", question="which one?"))
        assert await house.next() == (NotifyKind.QUESTION, f"#{asked.id}, scout asks: “which one?”")
        await hive.asking.questions.answer(asked.id, "this", by=OPERATOR)
        await letter(house)
        assert await house.next() == (NotifyKind.OPERATOR_MAIL, "#1 from scout: “look ＠here”")
        await letter(house, to=SCOUT)
        row = await hive.shape.request_spawn("new", "a *new* one", requester=OPERATOR)
        text = f"#{row.id} spawn of new, asked for by operator: “a ∗new∗ one”"
        assert await house.next() == (NotifyKind.APPROVAL, text)
        await hive.shape.deny(row.id, "no")
        fields = {"id": 7, "approval_kind": "apply_commit", "status": "failed", "note": "it is broken"}
        hive.fleet.chronicle.note(SCOUT, "approval_resolved", fields)
        assert await house.next() == (NotifyKind.DEPLOY_FAILED, "#7 apply commit of scout: “it is broken”")
        await house.nothing()

    play(scene)


def test_an_agents_state_is_news_when_it_begins_and_not_while_it_lasts() -> None:
    async def scene(house: House) -> None:
        await house.hive.fleet.set_needs_login(house.scout, True)
        assert (await house.next())[0] is NotifyKind.NEEDS_LOGIN
        house.changes(limited_until=2e9)
        assert (await house.next())[0] is NotifyKind.RATE_LIMITED
        house.changes(limited_until=2.1e9)
        house.changes(phase=Phase.FAILED, failure="it died")
        assert await house.next() == (
            NotifyKind.AGENT_FAILED,
            "scout: the hive gave up on its container: “it died”",
        )
        house.changes(phase=Phase.STOPPED)
        await house.hive.fleet.set_needs_login(house.scout, False)
        assert (await house.next())[0] is NotifyKind.LOGGED_IN
        await house.nothing()

    play(scene)


def test_what_was_there_at_the_start_is_no_news() -> None:
    async def begin(house: House) -> None:
        with house.hive.fleet.chronicle.events.subscribe() as events:
            await house.hive.fleet.set_needs_login(house.scout, True)
            await house.hive.asking.ask(house.scout, wire.Ask(mid="m", question="which one?"))
            await letter(house)
            async for event in events:
                if isinstance(event, HiveEvent) and event.kind == "message_sent":
                    break

    async def scene(house: House) -> None:
        house.changes(description="x")
        await house.nothing()

    play(scene, begin)


def test_a_harness_that_changes_its_mind_all_the_time_is_news_a_few_times() -> None:
    async def scene(house: House) -> None:
        for _ in range(20):
            house.changes(limited_until=2e9)
            await asyncio.sleep(0)
            house.changes(limited_until=0.0)
            await asyncio.sleep(0)
        assert [(await house.next())[0] for _ in range(3)] == [NotifyKind.RATE_LIMITED] * 3
        await house.nothing()

    play(scene)


def test_what_nobody_wants_is_not_looked_up() -> None:
    async def scene(house: House) -> None:
        house.wants = lambda kind: kind is not NotifyKind.OPERATOR_MAIL
        await letter(house)
        asked = await house.hive.asking.ask(house.scout, wire.Ask(mid="m", question="which?"))
        assert await house.next() == (NotifyKind.QUESTION, f"#{asked.id}, scout asks: “which?”")
        await house.nothing()

    play(scene)


def test_a_targets_file_is_the_hives_alone_and_a_broken_one_costs_only_the_targets() -> None:
    async def run(root: Path) -> None:
        paths = Paths(state_dir=root / "state", runtime_dir=root / "run")
        async with asyncio.timeout(30), hive_at(paths, rehearsal=None) as hive:
            added = await hive.notifications.add(f"json://127.0.0.1:9/{SECRET}", [NotifyKind.OPERATOR_MAIL], "")
            assert (added.name, added.url, added.kinds) == ("json", "json://127.0.0.1/…", ["operator_mail"])
            assert stat.S_IMODE(paths.notify.stat().st_mode) == 0o600
            with pytest.raises(FaultError) as taken:
                await hive.notifications.add("json://127.0.0.1:9/x", None, "json")
            with pytest.raises(FaultError) as unknown:
                await hive.notifications.remove("phone")
            assert (taken.value.kind, unknown.value.kind) == (FaultKind.NAME_TAKEN, FaultKind.UNKNOWN_TARGET)
        async with asyncio.timeout(30), hive_at(paths, rehearsal=None) as hive:
            assert [target.name for target in hive.notifications.targets()] == ["json"]
            await hive.notifications.remove("json")
        assert await asyncio.to_thread(notify.read, paths.notify) == []
        await asyncio.to_thread(paths.notify.write_text, f'[{{"url":"{SECRET}"}}]')
        async with asyncio.timeout(30), hive_at(paths, rehearsal=None) as hive:
            with pytest.raises(FaultError, match="put it right or remove it") as broken:
                hive.notifications.targets()
            with pytest.raises(FaultError):
                await hive.notifications.add("json://127.0.0.1:9/x")
            assert SECRET not in broken.value.message

    with tempfile.TemporaryDirectory(prefix="hh-") as root:
        asyncio.run(run(Path(root)))


def test_a_target_that_is_for_the_default_is_for_what_later_versions_add_to_it() -> None:
    async def run(root: Path) -> None:
        paths = Paths(state_dir=root / "state", runtime_dir=root / "run")
        async with asyncio.timeout(30), hive_at(paths, rehearsal=None) as hive:
            await hive.notifications.add("json://127.0.0.1:9/x", list(BY_DEFAULT)[::-1], "all")
            assert hive.notifications.targets()[0].kinds == list(BY_DEFAULT)
            assert (await asyncio.to_thread(notify.read, paths.notify))[0].kinds == []

    with tempfile.TemporaryDirectory(prefix="hh-") as root:
        asyncio.run(run(Path(root)))


# sending


def test_a_daemon_does_not_load_what_sends() -> None:
    code = "import sys, hyperhive.daemon.main; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def sent(url: str, *, loopback_only: bool = False, time_s: float = 25) -> str:
    async def run() -> str:
        target = Target(name="x", url=url)
        return await Sender(loopback_only=loopback_only, time_s=time_s).send(target, "a title", "a body")

    return asyncio.run(run())


def test_a_service_gets_the_text_as_it_is_and_no_address_of_anybody_elses() -> None:
    with receiver() as service:
        for url in (service.json_url, service.ntfy_url):
            assert sent(url) == ""
            told = service.next()
            assert (told.json["title"], told.json["message"]) == ("a title", "a body")
            assert "http" not in str(told.headers)


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_a_service_that_refuses_is_named_by_its_status_alone(status: int) -> None:
    with receiver() as service:
        service.status = status
        assert sent(service.json_url) == f"the target answered with status {status}"


def test_a_service_that_sends_the_hive_elsewhere_is_not_followed() -> None:
    with receiver() as service, receiver() as inside:
        service.status, service.location = 307, f"http://{inside.address}/"
        assert sent(service.json_url) == "the target answered with status 307"
        assert inside.quiet


def test_nobody_there_is_said_in_our_words() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert sent(f"json://127.0.0.1:{free.getsockname()[1]}/{SECRET}") == "it cannot be reached"


@pytest.mark.parametrize(
    "url", ["json://192.0.2.1/x", "ntfy://topic", "mailto://a:b@example.com", "json://localhost.evil.example/x"]
)
def test_a_rehearsal_connects_to_nobody_beyond_loopback(url: str) -> None:
    assert "only this machine's loopback addresses" in sent(url, loopback_only=True)


@contextlib.contextmanager
def dripping() -> Iterator[int]:
    """A server that begins an answer and never ends it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    while not over.wait(0.2):
                        connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            with contextlib.suppress(OSError):
                socket.create_connection(server.getsockname()).close()
            thread.join()


def test_a_service_that_never_ends_its_answer_is_left_in_time() -> None:
    with dripping() as port:
        error = sent(f"json://127.0.0.1:{port}/{SECRET}", time_s=6)
        assert error == "the program that delivers took longer than 6 s and was ended"
