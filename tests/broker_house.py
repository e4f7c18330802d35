"""A broker as the daemon has it: database, mailbox, notices and what stands on them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from hand_clock import HandClock
from hyperhive.broker.approvals import Approvals
from hyperhive.broker.clock import Clock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.decisions import Decisions
from hyperhive.broker.deployments import Deployments
from hyperhive.broker.jobs import Jobs
from hyperhive.broker.letters import DEFAULT_LIMITS, Limits, MailChange
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.notices import Notices
from hyperhive.broker.questions import Questions
from hyperhive.broker.reminders import Reminders
from hyperhive.broker.roster import Roster
from hyperhive.broker.schedules import Schedules
from hyperhive.protocol.host import InboxRow


class Broker:
    def __init__(self, database: Database, mailbox: Mailbox, clock: Clock) -> None:
        self.database, self.mailbox = database, mailbox
        self.approvals = Approvals(database, clock)
        self.deployments = Deployments(database)
        self.jobs = Jobs(database, clock)
        self.roster = Roster(database, clock)
        self.notices = Notices(database, mailbox, clock)
        self.decisions = Decisions(database, self.jobs, self.notices, clock)
        self.questions = Questions(database, self.notices, clock)
        self.reminders = Reminders(database, self.notices, clock)
        self.schedules = Schedules(database, self.notices, clock)
        self._mail = asyncio.Event()
        mailbox.on_change = self._changed

    def _changed(self, _change: MailChange) -> None:
        self._mail.set()

    async def until(self, done: Callable[[], Awaitable[bool]]) -> None:
        """Wait until it is so; it is looked at again after every change of mail."""
        async with asyncio.timeout(20):
            while not await done():
                await self._mail.wait()
                self._mail.clear()

    async def inbox(self, name: str, count: int) -> list[InboxRow]:
        """The messages to the name, once there are so many."""

        async def enough() -> bool:
            return len(await self.mailbox.inbox(name)) >= count

        await self.until(enough)
        return await self.mailbox.inbox(name)

    async def owed(self) -> list[tuple[str, str]]:
        """Recipient and body of what is not delivered."""
        query = "SELECT recipient, body FROM notices ORDER BY id"
        return await self.database.read(lambda connection: connection.execute(query).fetchall())

    async def settled(self) -> None:
        """Wait for all writes there are."""
        await self.database.write(lambda _connection: None)

    async def nothing_owed(self) -> None:
        """Wait until every notice has been delivered or dropped."""
        async with asyncio.timeout(20):
            while await self.owed():
                await self.settled()

    @contextlib.asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.notices.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class House(Broker):
    """By a clock that is moved by hand."""

    def __init__(self, database: Database, mailbox: Mailbox, clock: HandClock) -> None:
        super().__init__(database, mailbox, clock)
        self.clock = clock


@contextlib.asynccontextmanager
async def opened(folder: Path, clock: HandClock, limits: Limits = DEFAULT_LIMITS) -> AsyncIterator[House]:
    database = await Database.open(folder / "hive.sqlite")
    mailbox = await Mailbox.open(database, clock=clock, limits=limits)
    house = House(database, mailbox, clock)
    try:
        await house.questions.open()
        await house.reminders.open()
        yield house
    finally:
        house.questions.close()
        house.reminders.close()
        house.schedules.close()
        mailbox.close()
        await database.close()


def play(folder: Path, *scenes: Callable[[House], Awaitable[None]], limits: Limits = DEFAULT_LIMITS) -> None:
    """The scenes one after the other, the hive's end and start between them."""
    clock = HandClock()

    async def run() -> None:
        for scene in scenes:
            async with opened(folder, clock, limits) as house:
                await scene(house)

    asyncio.run(run())


def failing_at(table: str, event: str) -> Callable[[Connection], None]:
    """From now on the table refuses: what a transaction had done before must be undone."""

    def install(connection: Connection) -> None:
        connection.execute(
            f"CREATE TRIGGER refuse BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
        )

    return install


def healed(connection: Connection) -> None:
    connection.execute("DROP TRIGGER refuse")
