"""What is kept of destroyed agents, and proposals whose agent's directory has vanished."""

import os
import subprocess

import pytest

from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.testing.hive_process import HiveProcess

pytestmark = [pytest.mark.container, pytest.mark.timeout(120)]


def at_rest(hive: HiveProcess, name: str) -> None:
    """Up, and never to begin a turn."""
    hive.ask(host.Spawn(name=name))
    hive.ask(host.SetPaused(name=name, paused=True))


def refusal(hive: HiveProcess, request: host.AnyRequest) -> FaultError:
    with pytest.raises(FaultError) as refused:
        hive.ask(request)
    return refused.value


def names(hive: HiveProcess) -> list[str]:
    return [stone.name for stone in hive.ask(host.Tombstones()).tombstones or []]


def test_a_tombstone_shows_its_size_age_and_login_and_comes_back_as_it_was(hive: HiveProcess) -> None:
    at_rest(hive, "a")
    hive.configure("a", "description = 'kept'\n")
    (hive.paths.agent_state("a") / "notes.md").write_text("42" * 5000)
    (hive.paths.agent_claude("a") / ".credentials.json").write_text("{}")
    hive.ask(host.Destroy(name="a"))
    (stone,) = hive.ask(host.Tombstones()).tombstones or []
    assert (stone.name, stone.has_credentials, stone.size_bytes > 10_000) == ("a", True, True)
    assert stone.last_modified.endswith("Z")
    hive.ask(host.Revive(name="a"))
    assert (names(hive), hive.status("a").description) == ([], "kept")
    assert (hive.paths.agent_state("a") / "notes.md").read_text() == "42" * 5000
    current = [deployed.tag for deployed in hive.ask(host.Deployments(name="a")).deployments or [] if deployed.current]
    assert current == ["deployed/1"]


@pytest.mark.parametrize("verb", [host.Purge, host.Revive])
@pytest.mark.parametrize("name", ["..", ".", "", "../a", "a/../..", "A", "nobody"])
def test_a_name_that_is_none_touches_nothing(hive: HiveProcess, verb: type[host.Purge], name: str) -> None:
    before = sorted(path.name for path in hive.paths.state_dir.iterdir())
    assert refusal(hive, verb(name=name)).kind in (FaultKind.BAD_NAME, FaultKind.UNKNOWN_AGENT)
    assert sorted(path.name for path in hive.paths.state_dir.iterdir()) == before


def test_who_lives_is_neither_purged_nor_revived(hive: HiveProcess) -> None:
    at_rest(hive, "a")
    assert refusal(hive, host.Purge(name="a")).kind is FaultKind.WRONG_STATE
    assert refusal(hive, host.Revive(name="a")).kind is FaultKind.UNKNOWN_AGENT
    assert hive.status("a").running


def test_a_link_in_an_agents_place_is_no_tombstone(hive: HiveProcess) -> None:
    elsewhere = hive.paths.shared / "precious"
    (elsewhere / "state").mkdir(parents=True)
    (hive.paths.state_dir / "agents" / "b").symlink_to(elsewhere)
    assert names(hive) == []
    for verb in (host.Purge, host.Revive):
        assert refusal(hive, verb(name="b")).kind is FaultKind.UNKNOWN_AGENT
    assert (elsewhere / "state").is_dir()


@pytest.mark.parametrize("lost", ["state", "commit"])
def test_a_proposal_whose_agents_directory_has_vanished_has_failed_and_stays(hive: HiveProcess, lost: str) -> None:
    at_rest(hive, "a")
    (number,) = hive.ask(host.EditConfig(name="a", text="sleep_after = 7\n")).ids or []
    hive.ask(host.Kill(name="a"))
    place = hive.paths.agent("a") if lost == "state" else hive.paths.applied("a") / ".git"
    place.rename(hive.paths.state_dir / "lost")
    assert refusal(hive, host.Approve(id=number)).kind is FaultKind.WRONG_STATE
    (row,) = hive.ask(host.Pending()).approvals or []
    assert (row.id, row.status, row.note) == (number, "failed", "agent state dir missing")


def test_an_operators_commit_in_the_config_directory_is_proposed_as_it_is(hive: HiveProcess) -> None:
    at_rest(hive, "a")
    repository = hive.paths.agent("a") / "config"
    (repository / "agent.toml").write_text("sleep_after = 7\n")
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(repository)]
    subprocess.run([*git, "commit", "-qam", "Rest sooner"], env=env, check=True)
    done = subprocess.run([*git, "rev-parse", "HEAD"], env=env, check=True, capture_output=True, text=True)
    (row,) = hive.ask(host.RequestApplyCommit(name="a")).approvals or []
    assert row.fetched_sha == done.stdout.strip()
    assert refusal(hive, host.Approve(id=row.id, sha="0" * 40)).kind is FaultKind.SHA_MISMATCH
    hive.ask(host.Approve(id=row.id, sha=row.fetched_sha))
    config = hive.ask(host.Config(name="a")).config
    assert isinstance(config, host.AgentConfig)
    assert (config.tag, config.text) == ("deployed/1", "sleep_after = 7\n")
