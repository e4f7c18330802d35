"""The database of the original, read into rows of ours: messages, approvals, the operator's questions, reminders."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from hyperhive.broker.database import Connection, read_tables
from hyperhive.protocol.ids import MANAGER, OPERATOR, SYSTEM

Row: TypeAlias = Mapping[str, Any]

TABLES: Final = ("messages", "approvals", "operator_questions", "reminders", "schedules", "schedule_targets")
KINDS: Final = ("spawn", "apply_commit", "init_config")
"""Of approvals that this hive can carry out."""
MAX_BODY: Final = 64 << 10
_STATUSES: Final = ("pending", "approved", "denied", "failed", "cancelled")
_DAMAGED: Final = "damaged"
_NOBODY: Final = "to or from nobody that there is"
_MAX_LISTED: Final = 50
_REMINDED: Final = ("agent", "owner")
_REMINDER: Final = ("message", "body")
_DUE: Final = ("fire_at_unix", "fire_at", "due_at", "deliver_at", "at_unix_timestamp", "remind_at")
_DONE: Final = ("fired_at", "sent_at", "delivered_at")
"""What columns of reminders may be called: they were called differently in their time."""
_NOT_OURS: Final = "taken over from the original; this hive cannot carry it out: ask for it again"


@dataclass(frozen=True, kw_only=True)
class Living:
    """An agent as it is called now, and the number of its new life."""

    name: str
    incarnation: int


@dataclass(kw_only=True)
class Original:
    tables: Mapping[str, Sequence[Row]]
    others: Mapping[str, int] = field(default_factory=dict)  #: rows of tables that nothing is made of
    taken: list[str] = field(default_factory=list)  #: what was taken, in words
    left: list[str] = field(default_factory=list)  #: what was not, and why

    @classmethod
    def read(cls, database: Path, beside: Path) -> "Original":
        """`beside` is a directory of ours for a copy: the original is not opened. Raises FaultError (`storage`)."""
        tables, others = read_tables(database, TABLES, beside)
        return cls(tables=tables, others=others)

    def rows(self, table: str) -> Sequence[Row]:
        return self.tables.get(table, ())

    def insert(self, connection: Connection, rename: Callable[[str], str], living: Mapping[str, Living]) -> None:
        """All of it, into an empty database of ours. `rename` gives a principal's name of now."""
        taking = _Taking(connection=connection, rename=rename, living=living)
        for what, table, take in (
            ("messages", "messages", taking.message),
            ("approvals", "approvals", taking.approval),
            ("questions", "operator_questions", taking.question),
            ("reminders", "reminders", taking.reminder),
        ):
            whys = Counter(map(take, self.rows(table)))
            if table in self.tables:
                self.taken.append(f"{whys.pop('', 0)} of {len(self.rows(table))} {what}")
            self.left += [f"{count} {what}: {why}" for why, count in whys.items()]
        self.left += self._schedules()
        self.left += [
            f"{count} rows of the table {_shown(name)}: this hive has nothing like it"
            for name, count in self.others.items()
            if count
        ]

    def _schedules(self) -> list[str]:
        """They are keys of agent.toml here, which goes live by the operator's decision alone."""
        targets: dict[Any, list[str]] = {}
        for row in self.rows("schedule_targets"):
            targets.setdefault(row.get("schedule_id"), []).append(_shown(row.get("target") or row.get("agent")))
        rows = self.rows("schedules")
        found = [
            f"schedule {_shown(row.get('id'))} of {_shown(row.get('owner'))} for "
            f"{', '.join(targets.get(row.get('id'), ['nobody known'])[:5])}: {_rule(row.get('interval_seconds'))}"
            for row in rows[:_MAX_LISTED]
        ]
        more = len(rows) - _MAX_LISTED
        return [*found, f"{more} more schedules"] if more > 0 else found


