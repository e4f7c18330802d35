"""How long is too long."""

import pytest

from hyperhive.harness.upkeep import watermark
from hyperhive.protocol.settings import SessionSettings


@pytest.mark.parametrize(
    ("settings", "window", "tokens"),
    [
        (SessionSettings(), 1_000_000, 750_000),
        (SessionSettings(), 0, None),  # nobody has said how long the window is
        (SessionSettings(compact_at=0), 1_000_000, None),
        (SessionSettings(compact_at=0, compact_at_tokens=50_000), 1_000_000, 50_000),
        (SessionSettings(compact_at_tokens=50_000), 0, 50_000),
        (SessionSettings(compact_at_tokens=500_000), 200_000, 150_000),
    ],
)
def test_a_conversation_is_too_long_at_whichever_bound_comes_first(
    settings: SessionSettings, window: int, tokens: int | None
) -> None:
    assert watermark(settings, window) == tokens
