"""Who holds which message: leasing, reading, acking, giving back. All of it runs on the writer thread."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from hyperhive.broker.database import Connection
from hyperhive.broker.letters import Epoch, Limits, MailChange, MailChangeKind
from hyperhive.broker.posting import Postbox, Returned
from hyperhive.broker.sql import Queries
from hyperhive.protocol.agent import EarlierSend, Envelope, Settled
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import OPERATOR

_SQL: Final = Queries("mailbox")
_HEADLINE: Final = 80


class Holder(Struct, frozen=True):
    """Who acts: one term of one life of a recipient."""

    name: str
    incarnation: int
    epoch: int


class LeaseOrder(Struct, frozen=True):
    holder: Holder
    max: int
    ack: Sequence[int]
    now: float


class Leased(Struct, frozen=True):
    messages: list[Envelope]
    unread: int


class Marking(Struct, frozen=True):
    """Messages of the holder that move on; `turn` where one reads them."""

    holder: Holder
    ids: Sequence[int]
    now: float
    turn: str | None = None


class Return(Struct, frozen=True, kw_only=True):
    """Messages to take from a recipient: those of an epoch, of those up to one, of all others. None means any.

    An attempt counts once its message was read. What was only leased counts where `unread_too` says so: when the
    harness calls it failed, and when it kept silent, so that mail which is leased again and again and never read comes
    to an end, and its sender hears of it. It is marked as begun all the same, unless it is certain that it was not:
    a harness tells of reading a little after claude has begun.
    """

    name: str
    now: float
    note: str
    incarnation: int | None = None
    ids: Sequence[int] | None = None
    epoch: int | None = None
    up_to: int | None = None
    other_than: int | None = None
    counted: bool = False  #: an attempt has failed
    unread_too: bool = False  #: also where the message was not read
    died: bool = False  #: the container died with it, if the message was read
    backs_off: bool = False


class Begin(Struct, frozen=True):
    holder: Holder
    boot_id: str
    now: float


class Leases:
    """The moves between the states."""

    def __init__(self, postbox: Postbox, limits: Limits) -> None:
        self.postbox = postbox
        self._limits = limits
        self._delays = msgspec.json.encode(limits.backoff_s).decode()

    def lease(self, connection: Connection, orders: list[LeaseOrder]) -> list[tuple[Leased, list[MailChange]]]:
        return [_lease(connection, order) for order in orders]

    def ack(self, connection: Connection, markings: list[Marking]) -> list[tuple[Settled, list[MailChange]]]:
        return [ack(connection, marking) for marking in markings]

    def read(self, connection: Connection, markings: list[Marking]) -> list[tuple[Settled, list[MailChange]]]:
        return [_read(connection, marking) for marking in markings]

    def give_back(self, connection: Connection, returns: list[Return]) -> list[tuple[Settled, list[MailChange]]]:
        return [self._give_back(connection, wanted) for wanted in returns]

    def begin(self, connection: Connection, begin: Begin) -> tuple[Epoch, list[MailChange]]:
        """Take everything from other epochs, write this one down, list what it holds."""
        holder = begin.holder
        note = "its harness was replaced before the turn ended"
        taken = Return(name=holder.name, now=begin.now, note=note, other_than=holder.epoch, counted=True)
        _, changes = self._give_back(connection, taken)
        row = {"name": holder.name, "incarnation": holder.incarnation, "epoch": holder.epoch, "boot_id": begin.boot_id}
        connection.execute(_SQL["put_epoch"], row)
        rows = connection.execute(_SQL["held"], _holder(holder))
        held = [_envelope(connection, row, holder.incarnation) for row in rows.fetchall()]
        return Epoch(number=holder.epoch, held=held), changes

    def kill_mail(self, connection: Connection, name: str, spare: int | None, now: float) -> list[MailChange]:
        """The recipient is no more (or is `spare`, a new one of the same name): its open mail dies and bounces."""
        row = {"recipient": name, "incarnation": spare, "now": now, "note": f"{name!r} was destroyed"}
        dead = [Returned(*row) for row in connection.execute(_SQL["kill_mail"], row)]
        return self._tell(connection, dead, now)

    def requeue(self, connection: Connection, number: int) -> tuple[None, list[MailChange]] | FaultError:
        rows = connection.execute(_SQL["requeue"], {"id": number}).fetchall()
        if not rows:
            return _not_dead(connection, number, "requeue")
        self.postbox.requeued(rows[0][2])
        return None, [MailChange(MailChangeKind.REQUEUED, *row) for row in rows]

    def drop(self, connection: Connection, number: int, now: float) -> tuple[None, list[MailChange]] | FaultError:
        rows = connection.execute(_SQL["drop"], {"id": number, "now": now}).fetchall()
        if not rows:
            return _not_dead(connection, number, "drop")
        return None, [MailChange(MailChangeKind.DROPPED, *row) for row in rows]

    def _give_back(self, connection: Connection, wanted: Return) -> tuple[Settled, list[MailChange]]:
        row = {
            "recipient": wanted.name, "incarnation": wanted.incarnation, "epoch": wanted.epoch, "up_to": wanted.up_to,
            "other_than": wanted.other_than, "ids": None if wanted.ids is None else _json(wanted.ids),
            "read": wanted.counted, "leased": wanted.counted and wanted.unread_too, "died": wanted.died,
            "now": wanted.now, "note": wanted.note,
            "delays": self._delays if wanted.backs_off else "[0]",
            "max_attempts": self._limits.max_attempts, "max_deaths": self._limits.max_deaths,
        }  # fmt: skip
        returned = [Returned(*row) for row in connection.execute(_SQL["give_back"], row)]
        done = {message.id for message in returned}
        settled = Settled(done=len(done), stale=[number for number in wanted.ids or () if number not in done])
        return settled, self._tell(connection, returned, wanted.now)

    def _tell(self, connection: Connection, returned: list[Returned], now: float) -> list[MailChange]:
        if not returned:
            return []
        returned.sort(key=lambda message: message.id)
        return [_returned_change(message) for message in returned] + self.postbox.bounce(connection, returned, now)


def ack(connection: Connection, marking: Marking) -> tuple[Settled, list[MailChange]]:
    """Those that the epoch was the last to hold are done with."""
    row = _marked(marking)
    rows = connection.execute(_SQL["ack"], row).fetchall()
    done = {acked[0] for acked in rows}
    if len(done) < len(marking.ids):
        done |= {acked[0] for acked in connection.execute(_SQL["acked_already"], row)}
    stale = [number for number in marking.ids if number not in done] if len(done) < len(marking.ids) else []
    return Settled(done=len(rows), stale=stale), _moved(MailChangeKind.HANDLED, marking.holder.name, rows)


def handle(connection: Connection, ids: Sequence[int], now: float) -> tuple[Settled, list[MailChange]]:
    """The operator has seen these; the operator leases nothing."""
    rows = connection.execute(_SQL["handle"], {"ids": _json(ids), "now": now}).fetchall()
    done = {row[0] for row in rows}
    settled = Settled(done=len(done), stale=[number for number in ids if number not in done])
    return settled, _moved(MailChangeKind.HANDLED, OPERATOR, rows)


def _read(connection: Connection, marking: Marking) -> tuple[Settled, list[MailChange]]:
    rows = connection.execute(_SQL["read"], _marked(marking) | {"turn": marking.turn}).fetchall()
    done = {row[0] for row in rows}
    settled = Settled(done=len(done), stale=[number for number in marking.ids if number not in done])
    return settled, _moved(MailChangeKind.READ, marking.holder.name, rows)


def _lease(connection: Connection, order: LeaseOrder) -> tuple[Leased, list[MailChange]]:
    holder = order.holder
    changes: list[MailChange] = []
    if order.ack:
        changes += ack(connection, Marking(holder, order.ack, order.now))[1]
    queued: int = connection.execute(_SQL["count_queued"], {"recipient": holder.name}).fetchone()[0]
    messages = _take(connection, order) if queued and order.max else []
    changes += [
        MailChange(MailChangeKind.LEASED, message.id, message.sender, message.to, message.thread)
        for message in messages
    ]
    return Leased(messages, queued - len(messages)), changes


def _take(connection: Connection, order: LeaseOrder) -> list[Envelope]:
    row = _holder(order.holder) | {"now": order.now, "max": order.max}
    rows = connection.execute(_SQL["lease"], row).fetchall()
    rows.sort()
    return [_envelope(connection, row, order.holder.incarnation) for row in rows]


def _envelope(connection: Connection, row: tuple[Any, ...], incarnation: int) -> Envelope:
    number, sender, to, kind, body, sent_at, in_reply_to, thread, attempts, broadcast, turns = row
    earlier = [] if turns == "[]" else _earlier_sends(connection, to, incarnation, turns)
    return Envelope(
        id=number, sender=sender, to=to, kind=kind, body=body, sent_at=sent_at, in_reply_to=in_reply_to,
        thread=thread, attempt=attempts + 1, broadcast=broadcast is not None, begun=turns != "[]",
        earlier_sends=earlier,
    )  # fmt: skip


def _earlier_sends(connection: Connection, sender: str, incarnation: int, turns: str) -> list[EarlierSend]:
    row = {"turns": turns, "sender": sender, "incarnation": incarnation}
    return [
        EarlierSend(id=number, to=to, sent_at=sent_at, headline=headline(body))
        for number, to, sent_at, body in connection.execute(_SQL["sent_in_turns"], row)
    ]


def headline(body: str) -> str:
    """The first line of it, or as much as fits."""
    line = body[: 4 * _HEADLINE].strip().partition("\n")[0]
    return line if len(line) <= _HEADLINE else line[: _HEADLINE - 1] + "…"


def _moved(kind: MailChangeKind, name: str, rows: Iterable[tuple[Any, ...]]) -> list[MailChange]:
    return [MailChange(kind, number, sender, name, thread) for number, sender, thread in rows]


def _returned_change(message: Returned) -> MailChange:
    kind = MailChangeKind.DEAD if message.state == "dead" else MailChangeKind.REQUEUED
    return MailChange(
        kind, message.id, message.sender, message.recipient, message.thread, message.note, message.not_before
    )


def _marked(marking: Marking) -> dict[str, Any]:
    return _holder(marking.holder) | {"ids": _json(marking.ids), "now": marking.now}


def _holder(holder: Holder) -> dict[str, Any]:
    return {"recipient": holder.name, "incarnation": holder.incarnation, "epoch": holder.epoch}


def _json(ids: Sequence[int]) -> str:
    return msgspec.json.encode(ids).decode()


def _not_dead(connection: Connection, number: int, verb: str) -> FaultError:
    row = connection.execute(_SQL["state_of"], {"id": number}).fetchone()
    if row is None:
        return FaultError(FaultKind.UNKNOWN_MESSAGE, f"cannot {verb} message {number}: there is none with this id")
    state, recipient = row
    gone = f"its recipient {recipient!r} is no more; send its text anew"
    reason = gone if state == "dead" else f"it is {state}, not dead"
    return FaultError(FaultKind.WRONG_STATE, f"cannot {verb} message {number}: {reason}")
