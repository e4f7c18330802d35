"""Events become rows: pure, for every kind, and harmless whatever they say."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperhive.cli.row import Part
from hyperhive.cli.rows import rows
from hyperhive.cli.safe import clean, clean_json, headline, one_line
from hyperhive.protocol.events import (
    AnyLiveEvent,
    HiveEvent,
    ModelChanged,
    Note,
    StatusChanged,
    Stream,
    TokenUsageChanged,
    ToolCall,
    TurnEnd,
    TurnStart,
    TurnStateChanged,
    record,
)


def event(live: AnyLiveEvent) -> HiveEvent:
    stored = record(1, 0.0, live)
    return HiveEvent(id=1, ts=0.0, agent="alpha", kind=stored.kind, payload=stored.payload)


def other(kind: str, payload: object) -> HiveEvent:
    return HiveEvent(id=1, ts=0.0, agent="alpha", kind=kind, payload=msgspec.Raw(json.dumps(payload).encode()))


def stream(value: object) -> HiveEvent:
    return event(Stream(value=msgspec.Raw(json.dumps(value).encode())))


def said(*content: dict[str, Any], type: str = "assistant") -> HiveEvent:
    return stream({"type": type, "message": {"id": "msg_1", "role": type, "content": list(content)}})


def tool(name: str, **given: object) -> HiveEvent:
    return said({"type": "tool_use", "id": "t", "name": name, "input": given})


def texts(event: HiveEvent) -> list[str]:
    return [row.text for row in rows(event)]


TABLE: list[tuple[HiveEvent, list[str]]] = [
    (event(TurnStart(turn="t", sender="bob", body="hi\nthere")), ["◆ TURN ← bob", "  hi\n  there"]),
    (
        event(TurnStart(turn="t", sender="bob", body="x", unread=3, attempt=2)),
        ["◆ TURN ← bob · attempt 2 · 3 unread", "  x"],
    ),
    (event(TurnEnd(turn="t", ok=True)), ["✓ turn ok"]),
    (event(TurnEnd(turn="t", ok=True, duration_ms=1500, cost_usd=0.25)), ["✓ turn ok · 1.5 s · $0.2500"]),
    (event(TurnEnd(turn="t", ok=False, outcome="cancelled", duration_ms=900)), ["■ turn cancelled · 0.9 s"]),
    (event(TurnEnd(turn="t", ok=False, note="claude died")), ["✗ turn fail — claude died"]),
    (event(TurnEnd(turn="t", ok=False, outcome="rate_limited")), ["✗ turn fail — rate_limited"]),
    (event(Note(text="hello")), ["· hello"]),
    (event(Note(text="oops", level="error")), ["! oops"]),
    (event(StatusChanged(text="busy")), ["· status: busy"]),
    (event(ModelChanged(model="opus")), ["· model: opus"]),
    (event(TurnStateChanged(state="compacting")), ["· compacting"]),
    (event(TurnStateChanged(state="thinking")), []),
    (event(TokenUsageChanged(context_tokens=5)), []),
    (event(ToolCall(tool="Bash", input=msgspec.Raw(b"{}"))), []),
    (tool("Bash", command="ls -l\nrm x"), ["$ ls -l"]),
    (tool("Read", file_path="/state/a"), ["→ Read /state/a"]),
    (tool("Write", file_path="/a", content="1\n2\n"), ["→ Write /a · +2", "  + 1\n  + 2"]),
    (
        tool("Edit", file_path="/a", old_string="1\n2", new_string="3"),
        ["→ Edit /a · -2 +1", "  - 1\n  - 2\n  + 3"],
    ),
    (tool("mcp__hyperhive__send", to="bob", body="short"), ["→ send → bob · short"]),
    (
        tool("mcp__hyperhive__send", to="bob", body="first\nsecond"),
        ["→ send → bob · first", "  first\n  second"],
    ),
    (tool("mcp__hyperhive__recv", wait_seconds=5), ["→ recv 5"]),
    (tool("Glob", pattern="*.py", path="/x"), ["→ Glob *.py /x"]),
    (said({"type": "text", "text": "Good\nday"}), ["  Good\n  day"]),
    (said({"type": "thinking", "thinking": "hmm"}), ["  hmm"]),
    (said({"type": "thinking", "thinking": ""}), ["  (thinking)"]),
    (said({"type": "tool_result", "content": "fine"}, type="user"), ["← fine"]),
    (said({"type": "tool_result", "content": [{"type": "text", "text": "fine"}]}, type="user"), ["← fine"]),
    (said({"type": "tool_result", "content": "a\nb\nc"}, type="user"), ["▸ ← 3l · a"]),
    (stream({"type": "user", "message": {"role": "user", "content": "the wake prompt"}}), []),
    (stream({"type": "system", "subtype": "init", "session_id": "s"}), []),
    (stream({"type": "result", "subtype": "success"}), []),
    (stream({"type": "rate_limit_event"}), []),
    (
        stream({"type": "system", "subtype": "task_started", "task_id": "t1", "description": "sleep"}),
        ["⌁ task t1 started sleep"],
    ),
    (
        stream({"type": "system", "subtype": "task_notification", "task_id": "t1", "status": "completed"}),
        ["⌁ task t1 ✓"],
    ),
    (stream({"type": "system", "subtype": "task_notification", "task_id": "t1", "status": "failed"}), ["⌁ task t1 ✗"]),
    (stream({"type": "novelty", "n": 1}), ['· {"type":"novelty","n":1}']),
    (stream({"type": "assistant", "message": 7}), ['· {"type":"assistant","message":7}']),
    (other("message_sent", {"kind": "sent", "id": 4, "sender": "a", "recipient": "b"}), ["✉ #4 a → b"]),
    (other("message_leased", {"id": 4, "sender": "a", "recipient": "b"}), []),
    (
        other("message_dead", {"id": 4, "sender": "a", "recipient": "b", "note": "5 attempts"}),
        ["✗ #4 a → b was given up (5 attempts)"],
    ),
    (other("container_crash", {"kind": "container_crash", "status": 137}), ["· container_crash status=137"]),
]


@pytest.mark.parametrize(("event", "expected"), TABLE)
def test_an_event_is_shown_as_the_table_says(event: HiveEvent, expected: list[str]) -> None:
    shown = [text.replace('": ', '":').replace(', "', ',"') for text in texts(event)]
    assert shown == expected


def test_text_that_is_being_written_comes_in_pieces() -> None:
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}}
    (row,) = rows(stream({"type": "stream_event", "api_message_id": "msg_1", "event": delta}))
    assert (row.text, row.part, row.message) == ("Hel", Part.PIECE, "msg_1")
    (end,) = rows(stream({"type": "stream_event", "event": {"type": "content_block_stop"}}))
    assert end.part is Part.END


def test_a_long_body_is_cut_and_says_how_much_is_missing() -> None:
    _, body = rows(event(TurnStart(turn="t", sender="a", body="line\n" * 500)))
    assert body.text.count("\n") == 40
    assert body.text.endswith("… 460 more lines")


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\u202eevil\u2066\u2028\x7f\x00"


def is_harmless(text: str) -> bool:
    return not any(ord(char) < 32 and char != "\n" for char in text) and not set(text) & set(
        "\x7f\x9b\u202e\u2066\u2028"
    )


@pytest.mark.parametrize(
    "event",
    [
        event(TurnStart(turn="t", sender=HOSTILE, body=HOSTILE)),
        event(TurnEnd(turn="t", ok=False, note=HOSTILE)),
        event(TurnEnd(turn="t", ok=False, outcome=HOSTILE)),
        event(Note(text=HOSTILE, level="error")),
        event(StatusChanged(text=HOSTILE)),
        event(ModelChanged(model=HOSTILE)),
        *(tool(name, command=HOSTILE, file_path=HOSTILE, content=HOSTILE, to=HOSTILE, body=HOSTILE, old_string=HOSTILE)
          for name in ("Bash", "Read", "Write", "Edit", "mcp__hyperhive__send", "Glob", HOSTILE)),
        said({"type": "text", "text": HOSTILE}),
        said({"type": "thinking", "thinking": HOSTILE}),
        said({"type": "tool_result", "content": HOSTILE}, type="user"),
        said({"type": "tool_result", "content": HOSTILE * 20}, type="user"),
        stream({"type": "stream_event", "event": {"type": "x", "delta": {"type": "text_delta", "text": HOSTILE}}}),
        stream({"type": "system", "subtype": "task_started", "task_id": HOSTILE, "description": HOSTILE}),
        stream({"type": "novelty", "text": HOSTILE}),
        other("message_sent", {"sender": HOSTILE, "recipient": HOSTILE, "note": HOSTILE}),
        other(HOSTILE, {HOSTILE: HOSTILE}),
    ],
)  # fmt: skip
def test_no_control_character_of_an_agent_survives(event: HiveEvent) -> None:
    shown = texts(event)
    assert shown
    assert all(is_harmless(text) for text in shown), shown


def test_a_text_cannot_pass_for_a_row_of_ours() -> None:
    forged = "thanks\n✓ turn ok\n◆ TURN ← operator"
    for row in (
        rows(said({"type": "text", "text": forged})) + rows(event(TurnStart(turn="t", sender="a", body=forged)))[1:]
    ):
        assert all(line.startswith("  ") for line in row.text.split("\n"))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
kinds = st.sampled_from(
    ["assistant", "user", "system", "stream_event", "result", "note", "turn_start", "message_sent"]
)


@given(kinds, st.dictionaries(st.sampled_from(["type", "message", "event", "text", "from", "id"]), json_values))
def test_any_payload_has_rows_and_no_control_characters(kind: str, fields: dict[str, Any]) -> None:
    for candidate in (other(kind, {"kind": kind, **fields}), stream({**fields, "type": kind})):
        assert all(is_harmless(text) for text in texts(candidate))


@given(st.text(st.characters()))
def test_cleaning_leaves_nothing_that_moves_the_cursor(text: str) -> None:
    assert is_harmless(clean(text))
    assert "\n" not in one_line(text)
    assert "\n" not in headline(text)
    assert len(one_line(text, 20)) <= 20


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_cleaned_json_is_the_same_value(text: str, fields: dict[str, str]) -> None:
    dumped = msgspec.json.encode([text, fields]).decode()
    assert msgspec.json.decode(clean_json(dumped)) == [text, fields]
    assert is_harmless(clean_json(dumped))


@pytest.mark.parametrize("depth", [900, 990, 995, 1000, 100_000])
@pytest.mark.parametrize("kind", ["unheard_of", "stream", "note", "turn_start", "message_sent"])
def test_an_event_nested_too_deep_to_show_is_one_row_and_no_error(kind: str, depth: int) -> None:
    text = f'{{"kind":"{kind}","id":1,"value":{"[" * depth}{"]" * depth}}}'
    bad = HiveEvent(id=1, ts=0.0, agent="alpha", kind=kind, payload=msgspec.Raw(text.encode()))
    assert len(rows(bad)) <= 1


def test_an_event_that_cannot_be_shown_says_so() -> None:
    class Broken(str):
        def startswith(self, *_: object) -> bool:
            raise ValueError(self)

    assert [row.text for row in rows(other(Broken("odd"), {}))] == ["· odd cannot be shown: ValueError"]
