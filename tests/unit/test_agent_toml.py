"""agent.toml: what is right becomes settings, what is wrong is named, and nothing hostile is followed."""

import os
from pathlib import Path

import pytest

from hyperhive.config import agent_toml
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import AgentSettings


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert agent_toml.load(tmp_path) == AgentSettings()


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


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("model = 'stolen'")
    (tmp_path / "agent.toml").symlink_to(tmp_path / "secret")
    with pytest.raises(FaultError, match="symbolic link"):
        agent_toml.load(tmp_path)


def test_a_fifo_in_the_place_of_the_file_does_not_hang_the_hive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "agent.toml")
    with pytest.raises(FaultError, match="not a regular file"):
        agent_toml.load(tmp_path)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_bytes(b"#" * (agent_toml.MAX_BYTES + 1))
    with pytest.raises(FaultError, match="larger than"):
        agent_toml.load(tmp_path)


def test_a_wrong_file_is_not_deployed_and_the_old_one_stays(tmp_path: Path) -> None:
    proposed, applied = tmp_path / "config", tmp_path / "applied"
    proposed.mkdir()
    applied.mkdir()
    (proposed / "agent.toml").write_text("model = 'opus'")
    agent_toml.deploy(proposed, applied)
    (proposed / "agent.toml").write_text("model = 7")
    with pytest.raises(FaultError):
        agent_toml.deploy(proposed, applied)
    assert agent_toml.load(applied).model == "opus"


def test_a_seeded_file_says_what_was_asked_for_and_is_never_overwritten(tmp_path: Path) -> None:
    agent_toml.seed(tmp_path, model="opus", description='says "hi"\\\n\x7f')
    agent_toml.seed(tmp_path, model="other", description="")
    settings = agent_toml.load(tmp_path)
    assert (settings.model, settings.description) == ("opus", 'says "hi"\\\n\x7f')
