"""However many approvals, jobs, questions and reminders there were, what is done often looks at the open ones."""

import re
import sqlite3

import pytest

from hyperhive.broker.database import migrations
from hyperhive.broker.sql import Queries

NAMES = {
    "approvals": (
        "first", "pending_alike", "count_pending", "get", "pending", "before", "newest_of", "of", "previous_queued",
        "last_approved", "resolve", "approve", "fail_approved", "cancel_of",
    ),
    "jobs": (
        "last_queued", "count_queued", "get", "unfinished", "before", "newest_of", "begin", "cancel", "progress",
        "end", "last_line", "leave_out", "mark_left_out", "lines",
    ),
    "questions": (
        "first", "count_asked", "get", "unanswered", "of", "answer", "cancel", "expire", "next_due", "forget",
    ),
    "reminders": ("first", "count_pending", "get", "pending", "counts", "cancel", "come_due", "next_due", "forget"),
    "schedules": ("put", "say", "remove", "forget", "due", "next_due", "move_on", "sent", "set_paused", "living"),
    "deployments": ("of", "get", "forget"),
    "turns": (
        "latest", "spent", "totals", "parts", "duration", "by_outcome", "by_cause", "by_model", "by_agent",
        "vacuum",
    ),
}  # fmt: skip
OF_OPEN_ROWS_ALONE = (
    "approvals_pending", "jobs_open", "jobs_alone", "questions_open", "questions_due", "reminders_due", "reminders_of",
    "schedules_due",
)  # fmt: skip


@pytest.mark.parametrize(("noun", "name"), [(noun, name) for noun, names in NAMES.items() for name in names])
def test_a_statement_looks_at_open_rows_or_at_rows_it_knows(noun: str, name: str) -> None:
    database = sqlite3.connect(":memory:")
    for _, text in migrations():
        database.executescript(text)
    query = Queries(noun)[name]
    values = dict.fromkeys(re.findall(r":(\w+)", query), 1)
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    database.close()
    for step in plan:
        over_all = step.startswith("SCAN ") and not step.startswith("SCAN json_each")
        assert not over_all or any(index in step for index in OF_OPEN_ROWS_ALONE), plan
