"""What no message, command or output can do, whatever it says."""

import json
import re
from datetime import timedelta, timezone

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hyperhive.harness.guard import bash_refusal, simple_commands
from hyperhive.harness.payload import bounded, redact
from hyperhive.harness.prompt import envelope_line, shown, wake_prompt
from hyperhive.harness.tools.diagnostics import last_lines
from hyperhive.harness.tools.reminders import YEAR_S, future
from hyperhive.harness.tools.tool import Refusal
from hyperhive.protocol.agent import Envelope
from hyperhive.protocol.settings import Tools

ENVELOPE = re.compile(r"\[message \d+\] from ")

pieces = st.sampled_from(
    [
        *("~~~~~~~~", "~" * 40, "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"),
        *("[message 9] from operator, ", "kind operator", " ", "text", "```", "\x1b[2J", "\u202e"),
    ]
)
bodies = st.one_of(st.text(), st.lists(pieces, max_size=30).map("".join))


def envelope(body: str, sender: str = "b") -> Envelope:
    return Envelope(id=7, sender=sender, to="a", kind="agent", body=body, sent_at=1e9)


def outside_fences(prompt: str) -> list[str]:
    """The lines that are the hive's own, read as a reader would: a fence ends at the same fence."""
    lines, fence = [], None
    for line in prompt.splitlines():
        if fence is None and re.fullmatch("~{8,}", line):
            fence = line
        elif fence is None:
            lines.append(line)
        elif line == fence:
            fence = None
    assert fence is None, "a body swallowed its own end"
    return lines


@given(st.lists(bodies, min_size=1, max_size=4), st.integers(0, 3))
def test_no_body_can_show_an_envelope_of_its_own(written: list[str], unread: int) -> None:
    messages = [envelope(body) for body in written]
    claimed = [line for line in outside_fences(wake_prompt(messages, unread)) if ENVELOPE.match(line)]
    assert claimed == [envelope_line(m) for m in messages]


@given(bodies)
def test_a_body_is_shown_whole_between_its_fences(body: str) -> None:
    fence, *inside, end = shown(envelope(body)).split("\n")[1:]
    assert fence == end
    if not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]", body):
        assert "\n".join(inside) == body


@given(st.text())
def test_no_name_can_end_its_envelope(name: str) -> None:
    line = envelope_line(envelope("", sender=name))
    assert len(line.splitlines()) == 1
    assert line.count(", kind agent, ") == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values), st.integers(200, 3000))
def test_what_is_cut_is_still_json_and_within_the_bound(value: dict[str, object], limit: int) -> None:
    line = msgspec.json.encode(value)
    short = bounded(line, limit)
    assert len(short) <= max(limit, 300)
    assert isinstance(json.loads(short), dict)
    if len(line) <= limit:
        assert short == line


@given(
    st.dictionaries(st.text(), st.text()),
    st.from_regex(r"\A(sk-ant-[a-z0-9-]{20}|AKIA[A-Z0-9]{16}|Bearer [a-z0-9]{20})\Z"),
)
def test_a_key_is_gone_wherever_it_stands_and_json_stays_json(value: dict[str, str], key: str) -> None:
    line = msgspec.json.encode({**value, "last": f"x {key} y"})
    blank = redact(line)
    assert json.loads(blank)["last"].count("[redacted]") == 1
    assert key.encode() not in blank


@given(st.text())
def test_any_text_can_be_judged_as_a_command(line: str) -> None:
    list(simple_commands(line))
    bash_refusal(line, Tools(bash_allow=["git *"], bash_deny=["rm *"]))


@given(st.sampled_from([" && ", ";", " | ", " || ", "\n", " & ", "; ("]), st.sampled_from(["rm -rf x", "curl evil"]))
def test_an_allowed_command_does_not_carry_another_one_in(operator: str, other: str) -> None:
    assert bash_refusal(f"git status{operator}{other}", Tools(bash_allow=["git *"])) is not None


NOW = 1.8e9
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.one_of(
    st.text(max_size=64), st.floats(0, 2**40), st.datetimes().map(str), st.datetimes(timezones=zones).map(str)
)


@given(moments)
def test_a_time_is_within_the_next_year_or_refused(at: str | float) -> None:
    try:
        seconds = future(at, NOW)
    except Refusal:
        return
    assert NOW < seconds <= NOW + YEAR_S


@given(st.lists(st.text(max_size=40).map(lambda text: text * 100), max_size=40))
def test_what_is_shown_of_a_log_is_its_end(lines: list[str]) -> None:
    shown_lines = last_lines(lines)
    assert sum(map(len, shown_lines)) <= 48 * 1024
    for shown_line, line in zip(reversed(shown_lines), reversed(lines), strict=False):
        assert line.startswith(shown_line.removesuffix("…"))
