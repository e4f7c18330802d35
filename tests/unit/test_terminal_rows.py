"""What an event shows, as data: in words where there are some, bounded and without an error whatever was written."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperhive.protocol.events import AnyLiveEvent, HiveEvent, Note, Stream, TurnEnd, TurnStart, record
from hyperhive.terminal.row import MAX_LINES, MAX_TEXT, Kind, Piece, Row
from hyperhive.terminal.rows import rows
from hyperhive.terminal.said import MAX_BLOCKS
from hyperhive.terminal.writing import Writing

MAX_HEAD = 600


def event(live: AnyLiveEvent) -> HiveEvent:
    stored = record(1, 0.0, live)
    return HiveEvent(id=1, ts=0.0, agent="alpha", kind=stored.kind, payload=stored.payload)


def news(kind: str, **fields: Any) -> HiveEvent:
    payload = msgspec.Raw(json.dumps({"kind": kind, **fields}).encode())
    return HiveEvent(id=1, ts=0.0, agent="alpha", kind=kind, payload=payload)


def stream(value: object) -> HiveEvent:
    return event(Stream(value=msgspec.Raw(json.dumps(value).encode())))


def said(*content: object, type: str = "assistant", id: str = "m1") -> HiveEvent:
    return stream({"type": type, "message": {"id": id, "content": list(content)}})


def tool(name: str, **given: object) -> HiveEvent:
    return said({"type": "tool_use", "name": name, "input": given})


def result(text: object, *, is_error: bool = False) -> HiveEvent:
    return said({"type": "tool_result", "content": text, "is_error": is_error}, type="user")


def only(event: HiveEvent) -> Row:
    (row,) = rows(event)
    assert isinstance(row, Row)
    return row


@pytest.mark.parametrize(
    ("event", "head"),
    [
        (news("approval_added", id=3, approval_kind="apply_commit"),
         "· a change of the config waits for your approval (#3)"),
        (news("approval_added", id=3, approval_kind="spawn"), "· the spawn waits for your approval (#3)"),
        (news("approval_resolved", id=3, approval_kind="spawn", status="denied", note="no\nneed"),
         "· the spawn (#3) is denied: no need"),
        (news("question_asked", id=2, asker="alpha", target="operator"), "· alpha asks operator (question #2)"),
        (news("question_answered", id=2, asker="alpha", target="operator"),
         "· operator has answered alpha (question #2)"),
        (news("question_answered", id=2, asker="alpha", target="operator", note="[cancelled]"),
         "· question #2 to operator ends unanswered: [cancelled]"),
        (news("spawned", sha="0123456789abcdef"), "· the agent was spawned with config 0123456789a…"),
        (news("rebuilt", sha="abc", tag="x"), "· the container was rebuilt with config abc"),
        (news("killed"), "· the container was stopped"),
        (news("destroyed", purged=False), "· the agent was destroyed"),
        (news("destroyed", purged=True), "· the agent was destroyed, and all it had"),
        (news("container_crash", note="killed by SIGKILL", oom=True),
         "! the container died: killed by SIGKILL, out of memory"),
        (news("egress_refused", host="evil.example", port=443, reason="not on the list", count=3),
         "! the network refused evil.example:443, 3 times: not on the list"),
        (news("container_crash", status=1), "· container_crash status=1"),
        (news("no_room", note="it has 2 GiB"), "! kept down for want of room on the disk: it has 2 GiB"),
        (news("disk_short", note="1 MiB is free"), "! the disk is short: 1 MiB is free"),
        (news("novelty", a=1), "· novelty a=1"),
    ],
)  # fmt: skip
def test_what_the_hive_says_of_an_agent_is_in_words(event: HiveEvent, head: str) -> None:
    assert only(event).head == head


@pytest.mark.parametrize(
    ("event", "kind", "body"),
    [
        (tool("Write", file_path="/a", content="1\n2"), Kind.CHANGE, "+ 1\n+ 2"),
        (tool("Edit", file_path="/a", old_string="1", new_string="2"), Kind.CHANGE, "- 1\n+ 2"),
        (tool("mcp__hyperhive__send", to="b", body="first\nrest"), Kind.LETTER, "first\nrest"),
        (tool("Bash", command="one\ntwo"), Kind.TOOL, "one\ntwo"),
        (tool("Bash", command="one"), Kind.TOOL, ""),
        (result("a\nb"), Kind.RESULT, "a\nb"),
        (result("oh no", is_error=True), Kind.ERROR, ""),
        (said({"type": "text", "text": "# Hi"}), Kind.TEXT, "# Hi"),
        (said({"type": "redacted_thinking", "data": "x"}), Kind.THOUGHT, "(thinking)"),
        (event(TurnStart(turn="t", sender="bob", body="do it")), Kind.TURN, "do it"),
    ],
)
def test_a_row_has_what_stands_under_it(event: HiveEvent, kind: Kind, body: str) -> None:
    row = only(event)
    assert (row.kind, row.body, row.left_out) == (kind, body, 0)


def test_a_body_is_kept_as_far_as_there_is_room_and_says_what_is_missing() -> None:
    long, tall = "x" * (MAX_TEXT + 5), "\n" * (MAX_LINES + 5)
    assert (len(only(result(long)).body), only(result(long)).left_out) == (MAX_TEXT, 5)
    assert only(result(tall)).body.count("\n") == MAX_LINES - 1
    assert only(result(tall)).left_out == 6


def test_a_message_of_very_many_blocks_is_cut() -> None:
    shown = rows(said(*({"type": "text", "text": "x"} for _ in range(MAX_BLOCKS + 7))))
    assert len(shown) == MAX_BLOCKS + 1
    assert isinstance(shown[-1], Row)
    assert shown[-1].head == "… 7 more blocks"


def delta(text: str, message: str = "m1", block: int = 0, kind: str = "text") -> HiveEvent:
    change = {"type": "content_block_delta", "index": block, "delta": {"type": f"{kind}_delta", kind: text}}
    return stream({"type": "stream_event", "event": change, "api_message_id": message})


def test_a_piece_says_which_text_it_belongs_to() -> None:
    assert rows(delta("hm", "m7", 2, "thinking")) == [Piece(message="m7", block=2, text="hm", is_thought=True)]
    assert rows(stream({"type": "stream_event", "event": {"type": "message_start"}})) == []


def written(*events: HiveEvent) -> Writing:
    writing = Writing()
    for each in events:
        for shown in rows(each):
            writing = writing.then(shown)
    return writing


def test_what_is_being_written_grows_until_it_is_whole() -> None:
    assert written(delta("a"), delta("b"), event(Note(text="aside"))).text == "ab"
    assert written(delta("a"), delta("b", block=1)).text == "b"
    assert written(delta("a"), said({"type": "text", "text": "a"}, id="m1")) == Writing()
    assert written(delta("a"), said({"type": "text", "text": "x"}, id="m2")).text == "a"
    assert written(delta("a"), event(TurnEnd(turn="t", ok=True))) == Writing()
    assert written(delta("a"), news("container_crash", note="gone")) == Writing()
    assert len(written(*(delta("x" * 10_000) for _ in range(50))).text) < 2 * MAX_TEXT


def bounded(shown: Row | Piece) -> bool:
    if isinstance(shown, Piece):
        return len(shown.text) <= MAX_TEXT and len(shown.message) <= MAX_HEAD
    is_line = len(shown.head.splitlines()) <= 1
    return is_line and len(shown.head) <= MAX_HEAD and len(shown.body) <= MAX_TEXT and len(shown.message) <= MAX_HEAD


HUGE = "\x1b[2J\u202e\x00\u2028\r\n" * 20_000


@pytest.mark.parametrize(
    "event",
    [
        event(TurnStart(turn=HUGE, sender=HUGE, body=HUGE, unread=10**18)),
        event(TurnEnd(turn=HUGE, ok=False, note=HUGE, outcome=HUGE)),
        event(Note(text=HUGE)),
        *(tool(name, file_path=HUGE, command=HUGE, content=HUGE, old_string=HUGE, to=HUGE, body=HUGE)
          for name in ("Bash", "Read", "Write", "Edit", "mcp__hyperhive__send", "Glob", HUGE)),
        tool("Grep", **{str(number): HUGE[:100] for number in range(1000)}),
        result(HUGE),
        result([{"type": "text", "text": HUGE}, {"text": 7}, 7]),
        said({"type": "text", "text": HUGE}, id=HUGE),
        delta(HUGE, HUGE, 10**18),
        stream({"type": "system", "subtype": "task_started", "task_id": HUGE, "description": HUGE}),
        stream({"type": HUGE}),
        *(news(kind, id=10**18, approval_kind=HUGE, status=HUGE, note=HUGE, asker=HUGE, target=HUGE, sha=HUGE,
               purged=True, host=HUGE, port=10**18, reason=HUGE, count=10**18)
          for kind in ("approval_added", "approval_resolved", "question_asked", "question_answered", "spawned",
                       "rebuilt", "destroyed", "container_crash", "egress_refused", HUGE)),
    ],
)  # fmt: skip
def test_a_row_is_bounded_whatever_is_written(event: HiveEvent) -> None:
    shown = rows(event)
    assert shown
    assert all(bounded(each) for each in shown)


@pytest.mark.parametrize("depth", [100, 990, 10_000, 100_000])
@pytest.mark.parametrize("kind", ["unheard_of", "stream", "note", "tool", "egress_refused"])
def test_what_is_nested_without_end_is_one_row(kind: str, depth: int) -> None:
    nest = "[" * depth + "]" * depth
    value = f'{{"type":"assistant","message":{{"content":[{{"type":"tool_use","name":"x","input":{{"a":{nest}}}}}]}}}}'
    text = f'{{"kind":"stream","value":{value}}}' if kind == "tool" else f'{{"kind":"{kind}","value":{nest}}}'
    bad = HiveEvent(id=1, ts=0.0, agent="alpha", kind=kind, payload=msgspec.Raw(text.encode()))
    shown = rows(bad)
    assert len(shown) <= 1
    assert all(bounded(each) for each in shown)


@given(st.binary(max_size=200), st.sampled_from(["stream", "note", "approval_added", "x"]))
def test_any_bytes_have_rows(payload: bytes, kind: str) -> None:
    shown = rows(HiveEvent(id=1, ts=0.0, agent="alpha", kind=kind, payload=msgspec.Raw(payload)))
    assert all(bounded(each) for each in shown)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "tool_use", "tool_result", "x"])},
    optional={
        "text": json_values,
        "name": st.sampled_from(["Bash", "Write", "Edit", "mcp__hyperhive__send", "x"]),
        "input": json_values,
        "content": json_values,
        "is_error": json_values,
    },
)


@given(st.lists(blocks | json_values, max_size=4), st.sampled_from(["assistant", "user"]))
def test_any_message_of_claudes_has_rows(content: list[Any], type: str) -> None:
    assert all(bounded(each) for each in rows(said(*content, type=type)))


@given(st.lists(st.tuples(st.text(), st.sampled_from(["m1", "m2", ""]), st.integers(-1, 2))))
def test_what_is_being_written_goes_on_from_what_it_was_or_begins_anew(pieces: list[tuple[str, str, int]]) -> None:
    writing = Writing()
    for text, message, block in pieces:
        now = writing.then(Piece(message=message, block=block, text=text))
        if message:
            assert now.text == (writing.text if now.goes_on_from(writing) else "") + text
        writing = now
