import json
from typing import Any

import pytest

from hyperhive.protocol.host import InboxRow
from hyperhive.web.helper_words import helper_words


def message(body: str, kind: str = "system") -> InboxRow:
    return InboxRow(
        id=1,
        sender="system",
        to="manager",
        kind=kind,
        body=body,
        sent_at="2026-01-01T00:00:00Z",
        state="sent",
        attempt=1,
    )


def said(**event: Any) -> str:
    return helper_words(message(json.dumps(event, separators=(",", ":"))))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"event": "spawned", "agent": "scout", "ok": True, "sha": "abc"}, "scout was spawned"),
        (
            {"event": "rebuilt", "agent": "scout", "ok": False, "note": "no disk"},
            "scout could not be rebuilt: no disk",
        ),
        ({"event": "needs_login", "agent": "scout"}, "scout needs a login"),
        ({"event": "container_crash", "agent": "scout", "note": "exit 1"}, "scout's container died: exit 1"),
        (
            {
                "event": "approval_resolved",
                "id": 3,
                "agent": "scout",
                "kind": "apply_commit",
                "status": "denied",
                "note": "no",
            },
            "Request 3 (apply commit for scout) was denied: no",
        ),
        (
            {"event": "question_answered", "id": 2, "question": "Which?", "answer": "a_b {c}", "answerer": "operator"},
            "Question 2 (Which?) was answered by operator: a_b {c}",
        ),
        (
            {
                "event": "question_answered",
                "id": 2,
                "question": "Which?",
                "answer": "[expired]",
                "answerer": "watchdog",
            },
            "Question 2 (Which?) ends unanswered: [expired]",
        ),
        ({"event": "spawned"}, "? was spawned"),
    ],
)
def test_an_event_of_the_hive_is_a_sentence(event: dict[str, Any], words: str) -> None:
    assert said(**event) == words


@pytest.mark.parametrize(
    "body",
    [
        '{"event":"of_tomorrow","agent":"scout"}', '{"event":"killed"', '{"event":["killed"]}',
        "Your container was started.", '{"event":null}', '{"event":"restarted","ok":false}',
    ],
)  # fmt: skip
def test_what_there_are_no_words_for_stays_as_it_is(body: str) -> None:
    assert helper_words(message(body)) == ""


def test_an_agent_cannot_speak_as_the_hive() -> None:
    assert helper_words(message('{"event":"killed","agent":"scout"}', kind="agent")) == ""
