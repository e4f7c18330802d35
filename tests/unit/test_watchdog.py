"""When an agent is stuck, which step comes next, and that each comes once."""

from dataclasses import replace
from itertools import pairwise

import pytest

from hyperhive.hub import watchdog
from hyperhive.hub.watchdog import (
    CALM_S,
    DEAF_S,
    GREETED_S,
    LADDERS,
    NEVER,
    PROMPT_S,
    STEP_S,
    UNREACHABLE_S,
    Bounds,
    Memory,
    Sight,
    Step,
    Stuck,
    Verdict,
    judge,
    words,
)
from hyperhive.protocol.settings import StuckSettings

BOUNDS = Bounds.of(StuckSettings())
UP = Sight(up_since=0.0, heard_at=NEVER)
"""Well in every respect: it is heard of all the time."""
STUCK = {
    Stuck.UNREACHABLE: replace(UP, heard_at=0.0),
    Stuck.PARKED: replace(UP, quiet_since=0.0, prompt_since=0.0),
    Stuck.SILENT: replace(UP, quiet_since=0.0),
    Stuck.LOOPING: replace(UP, quiet_since=0.0, repeats=20),
    Stuck.DEAF: replace(UP, waits_since=0.0),
}
"""What each of them looks like, at its beginning."""
AFTER = {
    Stuck.UNREACHABLE: UNREACHABLE_S, Stuck.PARKED: PROMPT_S, Stuck.SILENT: 900.0, Stuck.LOOPING: 0.0,
    Stuck.DEAF: DEAF_S,
}  # fmt: skip


def climb(sight: Sight, verdict: Verdict, now: float) -> list[Step | str]:
    """What happens from then on, if nothing changes for a day."""
    taken: list[Step | str] = []
    for _ in range(1000):
        if verdict.step is not None:
            taken.append(verdict.step)
        if verdict.tell:
            taken.append("tell")
        later = min(verdict.look_at, now + STEP_S)
        if later > 86400.0 or verdict.look_at == NEVER:
            return taken
        now = later
        verdict = judge(sight, verdict.memory, BOUNDS, now)
    raise AssertionError("it is looked at without an end")


def looked(stuck: Stuck, at: float) -> Verdict:
    return judge(STUCK[stuck], Memory(), BOUNDS, at)


@pytest.mark.parametrize("stuck", [stuck for stuck in Stuck if stuck is not Stuck.LOOPING])
def test_nothing_is_done_before_its_time_and_then_the_first_step(stuck: Stuck) -> None:
    early = looked(stuck, AFTER[stuck] - 0.1)
    assert (early.memory.episode, early.step, early.look_at) == (None, None, AFTER[stuck])
    due = looked(stuck, AFTER[stuck])
    assert due.step is LADDERS[stuck][0]
    assert due.memory.episode is not None
    assert due.memory.episode.stuck is stuck


@pytest.mark.parametrize("stuck", [stuck for stuck in Stuck if stuck is not Stuck.LOOPING])
def test_each_step_comes_once_and_then_it_is_told_once(stuck: Stuck) -> None:
    sight = STUCK[stuck]
    assert climb(sight, judge(sight, Memory(), BOUNDS, AFTER[stuck]), AFTER[stuck]) == [*LADDERS[stuck], "tell"]


def test_a_loop_has_as_many_calls_to_heed_each_step() -> None:
    memory, taken = Memory(), list[Step | None]()
    for repeats in range(1, 200):
        verdict = judge(replace(UP, quiet_since=repeats * 90.0, repeats=repeats), memory, BOUNDS, repeats * 90.0)
        memory = verdict.memory
        if verdict.step or verdict.tell:
            taken.append(verdict.step)
            assert repeats == 20 * len(taken)
    assert taken == [*LADDERS[Stuck.LOOPING], None]


def test_a_tool_call_has_a_bound_of_its_own() -> None:
    sight = replace(STUCK[Stuck.SILENT], in_tool=True)
    assert judge(sight, Memory(), BOUNDS, 3599.0).step is None
    assert judge(sight, Memory(), BOUNDS, 3600.0).step is Step.INTERRUPT


