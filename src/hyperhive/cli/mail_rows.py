"""Rows for the way of a message through the mailbox."""

from typing import Final

import msgspec

from hyperhive.cli.row import Row
from hyperhive.cli.safe import one_line
from hyperhive.protocol.events import HiveEvent

SENT: Final = "message_sent"
_STEPS: Final = {
    SENT: ("✉", "", "blue"),
    "message_requeued": ("↺", "goes back into the queue", "yellow"),
    "message_dead": ("✗", "was given up", "red"),
}
"""The steps that say something to a reader: mark, words, style."""


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a message's step; every field may be missing."""

    id: int = 0
    sender: str = ""
    recipient: str = ""
    note: str = ""


_decode: Final = msgspec.json.Decoder(Mail).decode


def rows(event: HiveEvent) -> list[Row]:
    mail = _read(event)
    if mail is None or event.kind not in _STEPS:
        return []
    mark, words, style = _STEPS[event.kind]
    note = f"({one_line(mail.note, 200)})" if mail.note else ""
    parts = [f"{mark} #{mail.id} {one_line(mail.sender, 40)} → {one_line(mail.recipient, 40)}", words, note]
    return [Row(text=" ".join(part for part in parts if part), style=style)]


def is_mail_to(recipient: str, event: HiveEvent) -> bool:
    """Whether the event is a message's arrival in that inbox."""
    mail = _read(event) if event.kind == SENT else None
    return mail is not None and mail.recipient == recipient


def _read(event: HiveEvent) -> Mail | None:
    try:
        return _decode(event.payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
