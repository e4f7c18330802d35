"""A dead container is started again ever more slowly, and not for ever."""

from hypothesis import given
from hypothesis import strategies as st

from hyperhive.hub.restarts import DELAYS_S, WINDOW_S, next_delay


def test_each_death_in_a_row_waits_longer_until_the_hive_gives_up() -> None:
    deaths = [float(at) for at in range(len(DELAYS_S) + 1)]
    delays = [next_delay(deaths[: count + 1], deaths[count]) for count in range(len(deaths))]
    assert delays == [*DELAYS_S, None]
    assert list(DELAYS_S) == sorted(DELAYS_S)


def test_deaths_of_long_ago_are_forgotten() -> None:
    long_ago = [0.0] * 20
    assert next_delay([*long_ago, WINDOW_S + 1], WINDOW_S + 1) == DELAYS_S[0]


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=30))
def test_a_delay_is_never_negative(deaths: list[float]) -> None:
    delay = next_delay(sorted(deaths), max(deaths, default=0.0))
    assert delay is None or delay >= 0
