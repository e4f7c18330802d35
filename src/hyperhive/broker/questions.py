"""Questions of agents and the operator to each other. Asking never waits: the answer comes as a message."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET

from hyperhive.broker import notices as outbox
from hyperhive.broker.bucket import Buckets
from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.database import Connection, Database
from hyperhive.broker.due import BATCH, FOREVER, Due
from hyperhive.broker.inbox import rfc3339
from hyperhive.broker.notices import MAX_OWED, Notice, Notices
from hyperhive.broker.sql import Queries, storable
from hyperhive.protocol.agent import MAX_TTL_S
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Question
from hyperhive.protocol.ids import OPERATOR, SYSTEM

_SQL: Final = Queries("questions")
_strings: Final = msgspec.json.Decoder(tuple[str, ...])
_HEADLINE: Final = 1000
"""Characters of the question that come back with its answer: both must fit into one message."""
MAX_UNANSWERED: Final = 100
"""Questions of one asker."""
PER_S: Final = 1.0
BURST: Final = 200
"""How fast one agent may ask, or set reminders: what is settled leaves its rows behind."""
WATCHDOG: Final = "ttl-watchdog"
EXPIRED: Final = "[expired]"
_CANCELLED: Final = "[cancelled"


@dataclass(frozen=True, kw_only=True)
class Party:
    """Who asks or is asked, in one life; the operator's incarnation is 0."""

    name: str
    incarnation: int


@dataclass(frozen=True, kw_only=True)
class QuestionRow:
    """A question and its answer. Times are Unix seconds."""

    id: int
    mid: str | None
    asker: str
    asker_incarnation: int
    target: str
    target_incarnation: int
    question: str
    options: tuple[str, ...]
    multi: bool
    asked_at: float
    deadline_at: float | None
    answered_at: float | None
    answer: str | None
    answerer: str | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "QuestionRow":
        return cls(**{**row, "options": _strings.decode(row["options"]), "multi": bool(row["multi"])})

    def on_wire(self) -> Question:
        return Question(
            id=self.id, asker=self.asker, target=self.target, question=self.question, options=list(self.options),
            multi=self.multi, asked_at=rfc3339(self.asked_at),
            deadline_at=UNSET if self.deadline_at is None else rfc3339(self.deadline_at),
            answered_at=UNSET if self.answered_at is None else rfc3339(self.answered_at),
            answer=UNSET if self.answer is None else self.answer,
            answerer=UNSET if self.answerer is None else self.answerer,
        )  # fmt: skip


