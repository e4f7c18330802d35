"""agent.toml: what is right becomes settings, what is wrong is named."""

import pytest

from hyperhive.config import agent_toml
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import AgentSettings


def test_an_empty_text_means_the_defaults() -> None:
    assert agent_toml.parse("") == AgentSettings()


def test_dashes_in_keys_mean_underscores() -> None:
    assert agent_toml.parse("sleep-after = 5").sleep_after == 5


def test_tables_are_read() -> None:
    settings = agent_toml.parse('model = "opus"\n[network]\nallow = ["example.org"]\n[limits]\nmemory = "1G"')
    assert (settings.model, settings.network.allow, settings.limits.memory) == ("opus", ["example.org"], "1G")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("model = oops", "line 1"),
        ("modle = 'opus'", "modle"),
        ("sleep_after = 'soon'", "sleep_after"),
        ("[limits]\npids = 1", "limits.pids"),
        ("[network]\nmode = 'open'", "network.mode"),
        ("[network]\nallow = ['http://x/']", "network.allow"),
        ("a = " + "[" * 50_000, "agent.toml"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text: str, named: str) -> None:
    with pytest.raises(FaultError) as refused:
        agent_toml.parse(text)
    assert refused.value.kind is FaultKind.BAD_CONFIG
    assert named in refused.value.message
