"""Agents that do not go on, in a whole hive whose clock a test moves: with real containers and claude, and with
harnesses that are played."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import needs
from hand_clock import HandClock
from hyperhive.broker.database import Connection
from hyperhive.broker.jobs import JobDraft, JobKind, JobRow
from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub import way_in
from hyperhive.hub.agents import Agent, Phase
from hyperhive.hub.hive import Hive
from hyperhive.hub.notify.newsroom import Newsroom
from hyperhive.hub.notify.words import News
from hyperhive.hub.status import state
from hyperhive.hub.watchdog import CALM_S, DEAF_S, GREETED_S, STEP_S, UNREACHABLE_S, Step, Stuck
from hyperhive.protocol import agent as wire
from hyperhive.protocol.events import HiveEvent, TurnEnd, record
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import ShellCommand
from hyperhive.protocol.ids import MANAGER, AgentName, container_name
from hyperhive.protocol.notify import NotifyKind
from hyperhive.protocol.rpc import Nothing, Peer
from hyperhive.rehearsal.script import Call, Gate, Say, on
from hyperhive.testing.model import ScriptedModel
from hyperhive.web.agent_page import sections_of
from hyperhive.web.sections import SECTIONS

PATIENCE_S = 200.0
SCOUT = AgentName("scout")


class House:
    def __init__(self, hive: Hive, clock: HandClock, paths: Paths) -> None:
        self.hive = hive
        self.clock = clock
        self.paths = paths
        self.notes: list[dict[str, Any]] = []  #: of being stuck, as the events have them
        self.jobs: list[JobDraft] = []

    @property
    def scout(self) -> Agent:
        return self.hive.fleet.get(SCOUT)

    @property
    def taken(self) -> tuple[Step, ...]:
        return self.scout.episode.taken if self.scout.episode else ()

    async def until(self, condition: Callable[[], object]) -> None:
        """The scout's news bring it, or the hive's events do."""
        with self.hive.fleet.chronicle.changes.subscribe() as changes:
            while not condition():
                await self.soon(changes.batch())

    async def soon(self, news: Awaitable[object] | None = None) -> None:
        """Let the others go on for a moment, or until there is news."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await (news or asyncio.Event().wait())

    async def send(self, body: str = "hello") -> int:
        return (await self.hive.desk.send(SCOUT, body, mid=os.urandom(4).hex())).ids[0]

    async def handled(self, message: int) -> int:
        """In which attempt it was."""
        with self.hive.fleet.chronicle.mail_changes.subscribe() as mail:
            while (receipt := await self.hive.mailbox.receipt(message)).state != "handled":
                await mail.batch()
        return receipt.attempt

    async def pass_time(self, seconds: float) -> None:
        """While the harness beats."""
        while seconds > 0:
            self.clock.advance(min(seconds, 30.0))
            seconds -= 30.0
            self.hive.lookout.heard(self.scout)
            await asyncio.sleep(0)

    async def fill_disk(self) -> None:
        """From now on there is no room to write down what becomes of a message."""

        def fill(connection: Connection) -> None:
            wanted = "INSERT INTO ballast VALUES (zeroblob(100000))"
            connection.execute("CREATE TABLE ballast (bytes BLOB)")
            connection.execute(f"CREATE TRIGGER refusal BEFORE UPDATE ON messages BEGIN {wanted}; END")
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()

        await self.hive.fleet.roster._database.write(fill)

    async def follow(self) -> None:
        with self.hive.fleet.chronicle.events.subscribe(SCOUT) as events:
            while batch := await events.batch():
                told = [event for event in batch if isinstance(event, HiveEvent) and event.kind == "stuck"]
                self.notes += [msgspec.json.decode(event.payload) for event in told]

    async def record(self, draft: JobDraft) -> JobRow:
        """In place of the job: nothing comes of it."""
        self.jobs.append(draft)
        return None  # type: ignore[return-value]  # nobody looks at it


