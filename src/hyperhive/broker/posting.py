"""Storing messages: dedupe, threads, inbox limits, bounces. All of it runs on the writer thread."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from hyperhive.broker.database import Connection
from hyperhive.broker.letters import Draft, Limits, MailChange, MailChangeKind, may_be_id
from hyperhive.broker.sql import Queries
from hyperhive.protocol.agent import MessageKind, Sent
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import OPERATOR, SYSTEM

_SQL: Final = Queries("mailbox")
_COLUMNS: Final = (
    "id, mid, sender, sender_incarnation, recipient, recipient_incarnation, kind, body, in_reply_to, caused_by,"
    " thread, broadcast, sent_at, state, epoch"
)
_ROW: Final = f"({', '.join('?' * 15)})"
_INSERTS: Final = {
    rows: f"INSERT INTO messages ({_COLUMNS}) VALUES {', '.join([_ROW] * rows)} ON CONFLICT DO NOTHING"
    for rows in (64, 16, 4, 1)
}
Row = tuple[Any, ...]


class Posting(Struct, frozen=True):
    """A draft that may be stored: the addresses are resolved.

    `epoch` is set where the one recipient's harness waits: the message is stored as leased to it, if nothing is queued
    before it.
    """

    draft: Draft
    sender_incarnation: int
    to: Sequence[tuple[str, int]]
    sent_at: float
    epoch: int = 0


class Posted(Struct, frozen=True):
    sent: Sent
    thread: int
    leased: bool = False


class Returned(Struct, frozen=True):
    """A message that was taken from its recipient, with what its bounce needs."""

    id: int
    sender: str
    sender_incarnation: int
    recipient: str
    thread: int
    state: str
    not_before: float
    attempts: int
    note: str
    beginning: str


class Postbox:
    """Inserts messages.

    Ids are given here, so that one statement stores all messages that waited together and returns nothing. `_room` is
    what each inbox can surely take: it may err on the low side, and is counted anew where that matters.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._room: dict[str, int] = {}
        self._next_id = 0

    def requeued(self, name: str) -> None:
        """More is queued for the recipient than was posted here."""
        self._room.pop(name, None)

    def post(self, connection: Connection, postings: list[Posting]) -> list[Posted | FaultError]:
        """Store each or refuse it; a mid that is known is answered with its first result."""
        batch = self._batch(connection)
        results: list[Posted | FaultError] = []
        single: list[tuple[int, Posting]] = []
        for posting in postings:
            if posting.draft.to == "*":
                batch.insert()  # a broadcast looks for its first result now: those before it must be there
                known = first_result(connection, posting)
                results.append(known or self._plan(batch, posting))
                continue
            posted = self._plan(batch, posting)
            if isinstance(posted, FaultError):
                results.append(first_result(connection, posting) or posted)
            else:
                single.append((len(results), posting))
                results.append(posted)
        self._next_id = batch.next_id
        if batch.insert() and not batch.complete():
            _answer_repeats(connection, batch, single, results)
        return results

    def bounce(self, connection: Connection, returned: Iterable[Returned], now: float) -> list[MailChange]:
        """Tell the senders of what died, as far as they are still there; a bounce itself is never bounced."""
        batch = self._batch(connection)
        changes = []
        for dead in returned:
            self.requeued(dead.recipient)
            if dead.state != "dead" or dead.sender == SYSTEM or not _is_alive(connection, dead):
                continue
            self.requeued(dead.sender)
            row = _bounce_row(batch.next_id, dead, now)
            batch.add(row)
            changes.append(MailChange(MailChangeKind.SENT, row[0], SYSTEM, dead.sender, dead.thread))
        self._next_id = batch.next_id
        batch.insert()
        return changes

    def _batch(self, connection: Connection) -> "_Batch":
        if not self._next_id:
            highest = connection.execute(_SQL["highest_id"]).fetchone()
            self._next_id = highest[0] + 1 if highest else 1
        return _Batch(connection, self._next_id)

    def _plan(self, batch: "_Batch", posting: Posting) -> Posted | FaultError:
        draft = posting.draft
        thread = _thread(batch.connection, posting)
        if isinstance(thread, FaultError):
            return thread
        leased = bool(posting.epoch) and self._is_empty(batch, posting.to[0][0])
        if not leased and (fault := self._make_room(batch, posting.to)):
            return fault
        first = batch.next_id
        thread = thread or first
        broadcast = first if draft.to == "*" else None
        mid = draft.mid
        for number, (name, incarnation) in enumerate(posting.to, first):
            batch.add((
                number, mid, draft.sender, posting.sender_incarnation, name, incarnation, draft.kind, draft.body,
                draft.in_reply_to, draft.turn, thread, broadcast, posting.sent_at,
                "leased" if leased else "queued", posting.epoch if leased else 0,
            ))  # fmt: skip
            mid = None  # one mid for the whole broadcast
        ids = list(range(first, first + len(posting.to)))
        return Posted(Sent(ids=ids, recipients=[name for name, _ in posting.to]), thread, leased)

    def _is_empty(self, batch: "_Batch", name: str) -> bool:
        limit = self._limit(name)
        return self._room.get(name) == limit or self._count_room(batch, name) == limit

    def _make_room(self, batch: "_Batch", to: Sequence[tuple[str, int]]) -> FaultError | None:
        full = [name for name, _ in to if self._room.get(name, 0) < 1 and self._count_room(batch, name) < 1]
        if full:
            return FaultError(
                FaultKind.INBOX_FULL,
                f"cannot send to {' and '.join(map(repr, full[:5]))}: {self._limit(full[0])} messages wait there;"
                " try again when some have been handled",
            )
        for name, _ in to:
            self._room[name] -= 1
        return None

    def _count_room(self, batch: "_Batch", name: str) -> int:
        batch.insert()
        queued: int = batch.connection.execute(_SQL["count_queued"], {"recipient": name}).fetchone()[0]
        self._room[name] = self._limit(name) - queued
        return self._room[name]

    def _limit(self, name: str) -> int:
        return self._limits.operator_inbox if name == OPERATOR else self._limits.inbox


