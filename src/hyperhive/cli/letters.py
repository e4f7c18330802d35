"""Messages as the operator reads them."""

from collections.abc import Iterable

from hyperhive.cli.hive import ask
from hyperhive.cli.safe import clean
from hyperhive.protocol import host
from hyperhive.protocol.ids import OPERATOR


def letter(row: host.InboxRow) -> str:
    """A heading and the body, indented so that a body cannot pass for a heading."""
    return "\n".join([_heading(row), *("  " + line for line in clean(row.body).split("\n"))])


def _heading(row: host.InboxRow) -> str:
    notes = [row.sent_at, row.state]
    if row.in_reply_to:
        notes.append(f"answers {row.in_reply_to}")
    if row.attempt > 1:
        notes.append(f"attempt {row.attempt}")
    if row.note:
        notes.append(row.note)
    return clean(f"#{row.id} {row.sender} → {row.to} · {' · '.join(notes)}").replace("\n", " ")


def mark_handled(rows: Iterable[host.InboxRow]) -> None:
    """The operator has seen these."""
    ids = [row.id for row in rows if row.to == OPERATOR]
    if ids:
        ask(host.InboxHandled(ids=ids))