class Questions:
    """The `questions` table, and the clock that ends what nobody answers in time.

    `open` once before use, `close` ends the timer. `on_change` is called with every question that was asked or
    answered, after the commit; it may be set at any time and must not block.
    """

    def __init__(self, database: Database, notices: Notices, clock: Clock | None = None) -> None:
        self.on_change: Callable[[QuestionRow], None] = lambda _row: None
        self._database = database
        self._notices = notices
        self._clock = clock or SystemClock()
        self._due = Due(self._clock, self._expire)
        self._pace = Buckets(PER_S, BURST)

    async def open(self) -> None:
        """Expect the deadlines there are; what passed one while the hive was away expires now."""
        self._due.expect(await self._database.read(_next_due))

    def close(self) -> None:
        self._due.close()

    async def ask(
        self, asker: Party, target: Party, question: str, options: Sequence[str] = (), multi: bool = False,
        ttl_s: float | None = None, mid: str | None = None,
    ) -> QuestionRow:  # fmt: skip
        """Put a question, told to an agent by a message. The same `mid` of the same asker again gives the first.

        Raises FaultError: `invalid_params`; `wrong_state` when too many of the asker's wait for an answer;
        `too_fast`; `inbox_full` when the hive owes the target too much already.
        """
        if ttl_s is not None and not 0 < ttl_s <= MAX_TTL_S:
            raise FaultError(FaultKind.INVALID_PARAMS, f"cannot ask: a question waits 1 to {MAX_TTL_S} s")
        if asker == target:
            raise FaultError(FaultKind.INVALID_PARAMS, f"cannot ask: {asker.name!r} would ask itself")
        if asker.name != OPERATOR:
            keep_pace(self._pace, asker, self._clock)
        now = self._clock.now()
        values = {
            "mid": mid, "asker": asker.name, "asker_incarnation": asker.incarnation, "target": target.name,
            "target_incarnation": target.incarnation, "question": storable(question), "multi": multi, "now": now,
            "options": msgspec.json.encode([storable(option) for option in options]).decode(),
            "deadline_at": None if ttl_s is None else now + ttl_s,
        }  # fmt: skip
        row, _ = await self._database.write(lambda connection: _ask(connection, values), self._asked)
        return row

    async def get(self, id: int) -> QuestionRow | None:
        found = await self._read("get", {"id": id})
        return found[0] if found else None

    async def unanswered(self) -> list[QuestionRow]:
        """Oldest first."""
        return await self._read("unanswered", {})

    async def newest(self, limit: int = 100) -> list[QuestionRow]:
        """Answered or not, newest first."""
        return await self._read("newest", {"limit": limit})

    async def of(self, name: str) -> list[QuestionRow]:
        """What the name has asked or has to answer, as long as it is unanswered, oldest first."""
        return await self._read("of", {"name": name})

    async def answer(self, id: int, text: str, *, by: str) -> QuestionRow:
        """Answer as the one who was asked, or as the operator for anyone; the asker gets a message.

        The same answer by the same one again changes nothing. Raises FaultError: `unknown_question`, `not_allowed`,
        `wrong_state` when it is answered.
        """
        return await self._close("answer", {"id": id, "answer": storable(text), "by": by})

    async def cancel(self, id: int, *, by: str) -> QuestionRow:
        """Take back what one has asked, or end it as the operator. Raises as `answer` does."""
        answer = f"{_CANCELLED}]" if by == OPERATOR else f"{_CANCELLED} by {by}]"
        return await self._close("cancel", {"id": id, "answer": answer, "by": by})

    async def forget(self, name: str, incarnation: int, note: str) -> list[QuestionRow]:
        """That life is over: what the agent asked and owes is answered with the note; others who asked are told."""
        self._pace.forget(Party(name=name, incarnation=incarnation))
        values = {
            "name": name, "incarnation": incarnation, "answer": storable(note), "by": SYSTEM,
            "now": self._clock.now(),
        }  # fmt: skip
        return await self._database.write(lambda connection: _end(connection, "forget", values), self._tell)

    async def vacuum(self, before: float) -> int:
        """Delete what was answered before that time (Unix seconds); how many went."""
        return await self._database.write(
            lambda connection: connection.execute(_SQL["vacuum"], {"before": before}).rowcount
        )

    async def _read(self, query: str, values: Mapping[str, Any]) -> list[QuestionRow]:
        return await self._database.read(lambda connection: _rows(connection, query, values))

    async def _close(self, query: str, values: Mapping[str, Any]) -> QuestionRow:
        now = self._clock.now()
        closed: list[QuestionRow] = []

        def end(connection: Connection) -> list[QuestionRow] | FaultError:
            closed[:] = _end(connection, query, {**values, "now": now})
            return closed or _closed_so(connection, values) or _refusal(connection, query, values)

        return (await self._database.write(end, lambda _: self._tell(closed)))[0]

    def _expire(self, now: float) -> "asyncio.Future[float]":
        values = {"now": now, "answer": EXPIRED, "by": WATCHDOG, "limit": BATCH}
        expired: list[QuestionRow] = []

        def expire(connection: Connection) -> float:
            expired[:] = _end(connection, "expire", values)
            return _next_due(connection)

        return self._database.write(expire, lambda _: self._tell(expired))

    def _asked(self, asked: tuple[QuestionRow, bool]) -> None:
        row, new = asked
        if new:
            self._due.expect(FOREVER if row.deadline_at is None else row.deadline_at)
            self._tell([row])

    def _tell(self, rows: list[QuestionRow]) -> None:
        self._notices.wake()
        for row in rows:
            self.on_change(row)


def keep_pace(pace: Buckets, party: Party, clock: Clock) -> None:
    """Raises FaultError (`too_fast`)."""
    if wait := pace.take(party, clock.monotonic()):
        raise FaultError(FaultKind.TOO_FAST, f"cannot do that so often; try again in {wait:.2f} s")


