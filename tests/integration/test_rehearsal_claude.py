"""The real claude against the rehearsal model: what is scripted is what claude does."""

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import needs
from hyperhive.rehearsal.script import (
    Call,
    Cut,
    Fail,
    Garble,
    Gate,
    Reset,
    Say,
    Stall,
    Stop,
    Think,
    Together,
    Usage,
    on,
)  # fmt: skip
from hyperhive.testing.model import ScriptedModel

pytestmark = pytest.mark.claude

SCOUT = "You are the agent 'scout' of a hyperhive: a rehearsal."


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one `claude --print` said."""

    status: int
    events: list[dict[str, Any]]

    @property
    def result(self) -> dict[str, Any]:
        return next(event for event in reversed(self.events) if event["type"] == "result")

    def of(self, kind: str, subtype: str | None = None) -> list[dict[str, Any]]:
        return [e for e in self.events if e["type"] == kind and (subtype is None or e.get("subtype") == subtype)]

    def blocks(self, kind: str) -> list[dict[str, Any]]:
        contents = [e["message"]["content"] for e in self.of("assistant") + self.of("user")]
        return [
            block for content in contents if isinstance(content, list) for block in content if block["type"] == kind
        ]


Ask = Callable[..., Run]


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(port=0) as model:
        yield model


@pytest.fixture
def ask(model: ScriptedModel, tmp_path: Path) -> Ask:
    """One turn of claude in a throw-away home."""
    binary = needs.claude()
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    cwd.mkdir()

    def ask(prompt: str, *options: str, system: str = SCOUT, **env: str) -> Run:
        argv = [str(binary), "--print", "--output-format", "stream-json", "--verbose", "--model", "haiku"]
        argv += ["--system-prompt", system, "--tools", "Bash", "--permission-mode", "bypassPermissions", *options]
        done = subprocess.run(
            [*argv, prompt],
            cwd=cwd,
            env=model.environment(home) | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=50,
            check=False,
        )
        return Run(status=done.returncode, events=[json.loads(line) for line in done.stdout.splitlines()])

    return ask


def test_thoughts_and_text_arrive_as_scripted(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("hello", Think("Who is that?"), Say("Good day to you, whoever you are.")))
    run = ask("hello")
    assert run.result["result"] == "Good day to you, whoever you are."
    assert [block["thinking"] for block in run.blocks("thinking")] == ["Who is that?"]


def test_a_scripted_command_is_really_run_and_its_output_can_be_quoted(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("compute", Call("Bash", {"command": "echo $((6 * 7))"}), Say("It is {{result}}.")))
    assert ask("compute it").result["result"] == "It is 42."


def test_calls_side_by_side_all_run_in_one_round(model: ScriptedModel, ask: Ask) -> None:
    calls = Together([Call("Bash", {"command": f"echo {word}"}) for word in ("one", "two", "three")])
    model.script("scout", on("", calls, Say("All back.")))
    run = ask("go")
    assert {block["content"] for block in run.blocks("tool_result")} == {"one", "two", "three"}
    assert len({block["id"] for block in run.blocks("tool_use")}) == 3
    assert [each.asked.round for each in model.requests("scout")] == [0, 1]


def test_rounds_follow_each_other(model: ScriptedModel, ask: Ask) -> None:
    steps = [Call("Bash", {"command": f"echo {number}"}) for number in range(4)]
    model.script("scout", on("", *steps, Say("Counted.")))
    run = ask("count")
    assert [block["content"] for block in run.blocks("tool_result")] == ["0", "1", "2", "3"]
    assert run.result["result"] == "Counted."


def test_an_unscripted_prompt_gets_an_answer_that_says_it_is_a_rehearsal(ask: Ask) -> None:
    run = ask("anything")
    assert "rehearsal" in run.result["result"]
    assert run.status == 0


def test_a_turn_that_only_calls_still_ends(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Call("Bash", {"command": "true"})))
    assert ask("go").result["is_error"] is False


def test_a_resumed_conversation_is_at_its_newest_prompt(model: ScriptedModel, ask: Ask) -> None:
    model.script(
        "scout",
        on("first", Call("Bash", {"command": "echo 1"}), Say("First done.")),
        on("second", Call("Bash", {"command": "echo 2"}), Say("Second done.")),
    )
    ask("the first thing")
    assert ask("the second thing", "--continue").result["result"] == "Second done."
    assert model.requests("scout")[-1].asked.prompt == "the second thing"


def test_a_bad_key_ends_the_turn_as_authentication_failed(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Fail(403, "no access")))
    run = ask("hello")
    assert (run.status, run.result["is_error"], run.result["api_error_status"]) == (1, True, 403)
    assert run.of("assistant")[-1]["error"] == "authentication_failed"


def test_an_unauthorized_answer_is_tried_again_and_may_go_away(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Fail(401, times=1), Say("In after all.")))
    run = ask("hello")
    assert run.result["result"] == "In after all."
    assert [retry["error_status"] for retry in run.of("system", "api_retry")] == [401]


def test_a_limit_that_may_not_be_retried_ends_the_turn_at_once(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Fail(429, may_retry=False)))
    run = ask("hello")
    assert run.of("assistant")[-1]["error"] == "rate_limit"
    assert len(model.requests()) == 1


def test_a_used_up_subscription_announces_when_it_resets(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Fail(429, limit_resets_in_s=3600, may_retry=False)))
    run = ask("hello", ANTHROPIC_API_KEY="", CLAUDE_CODE_OAUTH_TOKEN="rehearsal")
    info = run.of("rate_limit_event")[-1]["rate_limit_info"]
    assert (info["status"], info["rateLimitType"]) == ("rejected", "five_hour")
    assert info["resetsAt"] > 0


def test_an_overloaded_model_is_asked_again(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Fail(529, times=1), Say("Room again.")))
    run = ask("hello")
    assert run.result["result"] == "Room again."
    assert [retry["error"] for retry in run.of("system", "api_retry")] == ["overloaded"]


def test_a_failure_that_stays_uses_up_the_retries(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Fail(500)))
    run = ask("hello", CLAUDE_CODE_MAX_RETRIES="1")
    assert run.result["is_error"] is True
    assert len(model.requests()) == 2


def test_a_prompt_that_is_too_long_is_said_to_be(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Fail(400, "prompt is too long: 1200000 tokens > 1000000 maximum")))
    assert ask("hello", DISABLE_COMPACT="1").result["terminal_reason"] == "prompt_too_long"


@pytest.mark.parametrize(
    "fault", [Cut(), Reset(), Garble(), Fail(529, times=1)], ids=lambda fault: type(fault).__name__
)
def test_a_stream_that_breaks_in_the_middle_is_asked_for_again(model: ScriptedModel, ask: Ask, fault: Any) -> None:
    model.script("scout", on("", Say("The first half, "), fault, Say("the whole.")))
    run = ask("hello")
    assert run.result["result"].endswith("the whole.")
    assert len(model.requests()) >= 2


@pytest.mark.parametrize("fault", [Cut(), Reset(), Garble()], ids=lambda fault: type(fault).__name__)
def test_an_answer_that_never_begins_is_asked_for_again(model: ScriptedModel, ask: Ask, fault: Any) -> None:
    model.script("scout", on("", fault, Say("Here.")))
    assert ask("hello").result["result"] == "Here."
    assert len(model.requests()) == 2


def test_a_stalled_stream_is_given_up_and_asked_for_again(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Say("One moment"), Stall(), Say("Sorry for the wait.")))
    run = ask("hello", CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS="1500")
    assert run.result["result"].endswith("Sorry for the wait.")
    assert len(model.requests()) == 2


def test_compaction_keeps_the_newest_prompt(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("remember", Say("I will.")))
    ask("remember the milk")
    run = ask("/compact", "--continue")
    assert run.of("system", "compact_boundary")
    assert model.requests()[-1].asked.wants_summary
    ask("and now?", "--continue")
    last = model.requests("scout")[-1]
    assert last.asked.prompt == "and now?"
    assert b"remember the milk" in last.request.body


def test_a_long_conversation_that_overflows_is_compacted_and_goes_on(model: ScriptedModel, ask: Ask) -> None:
    model.script(
        "scout",
        on("fill", Say("Filled.")),
        on(
            "overflow", Fail(400, "prompt is too long: 1200000 tokens > 1000000 maximum", times=1), Say("It fits now.")
        ),
    )
    ask("fill it")
    ask("fill it more", "--continue")
    run = ask("overflow it", "--continue")
    assert run.of("system", "compact_boundary")
    assert run.result["result"] == "It fits now."


def test_reported_usage_is_what_claude_counts(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Usage(input=1000, output=70, cache_read=5000), Say("Counted.")))
    usage = ask("hello").result["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["cache_read_input_tokens"]) == (1000, 70, 5000)


def test_an_answer_cut_by_the_token_limit_is_continued(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("hello", Say("This is long"), Stop("max_tokens")), on("", Say("and now it ends.")))
    assert ask("hello").result["result"].endswith("and now it ends.")


def test_each_agent_hears_its_own_script(model: ScriptedModel, ask: Ask) -> None:
    model.script("scout", on("", Say("I scout.")))
    model.script("builder", on("", Say("I build.")))
    assert ask("who?").result["result"] == "I scout."
    assert ask("who?", system=SCOUT.replace("scout", "builder")).result["result"] == "I build."


def test_a_gate_holds_the_stream_until_it_is_opened(model: ScriptedModel, ask: Ask, tmp_path: Path) -> None:
    seen = tmp_path / "cwd" / "seen"
    command = {"command": f"touch {seen}"}
    model.script("scout", on("", Say("Waiting"), Gate("go"), Call("Bash", command), Say("Through.")))
    with ThreadPoolExecutor(1) as threads:
        turn = threads.submit(ask, "hello")
        model.gate("go").wait_reached()
        assert not seen.exists()
        model.gate("go").open()
    assert turn.result().result["result"] == "Through."
    assert seen.exists()
