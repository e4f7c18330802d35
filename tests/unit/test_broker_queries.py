"""However long the history grows, no statement of the mailbox may read through it."""

import re
import sqlite3

import pytest

from hyperhive.broker.database import migrations
from hyperhive.broker.sql import Queries

NAMES = (
    "first_result", "broadcast_rows", "stored_between", "parties", "thread_of_turn", "count_queued", "lease", "held",
    "sent_in_turns", "read", "ack", "acked_already", "give_back", "kill_mail", "is_alive", "come_due", "next_due",
    "handle", "requeue", "drop", "state_of", "receipt", "unread_inbox", "dead_letters", "count_dead", "message",
    "queued_by_recipient", "all_mailboxes",
)  # fmt: skip
OF_OPEN_MAIL_ALONE = ("messages_open", "messages_backed_off", "messages_dead")


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_looks_at_open_mail_or_at_rows_it_knows(name: str) -> None:
    database = sqlite3.connect(":memory:")
    for _, text in migrations():
        database.executescript(text)
    query = Queries("mailbox")[name]
    values = dict.fromkeys(re.findall(r":(\w+)", query), 1)
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    database.close()
    for step in plan:
        over_all = step.startswith("SCAN ") and not step.startswith(("SCAN json_each", "SCAN mailboxes"))
        assert not over_all or any(index in step for index in OF_OPEN_MAIL_ALONE), plan
        assert "messages_to" not in step, f"goes through all that the recipient ever got: {plan}"


@pytest.mark.parametrize("name", ["count_queued", "queued_by_recipient"])
def test_counting_unread_mail_looks_at_the_index_alone(name: str) -> None:
    database = sqlite3.connect(":memory:")
    for _, text in migrations():
        database.executescript(text)
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {Queries('mailbox')[name]}", {"recipient": "a"})]
    database.close()
    assert all("COVERING INDEX messages_open" in step for step in plan), plan


def test_every_statement_has_a_name_and_an_unknown_one_is_an_error() -> None:
    with pytest.raises(KeyError):
        Queries("mailbox")["no_such_statement"]
