import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from hyperhive.config import agent_toml
from hyperhive.config.schedule_edit import with_schedule
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import AgentSettings, Schedule

HOURLY = Schedule(message="look", every=3600)
NIGHTLY = Schedule(message='say "good night"\nand sleep \\ \x7f ☾', cron="0 3 * * *", timezone="Europe/Berlin")
TEXT = """\
# what it is
model = "sonnet"  # the good one

[schedule.hourly]
message = \"\"\"
[schedule.nightly]
is not a table here\"\"\"
every = 3600
# of the network
[network]
allow = ["example.org"]
"""


def test_a_schedule_is_added_and_every_other_line_stays() -> None:
    edited = with_schedule(TEXT, "nightly", NIGHTLY)
    assert edited.startswith(TEXT)
    assert agent_toml.parse(edited).schedule["nightly"] == NIGHTLY
    assert len(agent_toml.parse(edited).schedule) == 2


def test_a_schedule_is_changed_and_taken_out_with_its_table_alone() -> None:
    changed = with_schedule(TEXT, "hourly", HOURLY)
    assert agent_toml.parse(changed).schedule == {"hourly": HOURLY}
    assert 'model = "sonnet"  # the good one' in changed
    without = with_schedule(changed, "hourly", None)
    assert agent_toml.parse(without) == structs.replace(agent_toml.parse(TEXT), schedule={})
    assert with_schedule("", "hourly", HOURLY) == '[schedule.hourly]\nmessage = "look"\nevery = 3600\n'


def test_what_is_not_there_cannot_be_taken_out() -> None:
    with pytest.raises(FaultError) as caught:
        with_schedule(TEXT, "nightly", None)
    assert caught.value.kind is FaultKind.UNKNOWN_SCHEDULE


@pytest.mark.parametrize(
    "text",
    [
        'schedule = { hourly = { message = "x", every = 60 } }\n',
        'schedule.hourly.message = "x"\nschedule.hourly.every = 60\n',
        '[schedule]\nhourly = { message = "x", every = 60 }\n',
        '[schedule]\nhourly.message = "x"\nhourly.every = 60\n',
    ],
)
def test_schedules_in_a_form_of_their_own_are_left_to_a_person(text: str) -> None:
    for spec in (HOURLY, None):
        with pytest.raises(FaultError, match="commit the change") as caught:
            with_schedule(text, "hourly", spec)
        assert caught.value.kind is FaultKind.BAD_CONFIG


def test_quoted_and_spaced_headers_are_the_same_table() -> None:
    text = '[ "schedule" . "hourly" ] # mine\nmessage = "x"\nevery = 60\n'
    assert agent_toml.parse(with_schedule(text, "hourly", HOURLY)).schedule == {"hourly": HOURLY}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (Schedule(message="x", cron="never"), "schedule.daily.cron: write five fields"),
        (Schedule(message="x", cron="0 9 * * *", timezone="Mars"), "schedule.daily.timezone: there is no such"),
        (Schedule(message="a\0b", every=60), "schedule.daily.message"),
        (Schedule(message="x"), "schedule.daily: give `every` or `cron`"),
    ],
)
def test_a_schedule_that_can_never_be_is_refused_in_words(spec: Schedule, said: str) -> None:
    with pytest.raises(FaultError) as caught:
        with_schedule(TEXT, "daily", spec)
    assert said in caught.value.message


def test_there_is_room_for_sixty_four() -> None:
    text = ""
    for number in range(64):
        text = with_schedule(text, f"s{number}", HOURLY)
    with pytest.raises(FaultError, match="at most 64"):
        with_schedule(text, "one-more", HOURLY)


@given(message=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200))
def test_any_message_comes_out_as_it_went_in(message: str) -> None:
    edited = with_schedule(TEXT, "daily", Schedule(message=message, every=60))
    assert agent_toml.parse(edited).schedule["daily"].message == message
    assert agent_toml.parse(with_schedule(edited, "daily", None)) == agent_toml.parse(TEXT)
    assert isinstance(agent_toml.parse(edited), AgentSettings)
