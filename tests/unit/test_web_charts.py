"""Bars of charts: heights in proportion, all within the chart, side by side."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hyperhive.broker.turns import Part, TurnSummary
from hyperhive.web.charts import HEIGHT, WIDTH, bars

counts = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1e9))


def summary(parts: list[tuple[int, int, float]]) -> TurnSummary:
    return TurnSummary(
        agent=None, since=0.0, until=1.0, turns=0, cost_usd=0.0, input_tokens=0, output_tokens=0, cache_read_tokens=0,
        cache_creation_tokens=0, tool_calls=0, p50_s=0.0, p95_s=0.0, outcomes=(), causes=(), models=(), agents=(),
        parts=tuple(
            Part(since=float(at), turns=turns, not_ok=min(not_ok, turns), cost_usd=usd, tokens=2 * usd, mean_s=3 * usd)
            for at, (turns, not_ok, usd) in enumerate(parts)
        ),
    )  # fmt: skip


@given(st.lists(counts, min_size=1, max_size=40))
def test_the_highest_bar_fills_the_chart_and_none_leaves_it(parts: list[tuple[int, int, float]]) -> None:
    charts = bars(summary(parts))
    charted = (
        (charts.turns, charts.most_turns), (charts.cost, charts.most_usd), (charts.tokens, charts.most_tokens),
        (charts.took, charts.most_s),
    )  # fmt: skip
    for each, highest in charted:
        assert len(each) == len(parts)
        assert max(bar.height for bar in each) == (HEIGHT if highest else 0)
        assert all(0 <= bar.marked <= bar.height <= HEIGHT for bar in each)
        assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH for bar in each)
        assert all(left.x + left.width < right.x for left, right in pairwise(each))


def test_bars_are_as_high_as_what_they_count() -> None:
    charts = bars(summary([(1, 1, 0.5), (4, 1, 0.25), (0, 0, 0.0)]))
    assert [bar.height for bar in charts.turns] == [HEIGHT / 4, HEIGHT, 0]
    assert [bar.marked for bar in charts.turns] == [HEIGHT / 4, HEIGHT / 4, 0]
    for bars_ in (charts.cost, charts.tokens, charts.took):
        assert [bar.height for bar in bars_] == [HEIGHT, HEIGHT / 2, 0]
