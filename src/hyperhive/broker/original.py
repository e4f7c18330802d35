"""The database of the original, read into rows of ours: messages, approvals, the operator's questions."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from hyperhive.broker.database import Connection, read_tables
from hyperhive.protocol.ids import MANAGER, OPERATOR, SYSTEM

Row: TypeAlias = Mapping[str, Any]

TABLES: Final = ("messages", "approvals", "operator_questions", "reminders", "schedules")
KINDS: Final = ("spawn", "apply_commit", "init_config")
"""Of approvals that this hive can carry out."""
MAX_BODY: Final = 64 << 10
_STATUSES: Final = ("pending", "approved", "denied", "failed", "cancelled")
_NOT_OURS: Final = "taken over from the original; this hive cannot carry it out: ask for it again"


@dataclass(frozen=True, kw_only=True)
class Living:
    """An agent as it is called now, and the number of its new life."""

    name: str
    incarnation: int


@dataclass(kw_only=True)
class Original:
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    counts: dict[str, int] = field(default_factory=dict)  #: what was taken
    left: list[str] = field(default_factory=list)  #: what was not, in words

    @classmethod
    def read(cls, database: Path, beside: Path) -> "Original":
        """`beside` is a directory of ours for a copy: the original is not opened. Raises FaultError (`storage`)."""
        return cls(tables=read_tables(database, TABLES, beside))

    def rows(self, table: str) -> Sequence[Mapping[str, Any]]:
        return self.tables.get(table, ())

    def insert(self, connection: Connection, rename: Callable[[str], str], living: Mapping[str, Living]) -> None:
        """All of it, into an empty database of ours. `rename` gives a principal's name of now."""
        for what, put in (("messages", self._message), ("approvals", self._approval), ("questions", self._question)):
            table = "operator_questions" if what == "questions" else what
            self.counts[what] = sum(put(connection, row, rename, living) for row in self.rows(table))
            if lost := len(self.rows(table)) - self.counts[what]:
                self.left.append(f"{lost} {what}: to or from nobody that there is, or damaged")
        for table in ("reminders", "schedules"):
            if self.rows(table):
                self.left.append(f"{len(self.rows(table))} {table}: set them anew")

    def _message(
        self,
        connection: Connection,
        row: Mapping[str, Any],
        rename: Callable[[str], str],
        living: Mapping[str, Living],
    ) -> bool:
        number, sender, recipient = (
            _number(row.get("id")),
            _name(row, "sender", rename),
            _name(row, "recipient", rename),
        )
        sent, body = _time(row.get("sent_at")), _text(row.get("body"))
        if number is None or sent is None or not sender or not _is_there(recipient, living):
            return False
        state, attempts, settled = delivery(row)
        reply = _number(row.get("in_reply_to"))
        connection.execute(
            "INSERT INTO messages (id, sender, sender_incarnation, recipient, recipient_incarnation, kind, body,"
            " in_reply_to, thread, sent_at, state, attempts, settled_at, note)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, sender, _life(sender, living), recipient, _life(recipient, living), kind_of(sender, living),
             body[:MAX_BODY], reply, reply or number, sent, state, attempts, settled,
             "cut off at 64 KiB by the migration" if len(body) > MAX_BODY else ""),
        )  # fmt: skip
        return True

    def _approval(
        self,
        connection: Connection,
        row: Mapping[str, Any],
        rename: Callable[[str], str],
        living: Mapping[str, Living],
    ) -> bool:
        number, agent = _number(row.get("id")), _name(row, "agent", rename)
        kind, status, asked = _text(row.get("kind")), _text(row.get("status")), _time(row.get("requested_at"))
        if number is None or not agent or asked is None or status not in _STATUSES:
            return False
        orphaned = agent not in living and kind == "apply_commit"
        resolved, note = _time(row.get("resolved_at")), row.get("note")
        sha = _sha(row.get("fetched_sha"))
        if status == "pending" and (kind not in KINDS or orphaned or (kind == "apply_commit" and sha is None)):
            status, resolved, note = "cancelled", asked, _NOT_OURS
        connection.execute(
            "INSERT INTO approvals (id, agent, kind, commit_ref, fetched_sha, requested_at, status, resolved_at, note,"
            " description, requester) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, agent, kind[:64], _text(row.get("commit_ref"))[:64], sha, asked, status, resolved,
             None if note is None else _text(note)[:20_000], _text(row.get("description"))[:2000] or None, MANAGER),
        )  # fmt: skip
        return True

    def _question(
        self,
        connection: Connection,
        row: Mapping[str, Any],
        rename: Callable[[str], str],
        living: Mapping[str, Living],
    ) -> bool:
        number, asker = _number(row.get("id")), _name(row, "asker", rename)
        target = _name(row, "target", rename) or OPERATOR
        asked, question = _time(row.get("asked_at")), _text(row.get("question"))
        if number is None or asked is None or not question or asker not in living or not _is_there(target, living):
            return False
        answered, answer = _time(row.get("answered_at")), row.get("answer")
        connection.execute(
            "INSERT INTO questions (id, asker, asker_incarnation, target, target_incarnation, question, options,"
            " multi, asked_at, deadline_at, answered_at, answer, answerer)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, asker, _life(asker, living), target, _life(target, living), question[:MAX_BODY],
             _options(row.get("options_json")), int(bool(row.get("multi"))), asked, _time(row.get("deadline_at")),
             answered, None if answered is None else _text(answer)[:MAX_BODY], None if answered is None else target),
        )  # fmt: skip
        return True


def delivery(row: Mapping[str, Any]) -> tuple[str, int, float | None]:
    """State, attempts, when it was settled.

    Where the original knew no acknowledgement, what was delivered was handled. Where it did, what was delivered and
    not acknowledged comes again, as a second attempt.
    """
    delivered = _time(row.get("delivered_at"))
    if "acked_at" not in row:
        return ("acked", 1, delivered) if delivered is not None else ("queued", 0, None)
    acked = _time(row["acked_at"])
    if acked is not None:
        return "acked", 1, acked
    return "queued", 1 if delivered is not None else 0, None


def kind_of(sender: str, living: Mapping[str, Living]) -> str:
    """The envelope's kind: who it is from, as far as the original told."""
    fixed = {OPERATOR: "operator", SYSTEM: "system", MANAGER: "manager"}
    return fixed.get(sender, "agent" if sender in living else "external")


def _is_there(name: str, living: Mapping[str, Living]) -> bool:
    return name == OPERATOR or name in living


def _life(name: str, living: Mapping[str, Living]) -> int:
    return living[name].incarnation if name in living else 0


def _name(row: Mapping[str, Any], key: str, rename: Callable[[str], str]) -> str:
    return rename(_text(row.get(key))[:128])


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < 1 << 53 else None


def _time(value: Any) -> float | None:
    """Unix seconds, out of seconds, milliseconds or a date in text."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
        except ValueError:
            return None
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        return None
    return value / 1000 if value > 1e11 else float(value)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace").replace("\0", "")
    return "" if value is None else str(value).replace("\0", "")


def _sha(value: Any) -> str | None:
    text = _text(value)
    return text if len(text) == 40 and set(text) <= set("0123456789abcdef") else None


def _options(value: Any) -> str:
    try:
        found = msgspec.json.decode(_text(value) or "[]", type=list[str] | None)
    except msgspec.MsgspecError:
        found = []
    return msgspec.json.encode(found or []).decode()
