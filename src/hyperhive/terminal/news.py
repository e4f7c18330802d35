"""Rows for what the hive itself says of an agent, in words."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from hyperhive.protocol.events import HiveEvent
from hyperhive.terminal.row import Kind, Row, one_line


class ApprovalAdded(Struct, frozen=True):
    id: int
    approval_kind: str

    def row(self) -> Row:
        return _news(f"{_asked(self.approval_kind)} waits for your approval (#{self.id})")


class ApprovalResolved(Struct, frozen=True):
    id: int
    approval_kind: str
    status: str
    note: str = ""

    def row(self) -> Row:
        return _news(f"{_asked(self.approval_kind)} (#{self.id}) is {one_line(self.status, 40)}{_why(self.note)}")


class Question(Struct, frozen=True):
    id: int
    asker: str
    target: str
    note: str = ""  #: what stands where an answer would

    def asked(self) -> Row:
        return _news(f"{one_line(self.asker, 40)} asks {one_line(self.target, 40)} (question #{self.id})")

    def answered(self) -> Row:
        if self.note:
            return _news(f"question #{self.id} to {one_line(self.target, 40)} ends unanswered{_why(self.note)}")
        return _news(f"{one_line(self.target, 40)} has answered {one_line(self.asker, 40)} (question #{self.id})")


class Deployed(Struct, frozen=True):
    sha: str

    def spawned(self) -> Row:
        return _news(f"the agent was spawned with config {one_line(self.sha, 12)}")

    def rebuilt(self) -> Row:
        return _news(f"the container was rebuilt with config {one_line(self.sha, 12)}")


class Killed(Struct, frozen=True):
    def row(self) -> Row:
        return Row(kind=Kind.DEATH, head="· the container was stopped")


class Destroyed(Struct, frozen=True):
    purged: bool

    def row(self) -> Row:
        return Row(kind=Kind.DEATH, head=f"· the agent was destroyed{', and all it had' if self.purged else ''}")


class Crash(Struct, frozen=True):
    note: str
    oom: bool = False

    def row(self) -> Row:
        memory = ", out of memory" if self.oom else ""
        return Row(kind=Kind.DEATH, head=f"! the container died: {one_line(self.note, 200)}{memory}")


class Refused(Struct, frozen=True):
    host: str
    port: int
    reason: str = ""
    count: int = 1

    def row(self) -> Row:
        times = f", {self.count} times" if self.count > 1 else ""
        words = f"! the network refused {one_line(self.host, 100)}:{self.port}{times}{_why(self.reason)}"
        return Row(kind=Kind.WARNING, head=words)


class ScheduleSent(Struct, frozen=True):
    name: str
    times: int = 1

    def row(self) -> Row:
        late = f", for {self.times} times" if self.times > 1 else ""
        return _news(f"the schedule {one_line(self.name, 64)} has sent its message{late}")


class Stuck(Struct, frozen=True):
    stuck: str
    note: str = ""

    def row(self) -> Row:
        return Row(kind=Kind.WARNING, head=f"! {one_line(self.stuck, 40)}{_why(self.note)}")


class Budget(Struct, frozen=True):
    reason: str = ""
    note: str = ""

    def spent(self) -> Row:
        return Row(kind=Kind.WARNING, head=f"! the budget is spent{_why(self.reason)}")

    def warned(self) -> Row:
        return Row(kind=Kind.WARNING, head=f"! {one_line(self.note, 300)}")


class Disk(Struct, frozen=True):
    note: str

    def no_room(self) -> Row:
        return Row(kind=Kind.WARNING, head=f"! kept down for want of room on the disk{_why(self.note)}")

    def short(self) -> Row:
        return Row(kind=Kind.WARNING, head=f"! the disk is short{_why(self.note)}")


_WORDS: Final[dict[str, tuple[type[Any], Callable[[Any], Row]]]] = {
    "approval_added": (ApprovalAdded, ApprovalAdded.row),
    "approval_resolved": (ApprovalResolved, ApprovalResolved.row),
    "question_asked": (Question, Question.asked),
    "question_answered": (Question, Question.answered),
    "spawned": (Deployed, Deployed.spawned),
    "rebuilt": (Deployed, Deployed.rebuilt),
    "killed": (Killed, Killed.row),
    "destroyed": (Destroyed, Destroyed.row),
    "container_crash": (Crash, Crash.row),
    "egress_refused": (Refused, Refused.row),
    "stuck": (Stuck, Stuck.row),
    "budget_spent": (Budget, Budget.spent),
    "budget_warning": (Budget, Budget.warned),
    "no_room": (Disk, Disk.no_room),
    "disk_short": (Disk, Disk.short),
    "schedule_sent": (ScheduleSent, ScheduleSent.row),
}


def row(event: HiveEvent) -> Row:
    """In words, or as it came when this version has none for it."""
    shape, words = _WORDS.get(event.kind, (None, None))
    if shape is not None and words is not None:
        try:
            told: Row = words(msgspec.json.decode(event.payload, type=shape))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            return told
    return Row(kind=Kind.UNKNOWN, head=f"· {one_line(event.kind, 40)} {one_line(_fields(event.payload), 200)}")


def _news(words: str) -> Row:
    return Row(kind=Kind.NEWS, head=f"· {words}")


def _asked(kind: str) -> str:
    return {"apply_commit": "a change of the config", "spawn": "the spawn"}.get(kind, one_line(kind, 40))


def _why(note: str) -> str:
    return f": {one_line(note, 200)}" if note else ""


def _fields(payload: msgspec.Raw) -> str:
    try:
        value: Any = msgspec.json.decode(payload)
        if isinstance(value, dict):
            return " ".join(f"{name}={item}" for name, item in value.items() if name not in ("kind", "agent"))
    except (ValueError, RecursionError):
        pass
    return bytes(payload)[:2000].decode(errors="replace")
