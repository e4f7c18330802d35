"""From a script and a request to what is played."""

from typing import Any

import pytest

from hyperhive.rehearsal.conversation import Conversation
from hyperhive.rehearsal.scene import THE_END, Scene, scene
from hyperhive.rehearsal.script import (
    ANYONE,
    Agent,
    AnyStep,
    Call,
    Fail,
    Say,
    Script,
    Stop,
    Think,
    Together,
    Turn,
    Usage,
    on,
    rounds,
)  # fmt: skip

MAIL = """\
[message 3] from system, kind system, sent then
~~~~~~~~
up
~~~~~~~~
[message 41] from operator, kind operator, sent then
~~~~~~~~
please build the tower
~~~~~~~~"""


def asked(prompt: str = "", **fields: Any) -> Conversation:
    plain: dict[str, Any] = {
        "agent": "scout", "round": 0, "result": "", "wants_summary": False, "model": "m", "stream": True, "tools": (),
        "size": 400,
    }  # fmt: skip
    return Conversation(prompt=prompt, **{**plain, **fields})


def played(*turns: Turn, to: Conversation, agent: str = "scout") -> Scene:
    return scene(Script(agents=(Agent(agent, turns),)), to)


def said(found: Scene) -> str:
    return "".join(step.text for step in found.steps if isinstance(step, Say))


def test_steps_are_cut_into_rounds_after_each_call() -> None:
    steps: list[AnyStep] = [Think("a"), Call("X"), Call("Y"), Say("b"), Together([Call("Z"), Call("Z")]), Say("c")]
    assert [len(part) for part in rounds(steps)] == [2, 1, 2, 1]
    assert [step for part in rounds(steps) for step in part] == steps


def test_no_steps_make_no_rounds() -> None:
    assert rounds([]) == []


def test_the_first_turn_that_is_meant_for_the_prompt_is_played() -> None:
    turns = [on("tower", Say("one")), on("build", Say("two")), on("", Say("three"))]
    assert said(played(*turns, to=asked("build it"))) == "two"


def test_a_turn_for_a_sender_takes_the_number_of_the_message_from_them() -> None:
    turns = [on("", Say("{{id}}"), sender="builder"), on("tower", Say("{{id}} by {{sender}}"), sender="operator")]
    assert said(played(*turns, to=asked(MAIL))) == "41 by operator"


def test_lines_of_the_prompt_begin_and_end_for_a_pattern() -> None:
    assert said(played(on(r"^please build the (?P<what>\w+)$", Say("a {{what}}")), to=asked(MAIL))) == "a tower"


def test_a_group_that_found_nothing_is_empty() -> None:
    assert said(played(on(r"build( (?P<what>\w+))?", Say("[{{what}}]")), to=asked("build"))) == "[]"


def test_an_agents_own_turns_come_before_everyones() -> None:
    script = Script(agents=(Agent(ANYONE, (on("", Say("all")),)), Agent("scout", (on("tower", Say("own")),))))
    assert said(scene(script, asked("tower"))) == "own"
    assert said(scene(script, asked("else"))) == "all"
    assert said(scene(script, asked("tower", agent=""))) == "all"


def test_each_round_plays_its_own_steps_and_then_the_part_is_over() -> None:
    turn = on("", Say("a"), Call("Bash"), Say("b"))
    assert said(played(turn, to=asked(round=0))) == "a"
    assert said(played(turn, to=asked(round=1))) == "b"
    assert played(turn, to=asked(round=2)).steps == (THE_END,)


def test_a_call_is_filled_with_the_last_result_and_the_number_to_answer() -> None:
    body = {
        "to": "operator",
        "in_reply_to": "{{id:int}}",
        "body": "It is {{result}}, {{unknown}}",
        "tags": ["{{agent}}"],
    }
    call = played(on("", Call("send", body), sender="operator"), to=asked(MAIL, result="42")).steps[0]
    assert isinstance(call, Call)
    assert call.input == {"to": "operator", "in_reply_to": 41, "body": "It is 42, {{unknown}}", "tags": ["scout"]}


def test_a_number_that_is_not_there_leaves_its_key_out() -> None:
    call = played(on("", Call("send", {"in_reply_to": "{{id:int}}", "none": None})), to=asked("no mail")).steps[0]
    assert isinstance(call, Call)
    assert call.input == {"none": None}


def test_what_comes_out_of_a_prompt_is_not_filled_again() -> None:
    assert said(played(on("(?P<all>.*)", Say("{{all}}")), to=asked("{{agent}}"))) == "{{agent}}"


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([Say("a")], "end_turn"),
        ([Say("a"), Call("Bash")], "tool_use"),
        ([Together([Call("Bash")])], "tool_use"),
        ([Say("a"), Stop("max_tokens")], "max_tokens"),
    ],
)
def test_the_stop_reason_follows_from_the_steps(steps: list[AnyStep], reason: str) -> None:
    assert played(on("", *steps), to=asked()).stop_reason == reason


def test_usage_is_estimated_from_the_sizes_unless_said() -> None:
    estimate = played(on("", Say("x" * 80)), to=asked("y" * 40, size=4000)).usage
    assert (estimate.input + estimate.cache_read, estimate.output) == (1001, 21)
    assert played(on("", Usage(input=7)), to=asked()).usage == Usage(input=7)


def test_an_unscripted_prompt_is_answered_as_a_rehearsal() -> None:
    found = scene(Script(), asked("anything"))
    assert "rehearsal" in said(found)
    assert found.place is None


def test_a_turn_for_compacting_is_played_only_when_a_summary_is_asked_for() -> None:
    turn = on("", Say("<summary>my own</summary>"), compacting=True)
    assert said(played(turn, to=asked("the job", wants_summary=True))) == "<summary>my own</summary>"
    assert "no lines for this message" in said(played(turn, to=asked("the job")))


def test_a_summary_is_given_whatever_the_script_says() -> None:
    text = said(played(on("", Fail(500)), to=asked("the job", wants_summary=True)))
    assert text.startswith("<analysis>")
    assert "the job" in text.partition("<summary>")[2]
