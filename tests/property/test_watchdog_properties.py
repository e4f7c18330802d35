"""Whatever is seen of an agent, and however often it is looked at: no step twice, no restarts in a row, no hurry."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hyperhive.hub.watchdog import CALM_S, LADDERS, STEP_S, Bounds, Memory, Sight, Step, judge
from hyperhive.protocol.settings import StuckSettings

BOUNDS = Bounds.of(StuckSettings())
AGE = st.integers(min_value=0, max_value=8000)
SEEN = st.fixed_dictionaries(
    {"heard_at": AGE, "greeted_at": AGE},
    optional={"up_since": AGE, "quiet_since": AGE, "prompt_since": AGE, "waits_since": AGE, "proven_at": AGE},
)
"""What was seen, by how many seconds ago it was."""
OTHERS = st.fixed_dictionaries({"in_tool": st.booleans(), "repeats": st.integers(min_value=0, max_value=100)})
STORIES = st.lists(st.tuples(st.integers(min_value=1, max_value=2000), SEEN, OTHERS), min_size=1, max_size=30)
NOW = 10_000.0


def sight(now: float, seen: dict[str, int], others: dict[str, Any]) -> Sight:
    times: dict[str, Any] = {name: now - age for name, age in seen.items()}
    return Sight(**times, **others)


@given(STORIES)
def test_any_story_is_answered_with_patience(story: list[tuple[int, dict[str, int], dict[str, Any]]]) -> None:
    memory, now = Memory(), NOW
    acted_at, restarted_at, told_at = -1e9, -1e9, -1e9
    taken: Counter[tuple[float, Step]] = Counter()
    for pause, seen, others in story:
        now += pause
        before, verdict = memory, judge(sight(now, seen, others), memory, BOUNDS, now)
        memory, episode = verdict.memory, verdict.memory.episode
        assert verdict.look_at > now
        if "up_since" not in seen:
            assert (memory, verdict.step, verdict.tell, verdict.probe) == (before, None, False, False)
        if verdict.step is not None:
            assert episode is not None
            assert verdict.step in LADDERS[episode.stuck]
            taken[episode.since, verdict.step] += 1
            assert taken[episode.since, verdict.step] == 1
            if before.episode is not None and before.episode.since == episode.since:
                assert now - acted_at >= STEP_S
            acted_at = now
        if verdict.step is Step.RESTART_CONTAINER:
            assert now - restarted_at >= CALM_S
            restarted_at = now
        if verdict.tell:
            assert episode is not None
            assert episode.told
            assert now - told_at >= CALM_S
            told_at = now
        assert not (verdict.probe and episode)


@given(SEEN, OTHERS)
def test_looking_again_at_the_same_moment_changes_nothing(seen: dict[str, int], others: dict[str, Any]) -> None:
    what = sight(NOW, seen, others)
    first = judge(what, Memory(), BOUNDS, NOW)
    again = judge(what, first.memory, BOUNDS, NOW)
    assert (again.step, again.tell) == (None, False)
    assert again.memory == first.memory


@given(SEEN, OTHERS, st.floats(min_value=0.0, max_value=0.999))
def test_nothing_happens_before_the_time_that_was_said(
    seen: dict[str, int], others: dict[str, Any], part: float
) -> None:
    what = sight(NOW, seen, others)
    first = judge(what, Memory(), BOUNDS, NOW)
    between = judge(what, first.memory, BOUNDS, NOW + part * (min(first.look_at, NOW + 1e6) - NOW))
    assert (between.step, between.tell, between.probe) == (None, False, first.probe)