class _Batch:
    """Rows on their way into the table."""

    def __init__(self, connection: Connection, next_id: int) -> None:
        self.connection = connection
        self.next_id = self.first_id = next_id
        self._rows: list[Row] = []
        self._before = connection.total_changes

    def add(self, row: Row) -> None:
        self._rows.append(row)
        self.next_id += 1

    def insert(self) -> bool:
        rows, self._rows = self._rows, []
        start = 0
        for size, statement in _INSERTS.items():
            while len(rows) - start >= size:
                values = rows[start] if size == 1 else [value for row in rows[start : start + size] for value in row]
                self.connection.execute(statement, values)
                start += size
        return self.next_id > self.first_id

    def complete(self) -> bool:
        """Whether every row went in: none had a mid that was known."""
        return self.connection.total_changes - self._before == self.next_id - self.first_id


def first_result(connection: Connection, posting: Posting) -> Posted | None:
    """What an earlier send with the same mid was answered with."""
    draft = posting.draft
    key = {"sender": draft.sender, "incarnation": posting.sender_incarnation, "mid": draft.mid}
    row = connection.execute(_SQL["first_result"], key).fetchone()
    if row is None:
        return None
    number, recipient, thread, broadcast = row
    rows = [(number, recipient)]
    if broadcast is not None:
        rows = connection.execute(_SQL["broadcast_rows"], {"first": broadcast}).fetchall()
    sent = Sent(ids=[number for number, _ in rows], recipients=[name for _, name in rows], duplicate=True)
    return Posted(sent, thread)


def _answer_repeats(
    connection: Connection,
    batch: _Batch,
    single: list[tuple[int, Posting]],
    results: list[Posted | FaultError],
) -> None:
    between = {"first": batch.first_id, "last": batch.next_id - 1}
    stored = {row[0] for row in connection.execute(_SQL["stored_between"], between)}
    for index, posting in single:
        planned = results[index]
        if isinstance(planned, Posted) and planned.sent.ids[0] not in stored:
            known = first_result(connection, posting)
            assert known is not None, "only a known mid keeps a message out"
            results[index] = known


def _thread(connection: Connection, posting: Posting) -> int | FaultError:
    """The conversation the draft belongs to; 0 for a new one."""
    draft = posting.draft
    if draft.in_reply_to is not None:
        return _replied_thread(connection, posting, draft.in_reply_to)
    if draft.turn is None:
        return 0
    row = connection.execute(_SQL["thread_of_turn"], {"turn": draft.turn, "agent": draft.sender}).fetchone()
    return row[0] if row else 0


def _replied_thread(connection: Connection, posting: Posting, number: int) -> int | FaultError:
    key = {"id": number if may_be_id(number) else 0}
    row = connection.execute(_SQL["parties"], key).fetchone()
    me = (posting.draft.sender, posting.sender_incarnation)
    if row is None or me not in ((row[0], row[1]), (row[2], row[3])):
        return FaultError(
            FaultKind.UNKNOWN_MESSAGE,
            f"cannot reply to message {number}: you have neither sent nor received it; leave in_reply_to out",
        )
    thread: int = row[4]
    return thread


def _is_alive(connection: Connection, dead: Returned) -> bool:
    who = {"name": dead.sender, "incarnation": dead.sender_incarnation}
    return connection.execute(_SQL["is_alive"], who).fetchone() is not None


def _bounce_row(number: int, dead: Returned, now: float) -> Row:
    body = (
        f"Your message {dead.id} to {dead.recipient!r} was not handled: {dead.note or 'it could not be delivered'} "
        f"(attempts: {dead.attempts}). It is kept as a dead letter; while {dead.recipient!r} is there, the operator "
        f"can requeue it. It began:\n{dead.beginning}"
    )
    return (
        number, None, SYSTEM, 0, dead.sender, dead.sender_incarnation, MessageKind.SYSTEM.value, body,
        dead.id, None, dead.thread, None, now, "queued", 0,
    )  # fmt: skip