# what the parties are told


def asked_notice(row: QuestionRow) -> Notice:
    """To the agent that has to answer."""
    event = {
        "event": "question_asked", "id": row.id, "asker": row.asker, "question": row.question,
        "options": row.options, "multi": row.multi,
    }  # fmt: skip
    return Notice(recipient=row.target, incarnation=row.target_incarnation, body=msgspec.json.encode(event).decode())


def is_no_answer(text: str) -> bool:
    """It stands where an answer would: nobody gives one any more."""
    return text == EXPIRED or text.startswith(_CANCELLED)


def answered_notice(row: QuestionRow) -> Notice:
    """To the one who asked: an event for an agent, words for the operator."""
    question = row.question if len(row.question) <= _HEADLINE else f"{row.question[:_HEADLINE]} ..."
    if row.asker == OPERATOR:
        body = f"{row.answerer} answered question {row.id} to {row.target!r}: {row.answer}\n(You asked: {question})"
    else:
        event = {
            "event": "question_answered", "id": row.id, "question": question, "answer": row.answer,
            "answerer": row.answerer,
        }  # fmt: skip
        body = msgspec.json.encode(event).decode()
    return Notice(recipient=row.asker, incarnation=row.asker_incarnation, body=body)


# in a transaction


def _rows(connection: Connection, query: str, values: Mapping[str, Any]) -> list[QuestionRow]:
    return [QuestionRow.from_row(row) for row in _SQL.rows(connection, query, values)]


def _ask(connection: Connection, values: Mapping[str, Any]) -> tuple[QuestionRow, bool] | FaultError:
    if first := _rows(connection, "first", values):
        return first[0], False
    if fault := _too_much(connection, values):
        return fault
    row = _rows(connection, "ask", values)[0]
    if row.target != OPERATOR:
        outbox.put(connection, asked_notice(row), row.asked_at)
    return row, True


def _too_much(connection: Connection, values: Mapping[str, Any]) -> FaultError | None:
    asked = _SQL.rows(connection, "count_asked", values)[0]["asked"]
    if asked >= MAX_UNANSWERED:
        return FaultError(
            FaultKind.WRONG_STATE,
            f"cannot ask: {asked} of your questions are unanswered; wait for answers, or cancel some",
        )
    target = values["target"]
    if target != OPERATOR and outbox.owed(connection, target) >= MAX_OWED:
        return FaultError(
            FaultKind.INBOX_FULL, f"cannot ask {target!r}: too much waits for its inbox; try again later"
        )
    return None


def _end(connection: Connection, query: str, values: Mapping[str, Any]) -> list[QuestionRow]:
    """The questions that the transition has closed; those who asked them are told, unless they did it themselves."""
    closed = sorted(_rows(connection, query, values), key=lambda row: row.id)
    gone = (values.get("name"), values.get("incarnation"))
    for row in closed:
        if row.asker != row.answerer and (row.asker, row.asker_incarnation) != gone:
            outbox.put(connection, answered_notice(row), values["now"])
    return closed


def _closed_so(connection: Connection, values: Mapping[str, Any]) -> list[QuestionRow]:
    """The question when just this has closed it: the answer to that may have been lost."""
    there = _rows(connection, "get", {"id": values["id"]})
    return [row for row in there if (row.answerer, row.answer) == (values["by"], values["answer"])]


def _refusal(connection: Connection, what: str, values: Mapping[str, Any]) -> FaultError:
    number = values["id"]
    there = _rows(connection, "get", {"id": number})
    if not there:
        return FaultError(FaultKind.UNKNOWN_QUESTION, f"cannot {what} question {number}: there is none with this id")
    row = there[0]
    entitled = row.target if what == "answer" else row.asker
    if values["by"] not in (entitled, OPERATOR):
        return FaultError(
            FaultKind.NOT_ALLOWED, f"cannot {what} question {number}: only {entitled!r} and the operator can"
        )
    return FaultError(
        FaultKind.WRONG_STATE, f"cannot {what} question {number}: {row.answerer} has answered it already"
    )


def _next_due(connection: Connection) -> float:
    due: float | None = _SQL.rows(connection, "next_due", {})[0]["due"]
    return FOREVER if due is None else due
