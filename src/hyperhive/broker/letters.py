"""The mailbox's values: what is asked of it and what it tells. Structs, because one is made for every message."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec import Struct

from hyperhive.protocol.agent import LEASE_S, MAX_BODY, Envelope


class Draft(Struct, frozen=True, kw_only=True):
    """A message as its sender hands it in. `sender` and `kind` are what the hive vouches for.

    `to` is a recipient's name or `*`: every agent but the sender, or those of them that are in `among`.
    `mid` is made by the sender before its first try; without one a repeated draft is a new message.
    """

    sender: str
    kind: str
    to: str
    body: str
    mid: str | None = None
    in_reply_to: int | None = None
    turn: str | None = None
    among: frozenset[str] | None = None


class MailChangeKind(StrEnum):
    SENT = "sent"
    LEASED = "leased"
    READ = "read"
    HANDLED = "handled"
    REQUEUED = "requeued"
    DEAD = "dead"
    DROPPED = "dropped"


class MailChange(Struct, frozen=True):
    """What became of a message, told after the commit that made it so."""

    kind: MailChangeKind
    id: int
    sender: str
    recipient: str
    thread: int
    note: str = ""
    not_before: float = 0  #: when a requeued message may be tried again; 0: at once


class Epoch(Struct, frozen=True, kw_only=True):
    """A harness's term: its number, and what it still holds from before its connection was lost."""

    number: int
    held: list[Envelope]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the mailbox refuses or gives up on. Rates are per sender; the operator and the hive itself have none."""

    body_bytes: int = MAX_BODY
    inbox: int = 1_000
    operator_inbox: int = 10_000
    sends_per_second: float = 50
    burst: int = 200
    lease_s: float = LEASE_S
    max_attempts: int = 5
    max_deaths: int = 3
    backoff_s: tuple[float, ...] = (0, 5, 30, 120)


DEFAULT_LIMITS: Final = Limits()


def may_be_id(number: int) -> bool:
    """Whether a message could have this id: what comes over a wire may be any integer."""
    return 0 < number < 2**63
