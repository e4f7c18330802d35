"""A mailbox on a real database with a clock that tests move, and short words for what tests do with it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from hand_clock import HandClock
from hyperhive.broker.database import Database
from hyperhive.broker.letters import Draft, Limits, MailChange
from hyperhive.broker.mailbox import Mailbox
from hyperhive.protocol.agent import Envelope, Sent

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

    async def settled(self) -> None:
        """Everything that was asked of the writer before has been answered."""
        for _ in range(3):
            await self.database.write(lambda connection: None)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settled()

    async def fail(self, *ids: int, reason: str = "it broke") -> None:
        await self.mailbox.release("bob", self.epoch, ids, failed=True, reason=reason)


@contextlib.asynccontextmanager
async def house(folder: Path, *, limits: Limits = NO_RATE, clock: HandClock | None = None) -> AsyncIterator[House]:
    clock = clock or HandClock()
    database = await Database.open(folder / "hive.sqlite")
    mailbox = await Mailbox.open(database, clock=clock, limits=limits)
    try:
        await mailbox.register("alice", 1)
        await mailbox.register("bob", 2)
        home = House(database, mailbox, clock)
        home.epoch = (await mailbox.begin_epoch("bob", "boot-one")).number
        yield home
    finally:
        mailbox.close()
        await database.close()
