"""Times, jobs, questions and deployments in the operator's words."""

from datetime import UTC, datetime

import msgspec
import pytest
import typer

from hyperhive.cli.ages import age_at, left_at
from hyperhive.cli.cmd_ask import seconds_of
from hyperhive.cli.cmd_questions import shown
from hyperhive.cli.cmd_rollback import target
from hyperhive.cli.job_rows import cells, sentence
from hyperhive.cli.output import CliError
from hyperhive.cli.proposals import full_sha
from hyperhive.client import patience
from hyperhive.protocol import host
from hyperhive.testing.fake_shape import COMMIT, NOON, approval_row, job_row

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-01-02T12:00:00Z", "0 s"),
        ("2026-01-02T11:59:01Z", "59 s"),
        ("2026-01-02T11:59:00Z", "1 min"),
        ("2026-01-02T09:00:00+00:00", "3 h"),
        ("2025-12-02T09:00:00Z", "31 d"),
        ("2026-01-02T13:00:00Z", "0 s"),
        ("2026-01-02T11:00:00", "1 h"),
        ("yesterday", "yesterday"),
    ],
)
def test_an_age_is_told_in_its_largest_unit(at: str, words: str) -> None:
    assert age_at(at, NOW) == words


def test_what_is_to_come_is_told_by_how_long_it_is_away() -> None:
    assert left_at("2026-01-02T12:05:00Z", NOW) == "in 5 min"
    assert left_at("2026-01-02T11:00:00Z", NOW) == "now"
    assert left_at("soon", NOW) == "soon"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("6h", 21600)])
def test_a_time_to_stand_is_read(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["0", "7h", "1d", "-1", "h", "1 h", "9999999h", "１h"])
def test_a_time_that_is_none_or_too_long_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="1h"):
        seconds_of(text)


def test_a_job_is_told_by_what_it_failed_with_before_what_it_was_at() -> None:
    job = msgspec.structs.replace(
        job_row(3, "scout", state="failed"), progress="building", error="no\nspace", attempt=2
    )
    assert sentence(job) == "3 deploy scout: failed (attempt 2) · no space"
    assert sentence(msgspec.structs.replace(job_row(4, "", "update"), progress="x")) == "4 update (all): running · x"
    assert cells(job)[-1] == "no space"
    ended = msgspec.structs.replace(job_row(5, "scout", state="done"), progress="building")
    assert sentence(ended) == "5 deploy scout: done"


def test_a_question_is_indented_under_its_heading_with_its_options() -> None:
    question = host.Question(
        id=3, asker="scout", target="operator", question="Which?\n#4 x → y", options=["red", "a\nb"], multi=True,
        asked_at="before", deadline_at="later", answer="red", answerer="operator",
    )  # fmt: skip
    heading, *below = shown(question).split("\n")
    assert heading == "#3 scout → operator · before · any of the options · expires later"
    assert below == ["  Which?", "  #4 x → y", "    · red", "    · a b", "  answer of operator:", "  red"]


def deployment(number: int, *, current: bool = False) -> host.Deployment:
    return host.Deployment(
        id=number, agent="a", sha=COMMIT, tag=f"deployed/{number}", deployed_at=NOON, current=current
    )


def test_a_rollback_goes_to_the_one_before_the_current_or_to_the_one_named() -> None:
    rows = [deployment(9), deployment(7, current=True), deployment(4), deployment(0)]
    assert target(rows, "a", None).id == 4
    assert target(rows, "a", 9).id == 9


@pytest.mark.parametrize(("rows", "to"), [([], None), ([deployment(0, current=True)], None), ([deployment(0)], 5)])
def test_a_rollback_to_nothing_says_where_to_look(rows: list[host.Deployment], to: int | None) -> None:
    with pytest.raises(CliError, match="hive deployments a"):
        target(rows, "a", to)


def test_a_commit_is_known_by_its_first_seven_characters_and_not_by_fewer() -> None:
    row = approval_row(8, "a")
    assert full_sha(row, "C0FFEE0") == COMMIT
    assert full_sha(row, "c0ffee") == "c0ffee"
    assert full_sha(row, "beefbee") == "beefbee"
    assert full_sha(None, "c0ffee0") == "c0ffee0"


@pytest.mark.parametrize(
    "request_",
    [host.Approve(id=1), host.Rollback(name="a"), host.Spawn(name="a"), host.Rebuild(name="a"), host.UpdateAll(),
     host.Revive(name="a"), host.EditConfig(name="a", text="")],
)  # fmt: skip
def test_what_waits_for_a_job_is_waited_for_longer_than_an_hour(request_: host.AnyRequest) -> None:
    assert (patience(request_) or 0) > 3600


@pytest.mark.parametrize("request_", [host.Jobs(follow=True), host.JobLog(id=1, follow=True)])
def test_what_is_followed_may_stay_silent_for_ever(request_: host.AnyRequest) -> None:
    assert patience(request_) is None
