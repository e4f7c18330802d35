import json
from typing import Any

import pytest

from hyperhive.harness import transcript
from hyperhive.harness.transcript import Assistant, Ordered, Result, Settlement, Tally, settlement
from hyperhive.protocol.events import Outcome


def tally(*lines: dict[str, Any]) -> Tally:
    one = Tally()
    for line in lines:
        said = transcript.message(json.dumps(line).encode())
        assert said is not None
        one.take(said)
    return one


def result(**fields: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": False, **fields}


def failed(**fields: Any) -> dict[str, Any]:
    return result(is_error=True, **fields)


def error(kind: str) -> dict[str, Any]:
    return {"type": "assistant", "error": kind, "message": {"content": []}}


@pytest.mark.parametrize(
    ("lines", "ordered", "ended"),
    [
        ([result(terminal_reason="completed")], None, Outcome.OK),
        ([result()], Ordered.CANCEL, Outcome.OK),
        ([failed(terminal_reason="api_error")], None, Outcome.FAILED),
        ([error("authentication_failed"), failed(terminal_reason="api_error")], None, Outcome.NEEDS_LOGIN),
        ([error("authentication_failed"), result()], None, Outcome.OK),
        ([error("rate_limit"), failed()], None, Outcome.OVERLOADED),
        ([error("server_error"), failed()], None, Outcome.OVERLOADED),
        ([{"type": "rate_limit_event", "rate_limit_info": {"status": "rejected"}}, failed()], None,
         Outcome.OVERLOADED),
        ([{"type": "rate_limit_event", "rate_limit_info":
           {"status": "rejected", "resetsAt": 5, "unifiedWindows": {"five_hour": "?"}}}, failed()], None,
         Outcome.RATE_LIMITED),
        ([{"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 5}}, failed()], None,
         Outcome.RATE_LIMITED),
        ([{"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}}, failed()], None, Outcome.FAILED),
        ([failed(terminal_reason="prompt_too_long")], None, Outcome.OVERFLOW),
        ([failed(terminal_reason="blocking_limit")], None, Outcome.OVERFLOW),
        ([failed(subtype="error_max_budget_usd")], None, Outcome.BUDGET),
        ([error("billing_error"), failed()], None, Outcome.BUDGET),
        ([failed(terminal_reason="aborted_tools")], Ordered.CANCEL, Outcome.CANCELLED),
        ([failed(terminal_reason="aborted_tools")], None, Outcome.INTERRUPTED),
        ([failed(terminal_reason="aborted_streaming")], Ordered.STOP, Outcome.INTERRUPTED),
        ([failed(terminal_reason="aborted_streaming")], Ordered.BUDGET, Outcome.BUDGET),
        ([], None, Outcome.INTERRUPTED),
        ([], Ordered.CANCEL, Outcome.CANCELLED),
        ([failed(result="Not logged in · Please run /login 429 prompt is too long")], None, Outcome.FAILED),
    ],
)  # fmt: skip
def test_the_outcome_is_read_from_fields_and_never_from_text(
    lines: list[dict[str, Any]], ordered: Ordered | None, ended: Outcome
) -> None:
    assert transcript.outcome(tally(*lines), ordered) is ended


@pytest.mark.parametrize(
    ("ended", "ordered", "becomes"),
    [
        (Outcome.OK, None, Settlement.ACK),
        (Outcome.CANCELLED, Ordered.CANCEL, Settlement.ACK),
        (Outcome.FAILED, None, Settlement.FAIL),
        (Outcome.INTERRUPTED, None, Settlement.FAIL),
        (Outcome.INTERRUPTED, Ordered.STOP, Settlement.RETURN),
        (Outcome.BUDGET, Ordered.BUDGET, Settlement.RETURN),
        (Outcome.NEEDS_LOGIN, None, Settlement.RETURN),
        (Outcome.RATE_LIMITED, None, Settlement.RETURN),
    ],
)
def test_what_becomes_of_the_messages(ended: Outcome, ordered: Ordered | None, becomes: Settlement) -> None:
    assert settlement(ended, ordered) is becomes


def test_an_overload_counts_as_an_attempt_only_when_it_never_ends() -> None:
    assert settlement(Outcome.OVERLOADED, None, 1) is Settlement.RETURN
    assert settlement(Outcome.OVERLOADED, None, transcript.MAX_OVERLOADS) is Settlement.RETURN
    assert settlement(Outcome.OVERLOADED, None, transcript.MAX_OVERLOADS + 1) is Settlement.FAIL


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ({"five_hour": {"utilization": 0.5, "resetsAt": 7, "status": "allowed"}}, [("five_hour", 0.5, 7)]),
        (None, []),
        ("all of it", []),
        ({"five_hour": {"utilization": "much"}}, []),
        ({"Five Hours": {"utilization": 0.5, "resetsAt": 7}}, []),
        ({"five_hour": {"utilization": 1e9, "resetsAt": 7}}, []),
        ({"five_hour": {"utilization": 0.5, "resetsAt": 1e300}}, []),
    ],
)
def test_windows_of_an_unknown_shape_are_none(said: Any, heard: list[tuple[str, float, float]]) -> None:
    line = {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed", "unifiedWindows": said}}
    message = transcript.message(json.dumps(line).encode())
    assert isinstance(message, transcript.RateLimit)
    windows = message.rate_limit_info.windows
    assert [(window.name, window.utilization, window.resets_at) for window in windows] == heard


def test_the_cost_of_a_turn_is_its_share_of_claudes_running_total() -> None:
    one = tally(result(total_cost_usd=0.75))
    one.cost_before = 0.5
    assert one.cost_usd == 0.25


def test_a_subagents_messages_do_not_count_as_the_turns_own() -> None:
    line = {"type": "assistant", "error": "rate_limit", "parent_tool_use_id": "toolu_1", "message": {}}
    assert transcript.message(json.dumps(line).encode()) is None


@pytest.mark.parametrize("line", [b"", b"[]", b'"x"', b'{"type": 5}', b'{"type": "new_kind"}', b"\xff", b"[" * 5000])
def test_what_is_of_an_unknown_shape_says_nothing(line: bytes) -> None:
    assert transcript.message(line) is None


def test_a_result_says_which_prompts_it_answers() -> None:
    assert Result(user_message_uuids=["a", "b"]).answers("b")
    assert not Result(user_message_uuids=["a"]).answers("b")
    assert Result().answers("b")
    assert not Result(origin=transcript.Origin(kind="task-notification")).answers("b")


def test_an_error_that_was_overcome_is_forgotten() -> None:
    assert tally(error("server_error"), {"type": "assistant", "message": {}}).error == ""
    assert isinstance(transcript.message(b'{"type": "assistant"}'), Assistant)


def test_what_the_turn_used_comes_before_a_difference_of_totals() -> None:
    one = tally(
        result(total_cost_usd=0.75, model_usage_since_last_result={"m": {"costUSD": 0.5}, "n": {"costUSD": 0.125}})
    )
    assert one.cost_usd == 0.625
