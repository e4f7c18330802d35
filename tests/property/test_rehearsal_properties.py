"""What holds for any script and any conversation."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hyperhive.rehearsal import conversation, sse, template
from hyperhive.rehearsal.script import AnyStep, Call, Say, Think, Together, Turn, rounds
from hyperhive.rehearsal.script import on as turn_on

words = st.text(max_size=40)
blocks = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": words}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": words, "name": words, "input": st.just({})}),
    st.fixed_dictionaries({"type": st.just("tool_result"), "tool_use_id": words, "content": words}),
)
entries = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system"]),
        "content": st.one_of(words, st.lists(blocks, max_size=4)),
    }
)
calls = st.builds(Call, st.sampled_from(["Bash", "Read"]))
steps: st.SearchStrategy[AnyStep] = st.one_of(
    st.builds(Say, words), st.builds(Think, words), calls, st.builds(Together, st.lists(calls, min_size=1, max_size=3))
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=10,
)


CALLED = {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "Bash", "input": {}}]}
RETURNED = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "ok"}]}


def read(messages: list[dict[str, Any]]) -> conversation.Conversation:
    return conversation.read(json.dumps({"messages": messages}).encode())


@given(st.lists(entries, max_size=8))
def test_any_conversation_can_be_read(messages: list[dict[str, Any]]) -> None:
    asked = read(messages)
    assert 0 <= asked.round <= len(messages)


@given(st.lists(entries, max_size=6))
def test_a_new_prompt_is_always_the_newest_and_begins_at_round_zero(messages: list[dict[str, Any]]) -> None:
    asked = read([*messages, {"role": "user", "content": "the new prompt"}])
    assert (asked.prompt, asked.round, asked.result) == ("the new prompt", 0, "")


@given(st.lists(steps, max_size=12))
def test_playing_round_after_round_plays_every_step_once_and_in_order(script: list[AnyStep]) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    played: list[AnyStep] = []
    for _ in range(len(script) + 1):
        asked = read(messages)
        scripted = rounds(script)
        if asked.round >= len(scripted):
            break
        played += scripted[asked.round]
        messages.append(
            {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "Bash", "input": {}}]}
        )
        messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "ok"}]})
    assert played == script


@given(json_values, st.dictionaries(st.sampled_from(["a", "b"]), words))
def test_a_value_without_fields_is_not_changed_by_filling(value: Any, fields: dict[str, str]) -> None:
    if not list(template.fields_in(value)):
        assert template.fill(value, fields) == value


@given(words)
def test_a_field_is_filled_with_exactly_its_text(text: str) -> None:
    assert template.fill({"x": "<{{a}}>"}, {"a": text}) == {"x": f"<{text}>"}


@given(words)
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(sse.pieces(text)) == text


@given(st.text())
def test_an_event_is_one_event_whatever_it_says(text: str) -> None:
    data = sse.event("content_block_delta", delta={"text": text})
    assert data.count(b"\n\n") == 1
    line = data.splitlines()[1]
    assert json.loads(line.removeprefix(b"data: "))["delta"]["text"] == text


@given(st.lists(steps, max_size=5), words)
def test_a_script_written_as_json_is_read_back_the_same(script: list[AnyStep], sender: str) -> None:
    turn = turn_on("x", *script, sender=sender)
    assert msgspec.json.decode(msgspec.json.encode(turn), type=Turn) == turn
