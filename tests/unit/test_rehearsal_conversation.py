"""Reading requests as claude writes them."""

import json
from typing import Any

import pytest

from hyperhive.harness.prompt import Identity, system_prompt, wake_prompt
from hyperhive.protocol.agent import Envelope
from hyperhive.rehearsal import conversation
from hyperhive.rehearsal.conversation import Conversation, Mail, mail_in

CALL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "true"}}
REMINDER = "<system-reminder>Mind the gap.</system-reminder>"


def read(*messages: tuple[str, Any], **fields: Any) -> Conversation:
    entries = [{"role": role, "content": content} for role, content in messages]
    return conversation.read(json.dumps({"messages": entries, **fields}).encode())


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def result(words: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": words}


def test_the_harness_says_which_agent_it_is() -> None:
    identity = Identity(
        agent="scout-2", role="agent", description="You are the agent 'builder' of", instructions="", colleagues=[]
    )
    assert conversation.agent_in(system_prompt(identity)) == "scout-2"


def test_a_foreign_system_prompt_names_no_agent() -> None:
    assert read(("user", "hello"), system=[text("You are a helpful assistant.")]).agent == ""


def test_the_system_prompt_may_come_in_blocks() -> None:
    blocks = [text("billing"), text("You are the agent 'scout' of a hyperhive: a team")]
    assert read(("user", "hello"), system=blocks).agent == "scout"


def test_the_mail_of_a_wake_prompt_is_seen() -> None:
    mail = [
        Envelope(id=7, sender="system", to="scout", kind="system", body="up", sent_at=0.0),
        Envelope(id=12, sender="operator", to="scout", kind="operator", body="hi", sent_at=0.0, attempt=2),
    ]
    assert mail_in(wake_prompt(mail, 3)) == [Mail(id="7", sender="system"), Mail(id="12", sender="operator")]


def test_reminders_are_no_part_of_the_prompt() -> None:
    asked = read(("user", [text(REMINDER), text(f"{REMINDER}\nhello {REMINDER}there")]), ("user", REMINDER))
    assert asked.prompt == "hello there"


def test_a_reminder_without_an_end_is_kept_as_text() -> None:
    assert read(("user", "a <system-reminder> b")).prompt == "a <system-reminder> b"


@pytest.mark.parametrize("own", ["[Request interrupted by user]", "<command-name>/compact</command-name>"])
def test_what_claude_writes_itself_is_no_prompt(own: str) -> None:
    assert read(("user", "hello"), ("assistant", "…"), ("user", own)).prompt == "hello"


def test_the_newest_prompt_counts_and_the_rounds_since() -> None:
    asked = read(
        ("user", "first"),
        ("assistant", [CALL]),
        ("user", [result("1")]),
        ("user", [text("second")]),
        ("assistant", [text("let me see"), CALL]),
        ("user", [result("2")]),
    )
    assert (asked.prompt, asked.round, asked.result) == ("second", 1, "2")


def test_calls_side_by_side_are_one_round_however_they_are_split() -> None:
    asked = read(
        ("user", "go"), ("assistant", [CALL]), ("assistant", [CALL, CALL]), ("user", [result("a"), result("b")])
    )
    assert (asked.round, asked.result) == (1, "a\nb")


def test_a_message_of_the_system_does_not_make_a_round() -> None:
    asked = read(("user", "go"), ("assistant", [CALL]), ("system", "Mail came in."), ("user", [result([text("ok")])]))
    assert (asked.prompt, asked.round, asked.result) == ("go", 1, "ok")


def test_a_prompt_beside_a_result_begins_anew() -> None:
    asked = read(("user", "old"), ("assistant", [CALL]), ("user", [result("cut"), text("new")]))
    assert (asked.prompt, asked.round) == ("new", 0)


def test_a_request_for_a_summary_is_about_the_prompt_before_it() -> None:
    request = "Write a summary of the conversation: <analysis> first, then <summary>."
    asked = read(("user", "the job"), ("assistant", [CALL]), ("user", [result("x")]), ("user", request))
    assert (asked.wants_summary, asked.prompt, asked.round) == (True, "the job", 1)


def test_a_compacted_conversation_goes_on_with_its_summary_only_while_there_is_no_newer_prompt() -> None:
    summary = "This session is being continued from a previous conversation. Its newest prompt was: the job"
    assert read(("user", summary)).prompt == summary
    assert read(("user", [text(summary), text("the next job")])).prompt == "the next job"


def test_an_empty_conversation_has_no_prompt() -> None:
    asked = read()
    assert (asked.prompt, asked.round, asked.result, asked.wants_summary) == ("", 0, "", False)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"messages": 1}', b'{"messages": [{"role": "user"}]}', b"\xff", b'{"messages": [' * 100_000]
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(conversation.UnreadableError):
        conversation.read(body)


def test_a_huge_prompt_is_cut() -> None:
    asked = read(("user", "x" * 1_000_000), ("assistant", [CALL]), ("user", [result("y" * 1_000_000)]))
    assert len(asked.prompt) == conversation.MAX_PROMPT
    assert len(asked.result) == conversation.MAX_RESULT
