"""What an agent's events show of its claude."""

from typing import Any

import msgspec
import pytest

from hyperhive.hub.activity import MAX_OPEN, POLLS_FOR_ONE, Activity
from hyperhive.protocol.events import (
    AnyLiveEvent,
    Note,
    StatusChanged,
    Stream,
    ToolCall,
    TurnEnd,
    TurnStart,
    record,
)


class Story:
    """Events of one harness, in their order."""

    def __init__(self) -> None:
        self.activity = Activity()
        self.seq = 0

    def tell(self, event: AnyLiveEvent) -> bool:
        self.seq += 1
        return self.activity.take(record(self.seq, 0.0, event))

    def stream(self, **value: Any) -> bool:
        return self.tell(Stream(value=msgspec.Raw(msgspec.json.encode(value))))

    def call(self, tool: str = "Bash", number: int | None = None, **given: Any) -> None:
        name = f"toolu_{self.seq if number is None else number}"
        self.tell(ToolCall(tool=tool, input=msgspec.Raw(msgspec.json.encode(given)), tool_use_id=name))

    def result(self, number: int) -> None:
        block = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "x"}
        self.stream(type="user", message={"role": "user", "content": [block]})

    def start(self, *messages: int) -> None:
        self.tell(TurnStart(turn="t", sender="operator", body="", messages=[*messages]))


def test_only_what_claude_does_is_a_sign_of_its_life() -> None:
    story = Story()
    assert story.stream(type="system", subtype="api_retry")
    assert story.tell(TurnEnd(turn="t", ok=True))
    assert not story.tell(Note(text="the harness says something"))
    assert not story.tell(StatusChanged(text="busy"))


def test_the_same_record_again_is_none_and_changes_nothing() -> None:
    story = Story()
    story.call(command="date")
    again = record(story.seq, 0.0, ToolCall(tool="Bash", input=msgspec.Raw(b'{"command":"date"}'), tool_use_id="x"))
    assert not story.activity.take(again)
    assert story.activity.repeats == 1


def test_a_tool_call_is_under_way_until_its_result_the_next_request_or_the_turns_end() -> None:
    story = Story()
    story.call(number=1, command="sleep")
    story.call(number=2, command="sleep")
    story.result(1)
    assert list(story.activity.open) == ["toolu_2"]
    story.stream(type="stream_event", parent_tool_use_id="toolu_2", event={"type": "message_start"})
    assert story.activity.open
    story.stream(type="stream_event", parent_tool_use_id=None, event={"type": "message_start"})
    assert not story.activity.open
    story.call(number=3)
    story.tell(TurnEnd(turn="t", ok=True))
    assert not story.activity.open


def test_the_same_call_counts_until_another_comes_or_mail_begins_a_turn() -> None:
    story = Story()
    story.start(1)
    for _ in range(5):
        story.call(command="make")
    assert story.activity.repeats == 5
    story.start()  # claude went on by itself
    story.call(command="make")
    assert story.activity.repeats == 6
    story.call(command="date")
    assert story.activity.repeats == 1
    story.start(2)
    assert story.activity.repeats == 0


def test_asking_again_counts_little_where_a_tool_is_there_for_it() -> None:
    story = Story()
    for _ in range(POLLS_FOR_ONE):
        story.call("mcp__hyperhive__recv", wait_seconds=180)
    assert story.activity.repeats == pytest.approx(1)


def test_claude_waits_for_an_answer_when_it_says_so_or_asks_a_person() -> None:
    story = Story()
    story.stream(type="system", subtype="session_state_changed", state="requires_action")
    assert story.activity.waits_for_answer
    story.stream(type="system", subtype="session_state_changed", state="running")
    assert not story.activity.waits_for_answer
    story.call("AskUserQuestion", number=9)
    assert story.activity.waits_for_answer
    story.result(9)
    assert not story.activity.waits_for_answer


@pytest.mark.parametrize(
    "value",
    [
        b'{"type":"user","message":{"content":"\\"tool_result\\""}}',
        b'{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":7}]}}',
        b'{"type":"user","message":7,"x":"\\"tool_result\\""}',
        b'{"type":["message_start"]}',
    ],
)
def test_lines_of_any_shape_break_nothing(value: bytes) -> None:
    story = Story()
    assert story.tell(Stream(value=msgspec.Raw(value)))


def test_calls_without_an_end_take_no_memory_without_an_end() -> None:
    story = Story()
    for number in range(10 * MAX_OPEN):
        story.call(number=number, at=number)
    assert len(story.activity.open) == MAX_OPEN
