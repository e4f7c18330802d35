"""What a notification says, whatever agents write; and how much of a target's URL is shown."""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperhive.config import notify
from hyperhive.config.notify import Target, redacted
from hyperhive.hub.notify.newsroom import State, edges
from hyperhive.hub.notify.words import MAX_LINES, MAX_QUOTED, News, notification, quoted
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.notify import NotifyKind

DOCS = Path(__file__).parents[2] / "docs"
MEANS_SOMETHING = set("@#<>&*_`~|\\[]{}:/.!+$\r\n\t")


@given(st.text(max_size=2000))
def test_no_service_finds_anything_in_what_an_agent_wrote(text: str) -> None:
    said = quoted(text)
    inside = said[1:-1]
    assert said[0] + said[-1] == "“”"
    assert len(inside) <= MAX_QUOTED + 2
    assert not MEANS_SOMETHING & set(inside)
    assert not {"“", "”"} & set(inside)
    assert {unicodedata.category(character) for character in inside} & {"Cc", "Cf", "Cs", "Zl", "Zp"} == set()


@pytest.mark.parametrize(
    "text",
    ["@everyone come", "<!channel>", "[here](http://evil.example)", "evil.example", "*bold* `code`", "a\r\nBcc: me@x",
     "/command", "<a href=x>y</a>", "\u202egnp.exe", "x" * 100_000, "\x1b]8;;http://evil.example\x07y"],
)  # fmt: skip
def test_a_hostile_text_is_one_line_without_links_or_markup(text: str) -> None:
    _, body = notification([News(kind=NotifyKind.QUESTION, text="#1, scout asks", said=text)], 0, "https://hive.lan")
    lines = body.splitlines()
    assert len(lines) == 2
    assert lines[1] == "The dashboard: https://hive.lan"
    assert not re.search(r"https?://|@|[<\[*`]|\w\.\w|\x1b|\u202e", lines[0])
    assert len(body) < 300


@given(st.lists(st.text(max_size=50), min_size=1, max_size=60), st.integers(0, 10_000))
def test_a_notification_is_bounded_and_counts_everything(texts: list[str], more: int) -> None:
    news = [News(kind=NotifyKind.OPERATOR_MAIL, text="#1 from scout", said=text) for text in texts]
    title, body = notification(news, more, "")
    count = len(news) + more
    named = sum(line.startswith(("- ", "#1")) for line in body.splitlines())
    unnamed = re.search(r"^and (\d+) more$", body, re.MULTILINE)
    assert named + (int(unnamed[1]) if unnamed else 0) == count
    assert len(body.splitlines()) <= MAX_LINES + 1
    assert title == (f"hyperhive: {count} things happened in the hive" if count > 1 else "hyperhive: Mail to you")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("json://user:pass@hooks.example.org/key?token=x", "json://hooks.example.org/…"),
        ("ntfys://ntfy.example.org/topic", "ntfys://ntfy.example.org/…"),
        ("ntfy://topic", "ntfy://…"),
        ("ntfy://topic.with.dots", "ntfy://…"),
        ("tgram://123456789:abcdefg/12315544/", "tgram://…"),
        ("slack://TokenA/TokenB/TokenC", "slack://…"),
        ("discord://id/token", "discord://…"),
        ("mailto://u:p@gmail.com", "mailto://gmail.com/…"),
        ("matrix://tokentokentoken?mode=t2bot", "matrix://…"),
        ("json://[::1]:99/key", "json://[::1]/…"),
        ("json://[broken/key", "json://…"),
        ("key", "…"),
        ("se cret://x", "…"),
    ],
)
def test_of_a_url_only_scheme_and_host_are_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert "key" not in repr(Target(name="x", url=url))


@given(st.text(alphabet="abcXYZ:/@?#[]&=%. \n", max_size=60))
def test_any_url_can_be_shown(url: str) -> None:
    assert "\n" not in redacted(url)


@pytest.mark.parametrize(
    "text", ["", "{}", '[{"name":"a"}]', '[{"name":"a","url":"json://h/k","kinds":["?"]}]', "\xff"]
)
def test_a_file_of_targets_that_is_none_is_refused_without_its_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notify.json"
    path.write_text(text)
    with pytest.raises(FaultError, match="put it right or remove it") as refused:
        notify.read(path)
    assert "json://" not in refused.value.message


def test_an_agents_states_are_told_at_their_edges() -> None:
    calm, bad = State(), State(needs_login=True, limited=True, failed=True, over_budget=True, stuck=True)
    begun = [news.kind for news in edges("scout", calm, bad, "it died")]
    assert begun == [
        NotifyKind.NEEDS_LOGIN, NotifyKind.RATE_LIMITED, NotifyKind.AGENT_FAILED, NotifyKind.BUDGET, NotifyKind.STUCK,
    ]  # fmt: skip
    assert [news.kind for news in edges("scout", bad, calm)] == [NotifyKind.LOGGED_IN]
    limited, asking = State(limited=True), State(limited=True, asks=True)
    assert ["hive resume" in news.text for news in edges("scout", limited, asking)] == [True]
    assert edges("scout", asking, calm) == []
    assert edges("scout", bad, bad) == edges("scout", calm, calm) == []


def test_every_kind_is_described_and_no_other() -> None:
    page = (DOCS / "operating.md").read_text().partition("## Being told elsewhere")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(NotifyKind)
