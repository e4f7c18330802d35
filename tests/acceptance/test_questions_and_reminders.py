"""Questions, reminders and what stays open, through every door of a real hive and over the daemon's deaths."""

from collections.abc import Iterator
from typing import Any

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.agent import MAX_REMINDERS, MAX_TTL_S
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.script import Call, Say, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from manager_house import asks, at_rest, cli, events_to, letters, refused, spawned, told, written
from outsider import Outsider

pytestmark = [pytest.mark.container, pytest.mark.timeout(120)]

TOOL = "mcp__hyperhive__"


@pytest.fixture(scope="module")
def hive() -> Iterator[HiveProcess]:
    """A hive with the agents `a`, `b` and `c`, none of which works."""
    needs.bwrap()
    with running_hive() as (hive, _):
        for name in ("a", "b", "c"):
            spawned(hive, name)
        yield hive


def restarted(hive: HiveProcess) -> None:
    hive.kill()
    hive.start()


def ends(hive: HiveProcess, name: str, kind: str) -> list[dict[str, Any]]:
    return [end for end in asks(hive, name, "get_loose_ends")["ends"] if end["kind"] == kind]


def kind_of(answer: dict[str, Any]) -> str:
    return str(answer["data"]["kind"])


def answers_to(hive: HiveProcess, name: str, question: int) -> list[dict[str, Any]]:
    return [event for event in events_to(hive, name, "question_answered") if event["id"] == question]


# questions


def test_the_operator_answers_an_agent_by_the_command_and_the_agent_hears_it_once(hive: HiveProcess) -> None:
    ask = {"mid": "q-1", "question": "Which of them?", "options": ["left", "right"], "multi": True}
    asked = asks(hive, "a", "ask", **ask)["id"]
    assert asks(hive, "a", "ask", **ask)["id"] == asked
    shown = cli(hive, "questions")
    assert all(word in shown for word in (f"#{asked} a", "Which of them?", "left", "right", "any of the options"))
    assert [(end["id"], end["asker"], end["target"]) for end in ends(hive, "a", "question")] == [
        (asked, "a", "operator")
    ]
    cli(hive, "answer", str(asked), "left", "and", "right")
    expected = {
        "event": "question_answered", "id": asked, "question": "Which of them?", "answer": "left and right",
        "answerer": "operator",
    }  # fmt: skip
    assert told(hive, "a", "question_answered", id=asked) == expected
    cli(hive, "answer", str(asked), "left and right")
    assert "answered it already" in cli(hive, "answer", str(asked), "none", fails=True)
    restarted(hive)
    assert answers_to(hive, "a", asked) == [expected]
    assert ends(hive, "a", "question") == []


def test_an_agent_asks_an_agent_and_only_that_one_and_the_operator_may_answer(hive: HiveProcess) -> None:
    asked = asks(hive, "a", "ask", mid="q-2", question="Ready?", options=["yes", "no"], to="b")["id"]
    assert told(hive, "b", "question_asked", id=asked) == {
        "event": "question_asked", "id": asked, "asker": "a", "question": "Ready?", "options": ["yes", "no"],
        "multi": False,
    }  # fmt: skip
    assert [end["id"] for end in ends(hive, "b", "question")] == [asked]
    assert ends(hive, "c", "question") == []
    for stranger in ("a", "c"):
        assert "only 'b' and the operator" in refused(asks(hive, stranger, "answer", id=asked, answer="yes"))
    assert asks(hive, "b", "answer", id=asked, answer="perhaps") == {}
    assert asks(hive, "b", "answer", id=asked, answer="perhaps") == {}
    assert kind_of(asks(hive, "b", "answer", id=asked, answer="no")) == "wrong_state"
    assert told(hive, "a", "question_answered", id=asked)["answer"] == "perhaps"
    assert len(answers_to(hive, "a", asked)) == 1
    assert ends(hive, "b", "question") == []


def test_the_operator_asks_an_agent_and_the_answer_is_in_the_inbox(hive: HiveProcess) -> None:
    number = int(cli(hive, "ask", "b", "All", "well?", "--option", "yes", "--ttl", "1h").split()[0])
    assert told(hive, "b", "question_asked", id=number)["asker"] == "operator"
    asks(hive, "b", "answer", id=number, answer="yes")
    assert written(hive, "operator", f"b answered question {number}").sender == "system"


def test_a_question_is_taken_back_by_the_asker_or_the_operator_and_by_nobody_else(hive: HiveProcess) -> None:
    first, second = (asks(hive, "a", "ask", mid=f"q-3{n}", question="?", to="b")["id"] for n in (1, 2))
    for stranger in ("b", "c"):
        assert refused(asks(hive, stranger, "cancel_loose_end", kind="question", id=first))
    assert asks(hive, "a", "cancel_loose_end", kind="question", id=first) == {}
    assert kind_of(asks(hive, "b", "answer", id=first, answer="late")) == "wrong_state"
    cli(hive, "question", "cancel", str(second))
    assert told(hive, "a", "question_answered", id=second)["answer"] == "[cancelled]"
    hive.events(
        "a", until=lambda event: event.kind == "question_answered" and b'"[cancelled]"' in bytes(event.payload)
    )
    assert answers_to(hive, "a", first) == []
    assert [question.id for question in hive.ask(host.Questions()).questions or []] == []


