"""Reading the mailbox without changing it. All of it runs on a reader thread."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import UNSET

from hyperhive.broker.database import Connection
from hyperhive.broker.sql import Queries
from hyperhive.protocol.agent import Receipt, ReceiptState
from hyperhive.protocol.host import InboxRow

_SQL: Final = Queries("mailbox")
_SEEN_AS: Final[Mapping[str, ReceiptState]] = {
    "queued": ReceiptState.SENT,
    "leased": ReceiptState.LEASED,
    "read": ReceiptState.READ,
    "acked": ReceiptState.HANDLED,
    "dead": ReceiptState.DEAD,
    "dropped": ReceiptState.DEAD,
}
MAX_LIST: Final = 1000


def rows(connection: Connection, name: str, limit: int, unread_only: bool) -> list[InboxRow]:
    """The newest messages to a recipient, newest last."""
    query = _SQL["unread_inbox" if unread_only else "inbox"]
    found = connection.execute(query, {"recipient": name, "limit": min(limit, MAX_LIST)}).fetchall()
    return [_row(row) for row in reversed(found)]


def flow(connection: Connection, limit: int) -> list[InboxRow]:
    """The newest messages between all, newest last."""
    found = connection.execute(_SQL["flow"], {"limit": min(limit, MAX_LIST)}).fetchall()
    return [_row(row) for row in reversed(found)]


def dead_letters(connection: Connection, limit: int = MAX_LIST) -> list[InboxRow]:
    """Oldest first."""
    return [_row(row) for row in connection.execute(_SQL["dead_letters"], {"limit": min(limit, MAX_LIST)})]


def dead_count(connection: Connection) -> int:
    count: int = connection.execute(_SQL["count_dead"]).fetchone()[0]
    return count


def message(connection: Connection, number: int) -> InboxRow | None:
    row = connection.execute(_SQL["message"], {"id": number}).fetchone()
    return _row(row) if row else None


def next_in_thread(connection: Connection, thread: int, after: int, to: str) -> InboxRow | None:
    """The first message to the recipient in the conversation that came after."""
    row = connection.execute(_SQL["next_in_thread"], {"thread": thread, "after": after, "recipient": to}).fetchone()
    return _row(row) if row else None


def receipt(connection: Connection, number: int, sender: tuple[str, int] | None) -> Receipt | None:
    """None where there is no such message, or where it is not the sender's."""
    row = connection.execute(_SQL["receipt"], {"id": number}).fetchone()
    if row is None or sender not in (None, row[8:10]):
        return None
    number, to, state, sent_at, attempts, read_at, settled_at, note, *_ = row
    return Receipt(
        id=number, to=to, state=_SEEN_AS[state], sent_at=sent_at, attempt=attempts + 1, read_at=read_at,
        handled_at=settled_at if state == "acked" else None, note=note,
    )  # fmt: skip


def unread(connection: Connection, name: str) -> int:
    count: int = connection.execute(_SQL["count_queued"], {"recipient": name}).fetchone()[0]
    return count


def unread_counts(connection: Connection) -> dict[str, int]:
    """Of every recipient that has any."""
    return dict(connection.execute(_SQL["queued_by_recipient"]).fetchall())


def rfc3339(seconds: float) -> str:
    """Unix seconds as the admin wire writes a time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _row(row: tuple[Any, ...]) -> InboxRow:
    number, sender, to, kind, body, sent_at, state, in_reply_to, thread, attempts, note = row
    return InboxRow(
        id=number, sender=sender, to=to, kind=kind, body=body, sent_at=rfc3339(sent_at), state=_SEEN_AS[state],
        in_reply_to=UNSET if in_reply_to is None else in_reply_to, thread=thread, attempt=attempts + 1,
        note=note or UNSET,
    )  # fmt: skip