class Played:
    """A harness that does what a test says, and nothing else."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.asked: list[str] = []
        self.attaching, self.detached = asyncio.Event(), asyncio.Event()

    async def hello(self, boot: str = "boot-one", *, canary: bool = True) -> None:
        path = str(self.house.paths.agent_socket(SCOUT))
        _, self.peer = await asyncio.get_running_loop().create_unix_connection(self._peer, path)
        welcome = await self.peer.call(wire.HELLO, wire.Hello(boot_id=boot, canary=canary))
        self.epoch = welcome.epoch

    def _peer(self) -> Peer:
        peer = Peer()
        peer.serve(wire.UNSTICK, self._unstick)
        peer.serve(wire.OVER_BUDGET, lambda _: wire.Done(done=False))
        peer.serve(wire.ATTACH, self._attach)
        peer.serve(wire.DETACH, self._detach)
        return peer

    def _unstick(self, unstick: wire.Unstick) -> wire.Done:
        self.asked.append(unstick.step)
        return wire.Done(done=False)

    async def _attach(self, _: wire.Attach) -> Nothing:
        self.attaching.set()
        await asyncio.Event().wait()
        return Nothing()

    def _detach(self, _: Nothing) -> Nothing:
        self.detached.set()
        return Nothing()

    async def recv(self, wait_s: float = 60) -> wire.Received:
        return await self.peer.call(wire.RECV, wire.Recv(epoch=self.epoch, wait_seconds=wait_s))

    async def report(self, **fields: Any) -> None:
        await self.peer.call(wire.REPORT, wire.Report(**fields))


@contextlib.asynccontextmanager
async def house(text: str = "", *, model: bool = False) -> AsyncIterator[House]:
    with tempfile.TemporaryDirectory(prefix="hh-", ignore_cleanup_errors=True) as root:
        paths, clock = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run"), HandClock()
        paths.rehearsal.mkdir(parents=True)
        async with asyncio.timeout(PATIENCE_S):
            async with hive_at(paths, rehearsal=paths.rehearsal if model else None, clock=clock) as hive:
                await hive.fleet.make(SCOUT, {"agent.toml": text})
                home = House(hive, clock, paths)
                following = asyncio.create_task(home.follow())
                try:
                    yield home
                finally:
                    following.cancel()
                    with contextlib.suppress(Exception):
                        await hive.fleet.stop(SCOUT)


@contextlib.asynccontextmanager
async def played(text: str = "") -> AsyncIterator[tuple[House, Played]]:
    """The scout as if its container ran, with a harness that is played; no job comes to anything."""
    async with house(text) as home:
        home.hive.lookout.submit = home.record
        home.scout.furnished = True
        home.paths.agent_runtime(SCOUT).mkdir(parents=True, exist_ok=True)
        await home.hive.fleet.doors.open(home.scout)
        home.scout.phase = Phase.RUNNING
        harness = Played(home)
        await harness.hello()
        try:
            yield home, harness
        finally:
            harness.peer.close()
            home.scout.phase = Phase.STOPPED


def test_one_that_does_not_take_its_mail_is_deaf_and_each_step_comes_once() -> None:
    async def scene() -> None:
        async with played() as (home, harness):
            await home.hive.fleet.make(MANAGER, {"agent.toml": ""})
            message = await home.send()
            await home.pass_time(DEAF_S - 30)
            assert state(home.scout) != "stuck"
            await home.pass_time(30)
            assert (state(home.scout), home.taken) == ("stuck", (Step.RECONNECT,))
            await harness.peer.closed
            for section in (*sections_of(SCOUT), *SECTIONS):
                if section.name in ("agents", "agent_header"):
                    drawn = await section.draw(home.hive)
                    assert "does not take its mail; its connection was ended" in drawn
                    assert 'id="stuck-restart-scout"' in drawn
            await harness.hello()
            assert home.taken == (Step.RECONNECT,)
            await home.pass_time(GREETED_S)
            assert [(job.kind, job.source) for job in home.jobs] == [("restart", "watchdog")]
            await home.pass_time(3 * CALM_S)
            assert len(home.jobs) == 1
            assert home.scout.episode is not None
            assert home.scout.episode.told
            with home.hive.fleet.chronicle.mail_changes.subscribe() as mail:
                while not (rows := await home.hive.mailbox.inbox(MANAGER)):
                    await mail.batch()
            assert [msgspec.json.decode(row.body)["stuck"] for row in rows] == ["deaf"]

            assert [m.id for m in (await harness.recv()).messages] == [message]
            assert state(home.scout) != "stuck"
            await home.until(lambda: len(home.notes) == 4)
            assert [note["note"] for note in home.notes][-1] == "it goes on"
            assert {note["stuck"] for note in home.notes} == {"deaf"}

    asyncio.run(scene())


@pytest.mark.parametrize(
    "against",
    [{"needs_login": True}, {"limited_until": 2e9}, {"login": wire.Login(state="waiting")}, "paused", "budget"],
)
def test_one_that_need_not_take_mail_is_not_deaf(against: Any) -> None:
    async def scene() -> None:
        async with played() as (home, harness):
            if against == "paused":
                await home.hive.fleet.set_paused(SCOUT, True)
            elif against == "budget":
                home.scout.over_budget = "all of it is spent"
            else:
                await harness.report(**against)
            await home.send()
            await home.pass_time(10 * DEAF_S)
            assert home.scout.episode is None

    asyncio.run(scene())


def test_one_that_announced_a_pause_need_take_no_mail_in_it_and_has_to_after_it() -> None:
    async def scene() -> None:
        async with played() as (home, harness):
            await harness.report(overloaded_until=home.clock.now() + 2 * DEAF_S)
            await home.send()
            await home.pass_time(2 * DEAF_S)
            assert home.scout.episode is None
            await home.pass_time(DEAF_S + 60)
            assert home.taken[:1] == (Step.RECONNECT,)

    asyncio.run(scene())


def test_an_operator_who_does_not_wait_until_they_are_attached_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        async with played() as (home, harness):

            async def no_container(*_: object) -> ShellCommand:
                return ShellCommand(argv=["true"], needs_root=False)

            monkeypatch.setattr(way_in, "attach_command", no_container)  # none runs

            async def attach() -> None:
                async with home.hive.desk.attached(SCOUT, interrupt=False):
                    raise AssertionError("it never comes so far")

            attaching = asyncio.create_task(attach())
            await harness.attaching.wait()
            assert home.scout.held
            attaching.cancel()
            await harness.detached.wait()  # else its harness would wait for their end
            await asyncio.gather(attaching, return_exceptions=True)
            assert not home.scout.held

    asyncio.run(scene())


def test_one_whose_word_finds_no_room_on_the_hives_disk_is_not_silent() -> None:
    async def scene() -> None:
        async with played() as (home, harness):
            await home.send()
            held = [message.id for message in (await harness.recv()).messages]
            await home.fill_disk()
            for _ in range(4):
                await home.pass_time(600)
                with pytest.raises(FaultError) as refused:
                    await harness.peer.call(wire.ACK, wire.Ack(epoch=harness.epoch, ids=held))
                assert refused.value.kind is FaultKind.STORAGE
                assert home.scout.episode is None

    asyncio.run(scene())


def test_a_restart_that_waits_behind_the_operators_stop_leaves_the_agent_down() -> None:
    async def scene() -> None:
        async with played() as (home, _):
            queue = home.hive.queue
            home.clock.advance(UNREACHABLE_S)  # and nothing is heard of it
            await home.until(lambda: home.jobs)
            stop = JobDraft(agent=SCOUT, kind=JobKind.STOP, source="operator")
            own = JobDraft(agent=SCOUT, kind=JobKind.RESTART, source="operator")
            jobs = await asyncio.gather(*(queue.submit(draft) for draft in (stop, home.jobs[0], own)))
            await queue.cancel(jobs[2].id)  # the operator's own is not the hive's: it would bring the agent up
            assert [(await queue.ended(job.id)).state for job in jobs] == ["done", "done", "cancelled"]
            assert (home.scout.wanted, home.scout.phase) == ("down", Phase.STOPPED)

    asyncio.run(scene())


def test_one_that_holds_a_message_without_a_turn_is_silent() -> None:
    async def scene() -> None:
        async with played() as (home, harness):
            await home.send()
            assert len((await harness.recv()).messages) == 1
            await home.pass_time(890)
            assert home.scout.episode is None
            await home.pass_time(30)
            assert home.taken == (Step.INTERRUPT,)
            await home.until(lambda: harness.asked == ["interrupt"])
            await home.pass_time(STEP_S)
            await home.until(lambda: harness.asked == ["interrupt", "restart_claude"])
            await home.pass_time(STEP_S)
            assert len(home.jobs) == 1

    asyncio.run(scene())


def test_a_canary_that_does_not_come_back_is_found_and_one_that_does_is_not_seen() -> None:
    async def scene() -> None:
        async with played() as (home, harness):
            waiting = asyncio.create_task(harness.recv(180))
            await home.pass_time(3600)
            received = await waiting
            assert received.canary
            assert received.messages == []
            await harness.peer.call(wire.ACK, wire.Ack(epoch=harness.epoch, ids=[], canary=received.canary))
            waiting = asyncio.create_task(harness.recv(180))
            await home.pass_time(2 * DEAF_S)
            assert home.scout.episode is None
            assert await home.hive.mailbox.inbox(SCOUT) == []
            assert await home.hive.mailbox.unread(SCOUT) == 0

            await home.pass_time(3600 - 2 * DEAF_S)
            second = await waiting
            assert second.canary not in ("", received.canary)
            await harness.peer.call(wire.ACK, wire.Ack(epoch=harness.epoch, ids=[], canary="guessed"))
            await home.pass_time(DEAF_S)
            assert home.scout.episode is not None
            assert home.scout.episode.stuck is Stuck.DEAF
            await harness.peer.closed
            await harness.hello()
            again = await harness.recv(180)
            assert again.canary == second.canary
            await harness.peer.call(wire.ACK, wire.Ack(epoch=harness.epoch, ids=[], canary=again.canary))
            assert home.scout.episode is None

    asyncio.run(scene())


def test_one_that_does_not_know_canaries_is_given_none() -> None:
    async def scene() -> None:
        async with played() as (home, harness):
            await harness.hello(canary=False)
            waiting = asyncio.create_task(harness.recv(180))
            await home.pass_time(10 * 3600)
            await home.send()
            received = await waiting
            assert (received.canary, len(received.messages)) == ("", 1)
            assert home.scout.episode is None

    asyncio.run(scene())


def test_one_whose_container_is_down_is_given_none_and_not_looked_at() -> None:
    async def scene() -> None:
        async with played() as (home, harness):
            home.scout.phase = Phase.STOPPED
            home.scout.row = dataclasses.replace(home.scout.row, asleep=True)
            await home.pass_time(10 * 3600)
            assert home.scout.episode is None
            home.scout.row = dataclasses.replace(home.scout.row, asleep=False)
            home.scout.phase = Phase.RUNNING
            await home.pass_time(30)
            assert (await harness.recv(0.1)).canary == ""

    asyncio.run(scene())


def test_that_it_stays_stuck_is_news_once() -> None:
    async def scene() -> None:
        async with played("[stuck]\nsilent_after = 60\ntool_after = 60\n[budget]\nday_usd = 1\n") as (home, harness):
            news: list[News] = []
            room = Newsroom(fleet=home.hive.fleet, mailbox=home.hive.mailbox, asking=home.hive.asking)
            following = asyncio.create_task(room.follow(news.append, lambda kind: kind is NotifyKind.BUDGET))
            await harness.report(turn_state="thinking")
            for _ in range(10):
                await home.pass_time(STEP_S)
            await home.until(lambda: news)
            end = record(1, 0.0, TurnEnd(turn="t", ok=True, cost_usd=0.9))
            await home.hive.budgets.count(home.scout, [end])
            await home.until(lambda: len(news) == 2)
            end = record(2, 0.0, TurnEnd(turn="t", ok=True, cost_usd=0.9))
            await home.hive.budgets.count(home.scout, [end])
            await home.until(lambda: len(news) == 3)
            assert [each.kind for each in news] == [NotifyKind.STUCK, NotifyKind.BUDGET, NotifyKind.BUDGET]
            assert "which did not help" in news[0].text
            following.cancel()

    asyncio.run(scene())


def test_a_turn_that_began_before_the_hive_did_may_be_at_a_tool_call() -> None:
    async def scene() -> None:
        async with played() as (home, harness):
            await harness.report(turn_state="thinking")
            await home.pass_time(3500)
            assert home.scout.episode is None
            await home.pass_time(120)
            assert home.scout.episode is not None
            assert home.scout.episode.stuck is Stuck.SILENT

    asyncio.run(scene())


@pytest.mark.claude
@pytest.mark.container
@pytest.mark.timeout(240)
def test_a_silent_turn_a_loop_and_a_harness_that_hangs_go_on_by_themselves() -> None:
    needs.bwrap()
    needs.claude()

    async def scene() -> None:
        async with house("[stuck]\nloop_after = 3\n", model=True) as home:
            model = ScriptedModel(home.paths.rehearsal_socket)
            await asyncio.to_thread(model.__enter__)
            try:
                await home.hive.fleet.start(SCOUT)
                await probed(home, model)
                await silent(home, model)
                await looping(home, model)
                await hanging(home, model)
            finally:
                await asyncio.to_thread(model.__exit__, None, None, None)

    asyncio.run(scene())


async def probed(home: House, model: ScriptedModel) -> None:
    await home.until(lambda: home.scout.peer)
    await home.pass_time(3600)  # the canary is out
    for _ in range(40):
        await home.soon()
    await home.pass_time(2 * DEAF_S)
    assert home.scout.episode is None
    assert (home.scout.rest, model.requests("scout")) == ("dozing", [])


async def silent(home: House, model: ScriptedModel) -> None:
    model.script("scout", on("quiet", Gate("held"), Say("Done.")))
    message = await home.send("quiet")
    await asyncio.to_thread(model.gate("held").wait_reached)
    while not (home.taken or home.notes):  # events of before may still be on their way
        await home.pass_time(30)
        await home.soon()
    await home.until(lambda: len(home.notes) == 2)
    assert "its turn was interrupted" in home.notes[0]["note"]
    await asyncio.to_thread(model.gate("held").wait_reached, 2)
    model.gate("held").open()
    assert await home.handled(message) == 2
    assert home.scout.episode is None


async def looping(home: House, model: ScriptedModel) -> None:
    home.notes.clear()
    call = Call("Bash", {"command": "true"})
    model.script("scout", on("again", *[call] * 7, Gate("loop"), Say("Done.")))
    message = await home.send("again")
    await asyncio.to_thread(model.gate("loop").wait_reached)
    await home.until(lambda: home.taken == (Step.NUDGE,))
    assert any(b"you seem to be stuck" in asked.request.body for asked in model.requests("scout"))
    model.script("scout", on("again", Say("Done.")))
    await home.pass_time(STEP_S)
    await home.until(lambda: any("interrupted" in note["note"] for note in home.notes))
    assert await home.handled(message) == 2
    assert home.scout.episode is None


async def hanging(home: House, model: ScriptedModel) -> None:
    home.notes.clear()
    model.script("scout", on("hello", Say("Done.")))
    kept = (home.paths.containers / container_name(SCOUT) / "record.json").read_bytes()
    os.kill(msgspec.json.decode(kept)["init"]["pid"], signal.SIGSTOP)
    message = await home.send("hello")
    home.clock.advance(UNREACHABLE_S)
    assert (home.scout.episode and home.scout.episode.stuck) is Stuck.UNREACHABLE
    await home.until(lambda: home.scout.episode is None)
    assert await home.handled(message) == 1
    assert [note["stuck"] for note in home.notes] == ["unreachable", "unreachable"]