@dataclass(frozen=True, kw_only=True)
class _Taking:
    """Rows of the original into an empty database of ours. What a row's method says is why it does not come in, or
    nothing."""

    connection: Connection
    rename: Callable[[str], str]  #: gives a principal's name of now
    living: Mapping[str, Living]

    def message(self, row: Row) -> str:
        number, sender, recipient = _number(row.get("id")), self._name(row, "sender"), self._name(row, "recipient")
        sent, body = _time(row.get("sent_at")), _text(row.get("body"))
        if number is None or sent is None or not sender:
            return _DAMAGED
        if not self._is_there(recipient):
            return _NOBODY
        state, attempts, settled = delivery(row)
        reply = _number(row.get("in_reply_to"))
        self.connection.execute(
            "INSERT INTO messages (id, sender, sender_incarnation, recipient, recipient_incarnation, kind, body,"
            " in_reply_to, thread, sent_at, state, attempts, settled_at, note)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, sender, self._life(sender), recipient, self._life(recipient), kind_of(sender, self.living),
             body[:MAX_BODY], reply, reply or number, sent, state, attempts, settled,
             "cut off at 64 KiB by the migration" if len(body) > MAX_BODY else ""),
        )  # fmt: skip
        return ""

    def approval(self, row: Row) -> str:
        number, agent = _number(row.get("id")), self._name(row, "agent")
        kind, status, asked = _text(row.get("kind")), _text(row.get("status")), _time(row.get("requested_at"))
        if number is None or not agent or asked is None or status not in _STATUSES:
            return _DAMAGED
        orphaned = agent not in self.living and kind == "apply_commit"
        resolved, note = _time(row.get("resolved_at")), row.get("note")
        sha = _sha(row.get("fetched_sha"))
        if status == "pending" and (kind not in KINDS or orphaned or (kind == "apply_commit" and sha is None)):
            status, resolved, note = "cancelled", asked, _NOT_OURS
        self.connection.execute(
            "INSERT INTO approvals (id, agent, kind, commit_ref, fetched_sha, requested_at, status, resolved_at, note,"
            " description, requester) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, agent, kind[:64], _text(row.get("commit_ref"))[:64], sha, asked, status, resolved,
             None if note is None else _text(note)[:20_000], _text(row.get("description"))[:2000] or None, MANAGER),
        )  # fmt: skip
        return ""

    def question(self, row: Row) -> str:
        number, asker = _number(row.get("id")), self._name(row, "asker")
        target = self._name(row, "target") or OPERATOR
        asked, question = _time(row.get("asked_at")), _text(row.get("question"))
        if number is None or asked is None or not question:
            return _DAMAGED
        if asker not in self.living or not self._is_there(target):
            return _NOBODY
        answered, answer = _time(row.get("answered_at")), row.get("answer")
        self.connection.execute(
            "INSERT INTO questions (id, asker, asker_incarnation, target, target_incarnation, question, options,"
            " multi, asked_at, deadline_at, answered_at, answer, answerer)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, asker, self._life(asker), target, self._life(target), question[:MAX_BODY],
             _options(row.get("options_json")), int(bool(row.get("multi"))), asked, _time(row.get("deadline_at")),
             answered, None if answered is None else _text(answer)[:MAX_BODY], None if answered is None else target),
        )  # fmt: skip
        return ""

    def reminder(self, row: Row) -> str:
        agent, due = self.rename(_text(_first(row, _REMINDED))[:128]), _time(_first(row, _DUE))
        number, message = _number(row.get("id")), _text(_first(row, _REMINDER))
        if _first(row, _DONE) is not None:
            return "they have come already"
        if due is None and not {*_DUE} & {*row}:
            return f"there is no telling when they are due; their columns are {_shown(', '.join(row))}"
        if number is None or due is None or not message:
            return _DAMAGED
        if agent not in self.living:
            return _NOBODY
        self.connection.execute(
            "INSERT INTO reminders (id, agent, incarnation, message, due_at, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            (number, agent, self._life(agent), message[:MAX_BODY], due, _time(row.get("created_at")) or due),
        )
        return ""

    def _is_there(self, name: str) -> bool:
        return name == OPERATOR or name in self.living

    def _life(self, name: str) -> int:
        return self.living[name].incarnation if name in self.living else 0

    def _name(self, row: Row, key: str) -> str:
        return self.rename(_text(row.get(key))[:128])


def delivery(row: Row) -> tuple[str, int, float | None]:
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


def _rule(interval: Any) -> str:
    if isinstance(interval, int) and interval > 0:
        return f"propose it for each, as [schedule.NAME] with every = {max(60, interval)} in its agent.toml"
    return "it was to come once: send it, or have the agent remind itself"


def _first(row: Row, names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _shown(value: Any) -> str:
    """Of a row, in a line of ours."""
    return ascii(_text(value))[1:-1][:80]


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
