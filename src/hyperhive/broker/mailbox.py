"""The mailbox: a message that `send` acknowledged is handled or is returned; never lost, never silently doubled.

This is its door, on the event loop. What needs no disk is decided here and in `sending`, `waiting`, `deadlines`: who
may send, who waits, which epoch counts. Everything about messages is decided in the transaction that changes them
(`posting`, `leases`).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Self

from hyperhive.broker import inbox
from hyperhive.broker.boxes import Boxes
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.deadlines import Deadlines
from hyperhive.broker.leases import Begin, Marking, Return, handle
from hyperhive.broker.ledger import Changed, Ledger
from hyperhive.broker.letters import DEFAULT_LIMITS, Draft, Epoch, Limits, MailChange, MailChangeKind, may_be_id
from hyperhive.broker.sending import Sending
from hyperhive.broker.sql import Queries
from hyperhive.broker.threads import Threads
from hyperhive.broker.waiting import Waiting
from hyperhive.protocol.agent import MAX_BATCH, Receipt, Received, Sent, Settled
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import InboxRow

_SQL: Final = Queries("mailbox")
_VACUUM_CHUNK: Final = 200
_ARRIVALS: Final = frozenset({MailChangeKind.SENT, MailChangeKind.REQUEUED})


class Mailbox:
    """Made by `open` on an open database, which it does not own; `close` ends its timers and answers who waits.

    `on_queued(agent)` is called when mail that may be leased has come for an agent with nobody waiting, and
    `on_change` with every change of a message after its commit. Both may be set at any time and must not block.
    """

    def __init__(self, database: Database, *, clock: Clock, limits: Limits) -> None:
        self.on_change: Callable[[MailChange], None] = lambda _change: None
        self._database = database
        self._clock = clock
        self._boxes = Boxes(limits)
        self._ledger = Ledger(database, clock, limits)
        self._ledger.tell = self._tell
        self._deadlines = Deadlines(database, self._ledger, self._boxes, clock, limits)
        self._waiting = Waiting(self._ledger, self._deadlines, clock)
        self._deadlines.on_due = self._waiting.arrived
        self._sending = Sending(database, self._ledger, self._boxes, self._waiting, clock, limits)
        self._threads = Threads(database, clock)

    @classmethod
    async def open(cls, database: Database, *, clock: Clock | None = None, limits: Limits = DEFAULT_LIMITS) -> Self:
        """The mailbox as it was left, with every lease renewed: the hive's absence takes no turn from a harness."""
        mailbox = cls(database, clock=clock or SystemClock(), limits=limits)
        for row in await database.read(lambda connection: connection.execute(_SQL["all_mailboxes"]).fetchall()):
            mailbox._restore(*row)
        await mailbox._deadlines.restore()
        return mailbox

    def close(self) -> None:
        """Answer everybody who waits with nothing; messages stay as they are. Close the database after it."""
        self._deadlines.close()
        for box in self._boxes:
            self._waiting.dismiss(box)
        self._threads.close()

    @property
    def on_queued(self) -> Callable[[str], None]:
        return self._waiting.on_queued

    @on_queued.setter
    def on_queued(self, callback: Callable[[str], None]) -> None:
        self._waiting.on_queued = callback

    # who can receive

    @property
    def agents(self) -> list[str]:
        """The agents that can receive, in the order of their names."""
        return self._boxes.agents

    def incarnation(self, name: str) -> int | None:
        """Of the one who receives under the name now; None where nobody does. The operator's is 0."""
        box = self._boxes.get(name)
        return None if box is None else box.incarnation

    async def register(self, agent: str, incarnation: int) -> None:
        """From now on the agent can receive. Mail to an earlier incarnation dies and is bounced. Harmless again."""
        box = self._boxes.get(agent)
        if box is not None and box.incarnation == incarnation:
            return
        self._remove(agent)
        now = self._clock.now()

        def put(connection: Connection) -> Changed[int]:
            rows = connection.execute(_SQL["put_mailbox"], {"name": agent, "incarnation": incarnation}).fetchall()
            return rows[0][0], self._ledger.leases.kill_mail(connection, agent, incarnation, now)

        self._boxes.add(agent, incarnation, await self._ledger.transact(put))

    async def forget(self, agent: str) -> None:
        """The agent is destroyed: what it has not handled dies and is bounced. Harmless again."""
        self._remove(agent)
        now = self._clock.now()

        def delete(connection: Connection) -> Changed[None]:
            connection.execute(_SQL["delete_mailbox"], {"name": agent})
            return None, self._ledger.leases.kill_mail(connection, agent, None, now)

        await self._ledger.transact(delete)

    # sending

    def send(self, draft: Draft) -> "asyncio.Future[Sent]":
        """Store the message; done when it is durable. The same mid again is answered with the first result.

        Raises FaultError, at once or from the future: unknown_recipient, body_too_long, invalid_params, inbox_full,
        too_fast, unknown_message (in_reply_to), unknown_agent (a sender that is no more), storage.
        """
        return self._sending.send(draft)

    # receiving: each call says in which epoch it is made

    async def begin_epoch(self, agent: str, boot_id: str) -> Epoch:
        """A harness has come. The same boot goes on with what it holds; a new one fences off the others.

        What others held goes back to the queue at once, as a failed attempt where it was read. Who still waits is
        answered with nothing.
        """
        box = self._boxes.require(agent)
        self._waiting.dismiss(box)
        box.terms += 1
        if box.boot_id != boot_id or box.number == 0:
            box.number, box.boot_id = box.number + 1, boot_id
        box.epoch = box.number
        begin = Begin(box.holder(box.number), boot_id, self._clock.now())
        try:
            epoch = await self._ledger.transact(lambda connection: self._ledger.leases.begin(connection, begin))
        except BaseException:
            if box.epoch == begin.holder.epoch:  # nothing says that it was written down: the next hello begins anew
                box.epoch, box.boot_id = None, ""
            raise
        box.holding = box.holding or bool(epoch.held)
        self._deadlines.renew(box)
        return epoch

    def recv(
        self, agent: str, epoch: int, wait_seconds: float, max: int = MAX_BATCH, ack: Sequence[int] = ()
    ) -> "asyncio.Future[Received]":
        """Ack, then lease up to `max` messages, oldest first, waiting for the first as long as said.

        A wait of 0 leases nothing and only counts; the smallest wait above 0 leases what is there and waits no longer
        than for the commit. While the agent is held nothing is leased. When the future is cancelled, what was being
        leased for it goes back without counting as an attempt.
        """
        box = self._boxes.require(agent)
        if box.epoch != epoch and ack:
            self.ack(agent, epoch, ack).add_done_callback(_look_away)
        box.check_epoch(epoch)
        self._deadlines.renew(box)
        return self._waiting.recv(box, epoch, wait_seconds, max, _known(ack))

    def read(self, agent: str, epoch: int, ids: Sequence[int], turn: str) -> "asyncio.Future[Settled]":
        """These leased messages have entered the turn."""
        return self._ledger.do(self._ledger.read, self._marking(agent, epoch, ids, turn))

    def ack(self, agent: str, epoch: int, ids: Sequence[int]) -> "asyncio.Future[Settled]":
        """The turn that read these ended well. Also for an older epoch, while nobody else was given the message."""
        box = self._boxes.require(agent)
        if box.epoch == epoch:
            self._deadlines.renew(box)
        return self._ledger.do(self._ledger.ack, Marking(box.holder(epoch), _known(ids), self._clock.now()))

    def release(
        self, agent: str, epoch: int, ids: Sequence[int], failed: bool, reason: str = ""
    ) -> "asyncio.Future[Settled]":
        """Give messages back. `failed` counts the attempt and backs off; after too many the message is dead.

        Read or not: the harness knows what it tried.
        """
        marking = self._marking(agent, epoch, ids)
        wanted = Return(
            name=agent, incarnation=marking.holder.incarnation, epoch=epoch, ids=marking.ids, now=marking.now,
            note=_storable(reason), counted=failed, unread_too=True, backs_off=failed,
        )  # fmt: skip
        return self._ledger.do(self._ledger.give_back, wanted)

    def heartbeat(self, agent: str, epoch: int) -> None:
        """The harness lives: all it holds is its own for another lease's length."""
        box = self._boxes.require(agent)
        box.check_epoch(epoch)
        self._deadlines.renew(box)

    def cancel_waits(self, agent: str) -> None:
        """Answer those who wait for the agent's mail with nothing. What is being leased for them is given back."""
        if box := self._boxes.get(agent):
            self._waiting.dismiss(box)

    def set_held(self, agent: str, held: bool) -> None:
        """While held, nothing is leased to the agent and its `recv` waits."""
        box = self._boxes.require(agent)
        box.held = held
        if not held:
            self._waiting.arrived(box)

    def probe(self, agent: str, canary: str) -> None:
        """Give a canary of this mark to whoever leases the agent's mail next: no message, and nothing is kept of it.

        It takes the way of one, through the writer; who gets it sends it back with an ack.
        """
        box = self._boxes.require(agent)
        box.canary = canary
        self._waiting.wake(box)

    async def container_died(self, agent: str) -> None:
        """What the agent held goes back to the queue; a message that was read in too many deaths is dead.

        Never raises: what the disk refuses is tried again, until a new epoch has taken the messages over.
        """
        self._take_back(agent, "its container died before the turn ended", died=True)

    def take_back(self, agent: str, note: str) -> None:
        """What the agent held goes back to the queue unharmed: the hive has ended its container. As `container_died`
        it never raises."""
        self._take_back(agent, note, died=False)

    def _take_back(self, agent: str, note: str, *, died: bool) -> None:
        box = self._boxes.get(agent)
        if box is None:
            return
        self._waiting.dismiss(box)
        box.holding = False
        self._ledger.insist(
            Return(
                name=agent, incarnation=box.incarnation, up_to=box.number, now=self._clock.now(), note=note,
                counted=died, died=died,
            )
        )  # fmt: skip

    # looking

    async def receipt(self, id: int, sender: str | None = None) -> Receipt:
        """What became of a message, for the one who sent it; None asks for the operator, who may see all."""
        box = None if sender is None else self._boxes.sender(sender)
        who = None if sender is None else (sender, box.incarnation if box else 0)
        found = (
            await self._database.read(lambda connection: inbox.receipt(connection, id, who)) if may_be_id(id) else None
        )
        if found is None:
            raise FaultError(FaultKind.UNKNOWN_MESSAGE, f"cannot give a receipt of message {id}: you sent none such")
        return found

    async def inbox(self, name: str, limit: int = 50, unread_only: bool = False) -> list[InboxRow]:
        """The newest messages to a recipient, newest last. Looking marks nothing."""
        return await self._database.read(lambda connection: inbox.rows(connection, name, limit, unread_only))

    async def flow(self, limit: int = 50) -> list[InboxRow]:
        """The newest messages between all, newest last."""
        return await self._database.read(lambda connection: inbox.flow(connection, limit))

    async def message(self, id: int) -> InboxRow:
        """One message, whoever it is to. Raises FaultError (`unknown_message`)."""
        found = await self._database.read(lambda connection: inbox.message(connection, id)) if may_be_id(id) else None
        if found is None:
            raise FaultError(FaultKind.UNKNOWN_MESSAGE, f"there is no message {id}")
        return found

    async def unread(self, agent: str) -> int:
        """Queued messages of the agent, backed-off ones included."""
        return await self._database.read(lambda connection: inbox.unread(connection, agent))

    async def unread_counts(self) -> dict[str, int]:
        """The same for every recipient that has any."""
        return await self._database.read(inbox.unread_counts)

    async def dead_letters(self, limit: int = 1000) -> list[InboxRow]:
        """What could not be handled, oldest first."""
        return await self._database.read(lambda connection: inbox.dead_letters(connection, limit))

    async def dead_count(self) -> int:
        return await self._database.read(inbox.dead_count)

    async def wait_in_thread(self, message_id: int, to: str, timeout: float) -> InboxRow | None:
        """The first message to `to` in the message's conversation that came after it; None when none comes in time."""
        return await self._threads.wait(message_id if may_be_id(message_id) else 0, to, timeout)

    # the operator's doing

    async def handled(self, ids: Sequence[int]) -> Settled:
        """The operator has seen these messages of the operator's own inbox."""
        seen, now = _known(ids), self._clock.now()
        return await self._ledger.transact(lambda connection: handle(connection, seen, now))

    async def requeue(self, id: int) -> None:
        """Put a dead message back into its inbox, its attempts forgotten. Raises unknown_message, wrong_state."""
        number = id if may_be_id(id) else 0
        await self._ledger.transact(lambda connection: self._ledger.leases.requeue(connection, number))

    async def drop(self, id: int) -> None:
        """Set a dead message aside for good. Raises unknown_message, wrong_state."""
        number, now = id if may_be_id(id) else 0, self._clock.now()
        await self._ledger.transact(lambda connection: self._ledger.leases.drop(connection, number, now))

    async def vacuum(self, before: float) -> int:
        """Delete what was acked, dead or dropped before that time (Unix seconds), in small steps; how many went.

        What is not settled is never deleted.
        """
        after, deleted = 0, 0
        while step := await self._database.write(_vacuum_step(after, before)):
            after, count = step
            deleted += count
        return deleted

    # inside

    def _restore(self, name: str, incarnation: int, number: int, boot_id: str, holding: int) -> None:
        box = self._boxes.add(name, incarnation, number)
        box.epoch, box.boot_id, box.holding = number or None, boot_id, bool(holding)
        self._deadlines.renew(box)

    def _remove(self, name: str) -> None:
        if box := self._boxes.pop(name, None):
            self._waiting.dismiss(box)

    def _marking(self, agent: str, epoch: int, ids: Sequence[int], turn: str | None = None) -> Marking:
        box = self._boxes.require(agent)
        box.check_epoch(epoch)
        self._deadlines.renew(box)
        return Marking(box.holder(epoch), _known(ids), self._clock.now(), turn)

    def _tell(self, change: MailChange) -> None:
        if change.kind in _ARRIVALS:
            self._threads.tell(change)
            if change.not_before:
                self._deadlines.expect(change.not_before)
            elif box := self._boxes.get(change.recipient):
                self._waiting.arrived(box)
        self.on_change(change)


def _known(ids: Sequence[int]) -> Sequence[int]:
    """Those that can be the id of a message at all."""
    return ids if all(map(may_be_id, ids)) else [number for number in ids if may_be_id(number)]


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _look_away(future: "asyncio.Future[Settled]") -> None:
    """Its caller is being refused anyway and will not ask how this went."""
    if not future.cancelled():
        future.exception()


def _vacuum_step(after: int, before: float) -> Callable[[Connection], tuple[int, int] | None]:
    def step(connection: Connection) -> tuple[int, int] | None:
        found = connection.execute(_SQL["vacuum_range"], {"after": after, "chunk": _VACUUM_CHUNK}).fetchall()
        old = [number for number, sent_at in found if sent_at < before]
        if not old:
            return None
        row = {"after": after, "last": old[-1], "before": before}
        return old[-1], connection.execute(_SQL["vacuum"], row).rowcount

    return step
