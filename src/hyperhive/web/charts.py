"""Turns as bars: where each stands in its chart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hyperhive.broker.turns import Part, TurnSummary

WIDTH: Final = 600
HEIGHT: Final = 80
_GAP: Final = 2


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A rectangle of a chart, in its units; the part of it from the bottom that is marked is `marked` high."""

    x: float
    width: float
    height: float
    marked: float
    part: Part


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Bars for the same parts of the time, each chart as high as its highest bar. The money is in US dollars."""

    turns: list[Bar]
    cost: list[Bar]
    tokens: list[Bar]
    took: list[Bar]  #: seconds, on average
    most_turns: int
    most_usd: float
    most_tokens: float
    most_s: float
    width: int = WIDTH
    height: int = HEIGHT


def bars(summary: TurnSummary) -> Charts:
    most_turns = max(part.turns for part in summary.parts)
    most_usd = max(part.cost_usd for part in summary.parts)
    most_tokens = max(part.tokens for part in summary.parts)
    most_s = max(part.mean_s for part in summary.parts)
    return Charts(
        turns=[
            _bar(place, len(summary.parts), part, part.turns / (most_turns or 1), part.not_ok / (most_turns or 1))
            for place, part in enumerate(summary.parts)
        ],
        cost=_plain(summary.parts, lambda part: part.cost_usd / (most_usd or 1.0)),
        tokens=_plain(summary.parts, lambda part: part.tokens / (most_tokens or 1.0)),
        took=_plain(summary.parts, lambda part: part.mean_s / (most_s or 1.0)),
        most_turns=most_turns,
        most_usd=most_usd,
        most_tokens=most_tokens,
        most_s=most_s,
    )


def _plain(parts: Sequence[Part], share: Callable[[Part], float]) -> list[Bar]:
    """Bars of which nothing is marked, each this share of the highest one."""
    return [_bar(place, len(parts), part, share(part), 0.0) for place, part in enumerate(parts)]


def _bar(place: int, parts: int, part: Part, share: float, marked: float) -> Bar:
    step = WIDTH / parts
    return Bar(
        x=round(place * step + _GAP / 2, 2), width=round(step - _GAP, 2), height=round(share * HEIGHT, 2),
        marked=round(marked * HEIGHT, 2), part=part,
    )  # fmt: skip
