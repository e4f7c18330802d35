"""A hive without root: one uid for the daemon and all its agents, so that the manager owns what it can reach."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.testing.hive_process import HiveProcess
from hyperhive.testing.model import ScriptedModel

USER = 64_777
COMMIT = "git commit -qam change && git rev-parse HEAD"

pytestmark = [pytest.mark.container, pytest.mark.timeout(120)]


@pytest.fixture
def hive() -> Iterator[HiveProcess]:
    """Its manager is up and takes no mail: no claude is started."""
    needs.bwrap()
    with tempfile.TemporaryDirectory(prefix="hh-", ignore_cleanup_errors=True) as root:
        hive = HiveProcess(Path(root))
        hive.manager = True
        with ScriptedModel(hive.paths.rehearsal_socket):
            if os.geteuid() == 0:
                _as_user(hive, Path(root))
            hive.start()
            try:
                hive.until("manager", lambda row: row.running)
                hive.ask(host.SetPaused(name="manager", paused=True))
                yield hive
            finally:
                hive.stop_all()


def _as_user(hive: HiveProcess, root: Path) -> None:
    root.chmod(0o755)
    for place in (hive.paths.state_dir, hive.paths.runtime_dir, hive.paths.rehearsal, hive.paths.rehearsal_socket):
        if not place.exists():
            place.mkdir()
        os.chown(place, USER, USER)
    variables = {**hive.paths.environment(), "NOTIFY_SOCKET": str(root / "ready.sock")}
    hive.prefix = (*_user(), "/usr/bin/env", *(f"{name}={value}" for name, value in variables.items()))


def _user() -> tuple[str, ...]:
    return (sys.executable, "-m", "hyperhive.testing.unprivileged", str(USER)) if os.geteuid() == 0 else ()


def inside(hive: HiveProcess, name: str, script: str) -> str:
    """What a shell in the agent's container says."""
    shell = hive.ask(host.Shell(name=name)).shell
    assert isinstance(shell, host.ShellCommand)
    plan = {**json.loads(shell.argv[-1]), "argv": ["/bin/sh", "-ec", script]}
    argv = [*_user(), *shell.argv[:-1], json.dumps(plan)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_manager_commits_what_the_operator_approves(hive: HiveProcess) -> None:
    hive.ask(host.Spawn(name="a"))  # while the manager runs: its repository appears there
    sha = inside(hive, "manager", f"cd /agents/a/config && echo 'sleep_after = 7' >>agent.toml && {COMMIT}")
    proposed = hive.ask(host.RequestApplyCommit(name="a", commit_ref=sha)).approvals
    assert isinstance(proposed, list)
    hive.ask(host.Approve(id=proposed[0].id, sha=sha))
    assert "sleep_after = 7" in inside(hive, "manager", "cat /applied/a/agent.toml; ! touch /applied/a/x 2>&1")
    fetched = "cd /agents/a/config && git fetch -q applied && git log -1 --format=%H applied/main"
    assert inside(hive, "manager", fetched) == sha
    assert "7" in inside(hive, "a", "cat /run/hive/agent.json; ! ls /agents /applied 2>&1")


@pytest.mark.parametrize("trick", ["mv a b && ln -s b a", "cd a && mv config c && ln -s c config", "rm -rf a"])
def test_a_repository_that_the_manager_has_moved_is_refused_and_nothing_is_pinned(
    hive: HiveProcess, trick: str
) -> None:
    hive.ask(host.Spawn(name="a"))
    inside(hive, "manager", f"cd /agents && {trick}")
    with pytest.raises(FaultError) as refused:
        hive.ask(host.RequestApplyCommit(name="a"))
    assert refused.value.kind is FaultKind.BAD_COMMIT
    assert hive.ask(host.Pending()).approvals == []
    assert hive.status("a").running
    hive.ask(host.Destroy(name="a", purge=True))
    assert not hive.paths.agent("a").exists()


def test_a_link_that_waits_under_a_name_is_not_written_through(hive: HiveProcess) -> None:
    inside(hive, "manager", "mkdir /agents/b && ln -s /shared /agents/b/config")
    hive.ask(host.Spawn(name="b"))
    assert hive.status("b").running
    assert sorted(hive.paths.shared.iterdir()) == []
