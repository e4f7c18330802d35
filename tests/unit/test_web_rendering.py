"""What agents wrote is text, whatever it says; times and sizes are for people."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from msgspec import UNSET

from hyperhive.broker.jobs import JobKind, JobRow, JobState
from hyperhive.protocol import host
from hyperhive.web.actions import addressed
from hyperhive.web.rendering import (
    TEMPLATES,
    absolute,
    age,
    clip,
    line_kind,
    markdown,
    render,
    seen,
    size,
    stamp,
    tokens,
)
from hyperhive.web.sections import Diff

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("2026-03-01T12:00:00Z", "now"),
        ("2026-03-01T11:59:01Z", "now"),
        ("2026-03-01T11:59:00Z", "1 min ago"),
        ("2026-03-01T10:00:00.000Z", "2 h ago"),
        ("2026-02-26T12:00:00Z", "3 d ago"),
        ("2025-11-01T12:00:00Z", "4 mo ago"),
        ("2020-03-01T12:00:00Z", "6 y ago"),
        ("2026-03-01T12:00:30Z", "in a moment"),
        ("2026-03-01T13:30:00Z", "in 1 h"),
        (NOW.timestamp() - 120, "2 min ago"),
    ],
)
def test_a_time_is_told_in_the_largest_unit_that_fits(when: str | float, said: str) -> None:
    assert age(when, NOW) == said


@pytest.mark.parametrize("when", [1e300, 2.0**52, -1e300, -1.0])
def test_a_time_of_which_there_is_no_date_is_shown_as_the_nearest(when: float) -> None:
    assert absolute(when)[:10] in ("9999-12-31", "1970-01-01")
    assert age(when, NOW)
    assert stamp(when)


def test_sizes_and_tokens_are_short() -> None:
    assert [size(n) for n in (0, 1023, 2048, 5 << 20, 3 << 30)] == ["0 B", "1023 B", "2.0 KiB", "5.0 MiB", "3.0 GiB"]
    assert [tokens(n) for n in (0, 999, 1000, 45_499)] == ["0", "999", "1k", "45k"]


def test_a_long_text_is_cut_and_says_so() -> None:
    assert (clip("short", 5), clip("longer", 5)) == ("short", "long…")


def test_what_would_hide_or_move_text_is_shown_as_a_mark() -> None:
    assert seen("a\u202eb\u200bc\x1b[31m\x7f") == "a⟨U+202E⟩b⟨U+200B⟩c␛[31m␡"
    assert seen("lines\n\tstay, and so do 👩\u200d🔬 and ünïcödé") == "lines\n\tstay, and so do 👩\u200d🔬 and ünïcödé"


def test_an_agents_markdown_is_formatted() -> None:
    made = markdown("# Hello\n\n- **one**\n- `two`\n\n| a |\n|---|\n| 1 |")
    for part in ("<h1>Hello</h1>", "<strong>one</strong>", "<code>two</code>", "<td>1</td>"):
        assert part in made


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![track](https://example.org/x.png)",
        "[click](javascript:alert(1))",
        "[click](data:text/html,<script>alert(1)</script>)",
        "<div hx-get=/x hx-trigger=load></div>",
        "<style>*{display:none}</style>",
        "[x](https://example.org 'onmouseover=alert(1)')",
        '<https://example.org/"onclick="alert(1)>',
        "```html onload=alert(1)\n<script>alert(1)</script>\n```",
        "<form action=/approvals/1/approve><button>",
        "<a id=compose name=body class=banner>x</a>",
    ],
)
def test_markdown_carries_no_markup_of_its_writer(attack: str) -> None:
    made = str(markdown(attack)).lower()
    tags = {part.split(">")[0].split(" ")[0].strip("/") for part in made.split("<")[1:]}
    assert tags <= {"p", "a", "code", "pre", "em", "strong"}, made
    for part in made.split("<")[1:]:
        inside = part.split(">")[0]
        for word in (" on", "javascript:", "data:", " hx-", " id=", " class=", " name=", " style=", " src="):
            assert word not in inside, made


@pytest.mark.parametrize("mark", ["[", "](", "*a ", "_*", "![a](", "|a", "`", "<b>"])
def test_markup_without_measure_is_shown_as_it_came(mark: str) -> None:
    made = str(markdown(mark * 3000))
    assert made.startswith("<pre>")
    assert made.count("<") == 2, "and stays text"


def test_a_link_takes_nothing_along_and_stays_a_link() -> None:
    assert markdown("[x](https://example.org)") == (
        '<p><a href="https://example.org" target="_blank" rel="noopener noreferrer nofollow">x</a></p>\n'
    )


def test_a_huge_or_deep_text_is_formatted_in_bounds() -> None:
    assert len(markdown("> " * 20_000 + "x")) < 200_000
    assert len(markdown("x" * 1_000_000)) < 20_000


def test_every_value_of_a_template_is_escaped_and_made_seen() -> None:
    html = render("alert.html", text="<b>\u202e\"'")
    assert "&lt;b&gt;⟨U+202E⟩&#34;&#39;" in html


def test_lines_of_a_diff_say_what_they_are() -> None:
    lines = ["+new", "-old", "@@ -1 +1 @@", " same", "\\ No newline at end of file", ""]
    assert [line_kind(line) for line in lines] == ["added", "removed", "hunk", "same", "note", "same"]


def approval(**changes: object) -> host.Approval:
    fields: dict[str, object] = {
        "id": 7, "agent": "scout", "kind": "apply_commit", "commit_ref": "main", "fetched_sha": "ab" * 20,
        "requested_at": "2026-03-01T09:00:00Z", "status": "pending", "requester": "manager", **changes,
    }  # fmt: skip
    return host.Approval(**fields)  # type: ignore[arg-type] # spelled out above


def diff(left_out: int = 0, problem: str = "") -> Diff:
    about = host.ApprovalDiff(id=7, agent="scout", kind="apply_commit")
    return Diff(about=about, files=[], left_out=left_out, problem=problem)


def test_what_is_not_shown_whole_cannot_be_approved_from_a_card() -> None:
    whole = render("sections/approvals.html", cards=[(approval(), diff())], decided=[])
    assert f'name="sha" value="{"ab" * 20}"' in whole
    for hidden in (diff(left_out=5000), diff(problem="the repository is broken")):
        html = render("sections/approvals.html", cards=[(approval(), hidden)], decided=[])
        assert "/approvals/7/approve" not in html
        assert "/approvals/7/deny" in html


def test_an_approval_without_a_commit_asks_for_no_sha() -> None:
    html = render("sections/approvals.html", cards=[(approval(kind="spawn", fetched_sha=UNSET), diff())], decided=[])
    assert 'name="sha" value=""' in html


def test_no_template_has_a_script_a_style_or_an_event_of_its_own() -> None:
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        assert "<style" not in text, path
        assert " style=" not in text, path
        assert not re.search(r"\son[a-z]+\s*=|hx-on|js:", text), path
        for script in text.split("<script")[1:]:
            assert script.startswith(' src="{{ asset('), path


def test_what_containers_and_commands_say_is_text() -> None:
    nasty = "<script>alert(1)</script>\u202e"
    job = JobRow(
        id=1, agent="scout", kind=JobKind.SPAWN, params={}, state=JobState.RUNNING, source="operator", requester="",
        reason="", approval=None, parent=None, created_at=0, started_at=0, ended_at=None, attempts=1, progress=nasty,
        error="", error_kind="",
    )  # fmt: skip
    pages = [
        render("job_log.html", lines=[nasty], left_out=0),
        render("sections/jobs.html", jobs=[job], busy=1),
        render("sections/jobs.html", jobs=[replace(job, error=nasty, state=JobState.FAILED)], busy=0),
        render("sections/agents.html", agents=[], coming=[job], failed=[]),
        render("sections/agents.html", agents=[], coming=[], failed=[replace(job, error=nasty)]),
    ]
    for html in pages:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;⟨U+202E⟩" in html
        assert "<script" not in html


@pytest.mark.parametrize(
    ("body", "to", "text"),
    [
        ("plain words", "box", "plain words"),
        ("@scout hello", "scout", "hello"),
        ("  @scout: hello", "scout", "hello"),
        ("@scout\nhello\nthere", "scout", "hello\nthere"),
        ("@* all of you", "*", "all of you"),
        ("mail @scout about it", "box", "mail @scout about it"),
        ("@", "box", "@"),
        ("@ scout", "box", "@ scout"),
        ("me@example.org", "box", "me@example.org"),
    ],
)
def test_a_text_that_begins_with_a_name_is_to_that_name(body: str, to: str, text: str) -> None:
    assert addressed("box", body) == (to, text)


def test_empty_sections_say_what_they_are_for() -> None:
    for name, values in (
        ("agents", {"agents": [], "coming": [], "failed": []}),
        ("approvals", {"cards": [], "decided": []}),
        ("questions", {"questions": [], "others": []}),
        ("inbox", {"unread": [], "read": [], "count": 0}),
        ("flow", {"messages": []}),
        ("jobs", {"jobs": [], "busy": 0}),
        ("dead", {"letters": [], "count": 0}),
        ("tombstones", {"tombstones": []}),
    ):
        assert 'class="empty"' in render(f"sections/{name}.html", **values), name


def test_own_javascript_stays_small_and_makes_no_markup() -> None:
    scripts = [path.read_text() for path in (TEMPLATES.parent / "static").glob("*.js")]
    code = [
        line
        for script in scripts
        for line in script.splitlines()
        if line.strip() and not line.lstrip().startswith("//")
    ]
    assert len(code) < 500
    assert "innerHTML" not in "".join(scripts)