def test_a_question_that_nobody_answers_in_time_expires_also_while_the_daemon_is_down(hive: HiveProcess) -> None:
    asked = asks(hive, "a", "ask", mid="q-4", question="Now?", ttl_seconds=1)["id"]
    later = asks(hive, "a", "ask", mid="q-5", question="Later?", ttl_seconds=MAX_TTL_S)["id"]
    restarted(hive)
    event = told(hive, "a", "question_answered", id=asked)
    assert (event["answer"], event["answerer"]) == ("[expired]", "ttl-watchdog")
    assert "ttl-watchdog has answered it already" in cli(hive, "answer", str(asked), "yes", fails=True)
    restarted(hive)
    assert len(answers_to(hive, "a", asked)) == 1
    assert [end["id"] for end in ends(hive, "a", "question")] == [later]
    asks(hive, "a", "cancel_loose_end", kind="question", id=later)


def test_what_can_be_no_question_is_refused(hive: HiveProcess) -> None:
    assert kind_of(asks(hive, "a", "ask", mid="m", question="?", ttl_seconds=MAX_TTL_S + 1)) == "invalid_params"
    assert kind_of(asks(hive, "a", "ask", mid="m", question="")) == "invalid_params"
    assert kind_of(asks(hive, "a", "ask", mid="m", question="?", to="nobody")) == "unknown_agent"
    assert "yourself" in refused(asks(hive, "a", "ask", mid="m", question="?", to="a"))
    assert kind_of(asks(hive, "a", "answer", id=10**6, answer="x")) == "unknown_question"
    with pytest.raises(FaultError) as fault:
        hive.ask(host.Answer(id=10**6, answer="x"))
    assert fault.value.kind is FaultKind.UNKNOWN_QUESTION


# reminders


def test_a_reminder_comes_once_whatever_the_daemon_goes_through(hive: HiveProcess) -> None:
    due = asks(hive, "b", "remind", mid="r-1", message="look again", delay_seconds=1)
    assert asks(hive, "b", "remind", mid="r-1", message="look again", delay_seconds=1) == due
    restarted(hive)
    assert written(hive, "b", "look again").sender == "reminder"
    restarted(hive)
    assert [row.body for row in letters(hive, "b")].count("look again") == 1
    assert ends(hive, "b", "reminder") == []


def test_an_agent_has_so_many_reminders_and_they_end_with_it(hive: HiveProcess) -> None:
    with Outsider(hive.paths.agent_socket("c")) as client:
        for number in range(MAX_REMINDERS):
            assert "id" in client.call("remind", mid=f"r-{number}", message=f"reminder {number}", delay_seconds=3600)
        over = client.call("remind", mid="r-over", message="one more", delay_seconds=3600)
    assert kind_of(over) == "wrong_state"
    assert hive.status("c").pending_reminders == MAX_REMINDERS
    assert "reminder 49" in cli(hive, "reminders", "c")
    mine = ends(hive, "c", "reminder")[-1]
    assert kind_of(asks(hive, "b", "cancel_loose_end", kind="reminder", id=mine["id"])) == "unknown_reminder"
    assert asks(hive, "c", "cancel_loose_end", kind="reminder", id=mine["id"]) == {}
    hive.ask(host.Destroy(name="c"))
    assert hive.ask(host.Reminders()).reminders == []
    hive.ask(host.Revive(name="c"))
    at_rest(hive, "c")
    assert ends(hive, "c", "reminder") == []
    assert hive.status("c").pending_reminders == 0


def test_what_can_be_no_reminder_is_refused(hive: HiveProcess) -> None:
    for wrong in ({}, {"delay_seconds": 1, "at": 1.0}, {"delay_seconds": -1}, {"delay_seconds": 10**9}, {"at": -1.0}):
        assert kind_of(asks(hive, "a", "remind", mid="m", message="x", **wrong)) == "invalid_params", wrong


def test_what_a_destroyed_agent_was_asked_and_had_asked_is_over(hive: HiveProcess) -> None:
    spawned(hive, "d")
    owed = asks(hive, "a", "ask", mid="q-6", question="And you?", to="d")["id"]
    asks(hive, "d", "ask", mid="q-7", question="May I?", to="b")
    hive.ask(host.Destroy(name="d", purge=True))
    assert told(hive, "a", "question_answered", id=owed)["answer"] == "[cancelled: d was destroyed]"
    assert hive.ask(host.Questions()).questions == []
    assert ends(hive, "b", "question") == []


@pytest.mark.claude
def test_an_answer_and_a_reminder_wake_an_agent_that_rests_or_sleeps() -> None:
    needs.bwrap()
    needs.claude()
    heard = Call(f"{TOOL}send", {"to": "operator", "body": "heard: {{prompt}}"})
    with running_hive() as (hive, model):
        model.script(
            "a",
            on(
                "find out", Call(f"{TOOL}ask", {"question": "Which colour?", "options": ["red", "blue"]}),
                Call(f"{TOOL}remind", {"message": "come back", "delay_seconds": 3600}), Say("asked"),
                sender="operator",
            ),
            on("question_answered", heard, Say("noted")),
            on("time to look", heard, Say("noted"), sender="reminder"),
            on("", Say("noted")),
        )  # fmt: skip
        hive.prepare("a", "sleep_after = 1\ndeep_sleep_after = 1\n")
        hive.ask(host.Spawn(name="a"))
        hive.send("a", "find out")
        hive.until("a", lambda row: row.state == "asleep")
        (question,) = hive.ask(host.Questions()).questions or []
        assert question.options == ["red", "blue"]
        assert hive.status("a").pending_reminders == 1
        cli(hive, "answer", str(question.id), "blue")
        assert '"answer":"blue"' in written(hive, "operator", "question_answered").body
        hive.until("a", lambda row: row.state == "asleep")
        asks(hive, "a", "remind", mid="m", message="time to look", delay_seconds=1)
        assert "from reminder" in written(hive, "operator", "time to look").body