def test_a_tool_call_has_at_least_as_long_as_silence_has() -> None:
    assert Bounds.of(StuckSettings(silent_after=7200)).tool_s == 7200


@pytest.mark.parametrize("name", ["silent_after", "tool_after", "loop_after", "canary_every"])
def test_nought_is_never(name: str) -> None:
    bounds = Bounds.of(StuckSettings(**{name: 0}))
    assert NEVER in (bounds.silent_s, bounds.tool_s, bounds.repeats, bounds.canary_s)


def test_a_sign_of_life_ends_the_episode_and_the_next_one_begins_at_the_first_step() -> None:
    first = looked(Stuck.SILENT, 900.0)
    goes_on = judge(replace(UP, quiet_since=930.0), first.memory, BOUNDS, 930.0)
    assert (goes_on.memory.episode, goes_on.step) == (None, None)
    again = judge(replace(UP, quiet_since=930.0), goes_on.memory, BOUNDS, 1830.0)
    assert again.step is Step.INTERRUPT


def test_that_a_container_was_restarted_is_no_sign_that_its_agent_goes_on() -> None:
    deaf = looked(Stuck.DEAF, DEAF_S)
    restarted = judge(STUCK[Stuck.DEAF], deaf.memory, BOUNDS, DEAF_S + STEP_S)
    assert restarted.step is Step.RESTART_CONTAINER
    at = DEAF_S + STEP_S + 5.0
    away = judge(replace(STUCK[Stuck.DEAF], up_since=None), restarted.memory, BOUNDS, at)
    assert away.memory == restarted.memory
    back = replace(STUCK[Stuck.DEAF], up_since=at, greeted_at=at)
    assert judge(back, away.memory, BOUNDS, at + GREETED_S - 1).tell is False
    told = judge(back, away.memory, BOUNDS, at + GREETED_S)
    assert told.tell
    assert judge(UP, told.memory, BOUNDS, at + GREETED_S + 1).memory.episode is None


def test_one_that_is_stuck_again_and_again_has_its_container_restarted_once_in_an_hour() -> None:
    memory = Memory()
    restarts, tells = [], []
    for second in range(0, 3 * 3600, 30):
        now, hangs_since = float(second), float(second // 600 * 600)
        verdict = judge(replace(UP, heard_at=hangs_since), memory, BOUNDS, now)
        memory = verdict.memory
        restarts += [now] if verdict.step is Step.RESTART_CONTAINER else []
        tells += [now] if verdict.tell else []
    assert len(restarts) == 3
    assert min(later - sooner for sooner, later in pairwise(restarts)) >= CALM_S
    assert len(tells) <= 3


def test_the_gravest_is_what_counts() -> None:
    everything = replace(STUCK[Stuck.LOOPING], heard_at=0.0, prompt_since=0.0, waits_since=0.0)
    found = judge(everything, Memory(), BOUNDS, 7200.0).memory.episode
    assert found is not None
    assert found.stuck is Stuck.UNREACHABLE


def test_a_canary_is_due_after_an_hour_without_proof_and_not_while_one_is_out() -> None:
    idle = replace(UP, proven_at=100.0)
    assert judge(idle, Memory(), BOUNDS, 3699.0).look_at == 3700.0
    assert judge(idle, Memory(), BOUNDS, 3700.0).probe
    assert not judge(replace(idle, proven_at=None), Memory(), BOUNDS, 9999.0).probe


def test_the_words_say_how_it_is_stuck_and_what_was_done() -> None:
    verdict = looked(Stuck.SILENT, 900.0)
    assert verdict.memory.episode is not None
    assert words(verdict.memory.episode) == "it is at a turn, and nothing comes from it; its turn was interrupted"
    told = replace(verdict.memory.episode, told=True)
    assert words(told).endswith(", which did not help")
    assert {watchdog.verb(stuck) for stuck in Stuck} == {"cancel", "restart"}
