"""A mailbox on a real database with a clock that tests move, and short words for what tests do with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from hand_clock import HandClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.letters import Draft, Limits, MailChange
from hyperhive.broker.mailbox import Mailbox
from hyperhive.protocol.agent import Envelope, Sent
from hyperhive.protocol.faults import FaultError

NO_RATE = Limits(burst=1_000_000)


class House:
    """The mailbox with alice and bob registered; bob's harness has said hello as epoch `self.epoch`."""

    def __init__(self, database: Database, mailbox: Mailbox, clock: HandClock) -> None:
        self.database = database
        self.mailbox = mailbox
        self.clock = clock
        self.epoch = 0
        self.changes: list[MailChange] = []
        self.queued: list[str] = []
        mailbox.on_change = self.changes.append
        mailbox.on_queued = self.queued.append

    async def send(self, body: str = "hi", *, sender: str = "alice", to: str = "bob", **more: object) -> int:
        return (await self.post(body, sender=sender, to=to, **more)).ids[0]

    async def post(self, body: str = "hi", *, sender: str = "alice", to: str = "bob", **more: object) -> Sent:
        return await self.mailbox.send(Draft(sender=sender, kind="agent", to=to, body=body, **more))  # type: ignore[arg-type]

    async def lease(self, maximum: int = 32, agent: str = "bob") -> list[Envelope]:
        """What is there now."""
        received = self.mailbox.recv(agent, self.epoch, 0.001, maximum)
        await self.settled()
        self.clock.advance(0.001)
        return (await received).messages

    async def begin(self, maximum: int = 32) -> list[Envelope]:
        """The same, read into a turn of bob's."""
        messages = await self.lease(maximum)
        await self.mailbox.read("bob", self.epoch, [message.id for message in messages], "turn")
        return messages

    async def boot(self, name: str) -> None:
        """Bob's harness says hello in this boot of its container."""
        self.epoch = (await self.mailbox.begin_epoch("bob", name)).number

    async def settled(self) -> None:
        """Everything that was asked of the writer before has been answered."""
        for _ in range(3):
            await self.database.write(lambda connection: None)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settled()

    async def fail(self, *ids: int, reason: str = "it broke") -> None:
        await self.mailbox.release("bob", self.epoch, ids, failed=True, reason=reason)

    async def refuse_moves(self, error: str) -> None:
        """From now on messages cannot be changed: the disk is full (`full`), or the statement is wrong (`mistake`)."""
        wanted = (
            "INSERT INTO ballast VALUES (zeroblob(100000))" if error == "full" else "SELECT RAISE(ABORT, 'mistake')"
        )

        def spoil(connection: Connection) -> None:
            connection.execute("CREATE TABLE ballast (bytes BLOB)")
            connection.execute(f"CREATE TRIGGER refusal BEFORE UPDATE ON messages BEGIN {wanted}; END")
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()

        await self.database.write(spoil)

    async def allow_moves(self) -> None:
        await self.database.write(lambda connection: connection.execute("DROP TRIGGER refusal").fetchall())


@contextlib.asynccontextmanager
async def house(folder: Path, *, limits: Limits = NO_RATE, clock: HandClock | None = None) -> AsyncIterator[House]:
    clock = clock or HandClock()
    database = await Database.open(folder / "hive.sqlite")
    mailbox = await Mailbox.open(database, clock=clock, limits=limits)
    try:
        await mailbox.register("alice", 1)
        await mailbox.register("bob", 2)
        home = House(database, mailbox, clock)
        await home.boot("boot-one")
        yield home
    finally:
        mailbox.close()
        await database.close()


def play(folder: Path, scene: Callable[[House], Awaitable[None]], limits: Limits = NO_RATE) -> None:
    async def run() -> None:
        async with house(folder, limits=limits) as home:
            await scene(home)

    asyncio.run(run())


async def refusal(call: Awaitable[object]) -> FaultError:
    with pytest.raises(FaultError) as refused:
        await call
    return refused.value
