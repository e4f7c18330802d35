"""How often and how fast a dead container is started again."""

from collections.abc import Sequence
from typing import Final

DELAYS_S: Final = (0.5, 2.0, 8.0, 30.0)
WINDOW_S: Final = 600.0


def next_delay(deaths: Sequence[float], now: float) -> float | None:
    """Seconds to wait after the latest of these deaths, or None: too many of them lately, give up."""
    recent = sum(1 for at in deaths if now - at < WINDOW_S)
    return DELAYS_S[recent - 1] if 0 < recent <= len(DELAYS_S) else (0.0 if recent == 0 else None)
