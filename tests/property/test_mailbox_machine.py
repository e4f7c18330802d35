"""The mailbox against a model of it: whatever happens in whatever order, the promises hold."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hand_clock import HandClock
from hyperhive.broker.database import Database
from hyperhive.broker.letters import Draft, Limits
from hyperhive.broker.mailbox import Mailbox
from hyperhive.protocol.agent import Envelope, Received

T = TypeVar("T")

AGENTS = ("a", "b", "c")
BACKOFF = (0, 5, 30, 120)
LEASE = 120
names = st.sampled_from(AGENTS)
few = st.integers(min_value=1, max_value=4)


@dataclass
class Letter:
    """A message as the model knows it."""

    id: int
    sender: tuple[str, int]
    to: tuple[str, int]
    state: str = "queued"
    attempts: int = 0
    deaths: int = 0
    epoch: int = 0
    ready_at: float = 0
    begun: bool = False  #: an attempt that ended may have handled it in part

    @property
    def held(self) -> bool:
        return self.state in ("leased", "read")


@dataclass
class Life:
    """An agent as the model knows it."""

    incarnation: int
    epoch: int = 0
    boot: str = ""
    seen_at: float = 0
    parked: "asyncio.Future[Received] | None" = None
    parked_max: int = 0


@dataclass
class Model:
    letters: dict[int, Letter] = field(default_factory=dict)
    lives: dict[str, Life] = field(default_factory=dict)

    def held(self, name: str) -> list[Letter]:
        return [letter for letter in self.letters.values() if letter.held and letter.to[0] == name]

    def eligible(self, name: str, now: float) -> list[Letter]:
        """What may be leased, oldest first: a backed-off message holds up its sender's later ones alone."""
        me = (name, self.lives[name].incarnation)
        mine = [letter for letter in self.letters.values() if letter.state == "queued" and letter.to == me]
        waiting = [letter for letter in mine if letter.ready_at > now]
        return [
            letter
            for letter in sorted(mine, key=lambda letter: letter.id)
            if letter not in waiting
            and not any(other.sender[0] == letter.sender[0] and other.id < letter.id for other in waiting)
        ]


class MailboxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mailbox-machine-"))
        self.clock = HandClock()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.incarnations = 0
        self.boots = 0
        self.mids = 0
        self.told: dict[str, list[int]] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        self.run(self.open())
        for name in AGENTS:
            self.create(name)

    async def open(self) -> None:
        self.database = await Database.open(self.folder / "hive.sqlite")
        self.mailbox = await Mailbox.open(self.database, clock=self.clock, limits=Limits(burst=1_000_000))

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.run(self.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    async def close(self) -> None:
        self.mailbox.close()
        await self.database.close()

    async def settled(self) -> None:
        for _ in range(4):
            await self.database.write(lambda connection: None)

    # what happens

    def create(self, name: str) -> None:
        self.incarnations += 1
        self.run(self.mailbox.register(name, self.incarnations))
        self.bury(name)
        self.model.lives[name] = Life(incarnation=self.incarnations)
        self.harness_starts(name)

    @rule(name=names)
    def harness_starts(self, name: str) -> None:
        if name in self.model.lives:
            self.boots += 1
            self.hello(name, f"boot-{self.boots}")

    @rule(name=names)
    def harness_reconnects(self, name: str) -> None:
        if name in self.model.lives:
            self.hello(name, self.model.lives[name].boot)

    def hello(self, name: str, boot: str) -> None:
        life = self.model.lives[name]
        begun = self.run(self.mailbox.begin_epoch(name, boot))
        if boot != life.boot:
            assert begun.number > life.epoch
            for letter in self.model.held(name):
                self.taken(letter)
        else:
            assert begun.number == life.epoch
        if life.parked is not None:
            assert life.parked.done()
            life.parked = None
        life.boot, life.epoch, life.seen_at = boot, begun.number, self.clock.now()
        held = [letter.id for letter in self.model.held(name)]
        assert sorted(message.id for message in begun.held) == sorted(held)

    @rule(sender=st.sampled_from((*AGENTS, "operator")), to=names)
    def send(self, sender: str, to: str) -> None:
        if to not in self.model.lives or (sender != "operator" and sender not in self.model.lives):
            return
        self.mids += 1
        mid = f"mid-{self.mids}"
        incarnation = 0 if sender == "operator" else self.model.lives[sender].incarnation
        draft = Draft(sender=sender, kind="agent", to=to, body=mid, mid=mid)
        number = self.run(self.sent_twice(draft))
        letter = Letter(id=number, sender=(sender, incarnation), to=(to, self.model.lives[to].incarnation))
        self.model.letters[number] = letter

    async def sent_twice(self, draft: Draft) -> int:
        """Each send is tried again, as after a lost answer: at the same time and later."""
        first, again = await asyncio.gather(self.mailbox.send(draft), self.mailbox.send(draft))
        later = await self.mailbox.send(draft)
        assert first.ids == again.ids == later.ids
        assert again.duplicate
        assert later.duplicate
        return first.ids[0]

    @rule(name=names, maximum=few)
    def receive(self, name: str, maximum: int) -> None:
        life = self.model.lives.get(name)
        if life is None or life.parked is not None:
            return
        waiting = self.run(self.start_receiving(name, maximum))
        life.seen_at = self.clock.now()
        life.parked, life.parked_max = waiting, maximum

    async def start_receiving(self, name: str, maximum: int) -> "asyncio.Future[Received]":
        waiting = self.mailbox.recv(name, self.model.lives[name].epoch, 10_000, maximum)
        await self.settled()
        return waiting

    @rule(name=names)
    def connection_is_lost(self, name: str) -> None:
        if name in self.model.lives:
            self.mailbox.cancel_waits(name)
            self.model.lives[name].parked = None

    @rule(name=names, data=st.data())
    def read(self, name: str, data: st.DataObject) -> None:
        letter = self.pick(name, data)
        if letter is not None:
            self.run(self.as_coroutine(self.mailbox.read(name, letter.epoch, [letter.id], "turn")))
            letter.state = "read"

    @rule(name=names, data=st.data())
    def ack(self, name: str, data: st.DataObject) -> None:
        letter = self.pick(name, data)
        if letter is not None:
            settled = self.run(self.as_coroutine(self.mailbox.ack(name, letter.epoch, [letter.id])))
            assert settled.done == 1
            letter.state = "acked"

    @rule(data=st.data())
    def ack_from_a_former_life(self, data: st.DataObject) -> None:
        """It counts for what nobody was given since, and changes nothing else."""
        mine = [letter for letter in self.model.letters.values() if letter.epoch and self.alive(letter.to)]
        if not mine:
            return
        letter = data.draw(st.sampled_from(mine))
        name = letter.to[0]
        epoch = data.draw(st.integers(min_value=1, max_value=self.model.lives[name].epoch))
        settled = self.run(self.as_coroutine(self.mailbox.ack(name, epoch, [letter.id])))
        counts = epoch == letter.epoch and letter.state in ("queued", "leased", "read")
        assert settled.done == counts
        if counts:
            letter.state = "acked"
        if epoch == self.model.lives[name].epoch:
            self.model.lives[name].seen_at = self.clock.now()

    @rule(name=names, data=st.data(), failed=st.booleans())
    def release(self, name: str, data: st.DataObject, failed: bool) -> None:
        letter = self.pick(name, data)
        if letter is None:
            return
        self.run(self.as_coroutine(self.mailbox.release(name, letter.epoch, [letter.id], failed=failed)))
        if failed:
            delay = BACKOFF[min(letter.attempts, 3)]
            self.failed(letter)
            letter.ready_at = self.clock.now() + delay if delay else 0
        else:
            self.unharmed(letter)

    @rule(name=names)
    def container_dies(self, name: str) -> None:
        life = self.model.lives.get(name)
        if life is None:
            return
        self.run(self.mailbox.container_died(name))
        life.parked = None
        for letter in self.model.held(name):
            letter.deaths += letter.state == "read"
            self.taken(letter)

    @rule(seconds=st.sampled_from((1, 5, 30, 119, 121)), beats=st.booleans())
    def time_passes(self, seconds: int, beats: bool) -> None:
        if beats:
            for name, life in self.model.lives.items():
                self.mailbox.heartbeat(name, life.epoch)
                life.seen_at = self.clock.now()
        self.run(self.advance(seconds))
        for name, life in self.model.lives.items():
            if self.clock.now() - life.seen_at >= LEASE:
                for letter in self.model.held(name):
                    self.failed(letter)

    async def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        await self.settled()

    @rule(name=names)
    def agent_is_destroyed(self, name: str) -> None:
        if name not in self.model.lives or len(self.model.lives) == 1:
            return
        self.run(self.mailbox.forget(name))
        del self.model.lives[name]
        self.bury(name)

    @rule(name=names)
    def agent_is_made_again(self, name: str) -> None:
        """Also where nobody had said that the one before was destroyed."""
        self.model.lives.pop(name, None)
        self.create(name)

    def bury(self, name: str) -> None:
        for letter in self.model.letters.values():
            if letter.to[0] == name and (letter.held or letter.state == "queued"):
                letter.state = "dead"

    @precondition(lambda self: any(letter.state == "dead" for letter in self.model.letters.values()))
    @rule(data=st.data())
    def operator_requeues(self, data: st.DataObject) -> None:
        dead = [letter for letter in self.model.letters.values() if letter.state == "dead" and self.alive(letter.to)]
        if dead:
            letter = data.draw(st.sampled_from(dead))
            self.run(self.mailbox.requeue(letter.id))
            letter.state, letter.attempts, letter.deaths, letter.ready_at = "queued", 0, 0, 0

    @rule(crash=st.booleans())
    def hive_restarts(self, crash: bool) -> None:
        left = self.what_a_kill_leaves() if crash else self.folder
        self.run(self.close())
        if crash:
            shutil.rmtree(self.folder)
            self.folder = left
        self.run(self.open())
        for life in self.model.lives.values():
            life.seen_at = self.clock.now()
            life.parked = None

    def what_a_kill_leaves(self) -> Path:
        """The files as they are now."""
        folder = Path(tempfile.mkdtemp(prefix="mailbox-machine-"))
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.database.path}{suffix}", f"{folder / 'hive.sqlite'}{suffix}")
        return folder

    # what must hold

    @invariant()
    def mailbox_and_model_agree(self) -> None:
        if not hasattr(self, "mailbox"):
            return
        self.run(self.settled())
        rows = self.run(self.rows())
        self.learn_bounces(rows)
        self.hand_out()
        rows = self.run(self.rows())
        assert rows.keys() == self.model.letters.keys(), "nothing is lost, nothing doubled"
        for number, (state, attempts, deaths, epoch, *_) in rows.items():
            letter = self.model.letters[number]
            assert (state, attempts, deaths) == (letter.state, letter.attempts, letter.deaths), number
            if letter.held:
                assert epoch == letter.epoch == self.model.lives[letter.to[0]].epoch, "one living holder"
            assert letter.attempts <= 5

    def learn_bounces(self, rows: dict[int, tuple[Any, ...]]) -> None:
        """Every dead message whose sender lives has been returned to it, exactly once for each death."""
        for number in sorted(rows.keys() - self.model.letters.keys()):
            *_, sender, to, incarnation, in_reply_to = rows[number]
            assert sender == "system"
            dead = self.model.letters[in_reply_to]
            assert dead.state == "dead"
            assert dead.sender == (to, incarnation)
            assert self.alive(dead.sender)
            self.model.letters[number] = Letter(id=number, sender=("system", 0), to=(to, incarnation))
        bounced = [row[-1] for row in rows.values() if row[4] == "system"]
        for letter in self.model.letters.values():
            if letter.state == "dead" and self.alive(letter.sender):
                assert bounced.count(letter.id) >= 1

    def hand_out(self) -> None:
        """Who waits has been given what there was, in order; who was given nothing, there is nothing for."""
        now = self.clock.now()
        for name, life in self.model.lives.items():
            if life.parked is None:
                continue
            there = self.model.eligible(name, now)[: life.parked_max]
            if life.parked.done():
                self.given(life, there, life.parked.result().messages)
            else:
                assert there == []

    def given(self, life: Life, expected: list[Letter], messages: list[Envelope]) -> None:
        assert [message.id for message in messages] == [letter.id for letter in expected]
        assert messages
        for message, letter in zip(messages, expected, strict=True):
            assert (message.attempt, message.begun) == (letter.attempts + 1, letter.begun)
            letter.state, letter.epoch = "leased", life.epoch
        life.parked = None
        life.seen_at = self.clock.now()

    # words

    def alive(self, who: tuple[str, int]) -> bool:
        name, incarnation = who
        if name == "operator":
            return True
        return name in self.model.lives and self.model.lives[name].incarnation == incarnation

    def taken(self, letter: Letter) -> None:
        """Its harness is gone: an attempt has failed if the message was read; else nobody knows how far it came."""
        if letter.state == "read":
            self.failed(letter)
        else:
            self.unharmed(letter)
            letter.begun = True

    def unharmed(self, letter: Letter) -> None:
        letter.begun |= letter.state == "read"
        letter.state, letter.ready_at = "queued", 0

    def failed(self, letter: Letter) -> None:
        letter.begun = True
        letter.attempts += 1
        letter.ready_at = 0
        letter.state = "dead" if letter.attempts >= 5 or letter.deaths >= 3 else "queued"

    def pick(self, name: str, data: st.DataObject) -> Letter | None:
        held = self.model.held(name)
        if not held:
            return None
        self.model.lives[name].seen_at = self.clock.now()
        return data.draw(st.sampled_from(held))

    async def as_coroutine(self, future: "asyncio.Future[T]") -> T:
        return await future

    async def rows(self) -> dict[int, tuple[Any, ...]]:
        query = (
            "SELECT id, state, attempts, deaths, epoch, sender, recipient, recipient_incarnation, in_reply_to "
            "FROM messages"
        )
        rows = await self.database.read(lambda connection: connection.execute(query).fetchall())
        return {row[0]: row[1:] for row in rows}


TestMailboxMachine = MailboxMachine.TestCase
TestMailboxMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
