"""A hive that is a unit of a real systemd, whose containers are units of their own. Run by scripts/vm-test."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

UNIT = "hive-c0re.service"
LIMITS = {"MemoryMax": str(4 << 30), "TasksMax": "1024", "CPUQuotaPerSecUSec": "2s", "DevicePolicy": "closed"}


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def hive(*words: str) -> Any:
    """What the command answers."""
    return json.loads(run(sys.executable, "-m", "hyperhive.cli", *words, "--json"))


def properties(unit: str, *names: str) -> dict[str, str]:
    text = run("systemctl", "show", unit, *(f"--property={name}" for name in names))
    return dict(line.split("=", 1) for line in text.splitlines())


def scope_of(agent: str) -> str:
    """The unit that the agent's container is."""
    units = json.loads(run("systemctl", "list-units", "--type=scope", "--output=json"))
    (found,) = [unit["unit"] for unit in units if unit["unit"].endswith(f"-h-{agent}.scope")]
    return str(found)


def processes(unit: str) -> set[str]:
    group = properties(unit, "ControlGroup")["ControlGroup"]
    return set(Path(f"/sys/fs/cgroup{group}/cgroup.procs").read_text().split())


def start_the_hive() -> None:
    """Returns when the daemon has said READY: its unit is of the type that waits for that."""
    argv = [
        *("systemd-run", f"--unit={UNIT}", "--service-type=notify", "--collect", "-p", "KillMode=mixed"),
        *("-p", "RuntimeDirectory=hyperhive", "-p", "RuntimeDirectoryPreserve=yes", "-p", "StateDirectory=hyperhive"),
        *("-p", "TimeoutStartSec=300", "-E", f"PYTHONPATH={os.environ['PYTHONPATH']}"),
        *(sys.executable, "-m", "hyperhive.cli", "serve", "--no-manager", "--no-dashboard"),
    ]
    run(*argv)


def kill_the_hive() -> None:
    run("systemctl", "kill", "--signal=KILL", "--kill-who=all", UNIT)
    subprocess.run(["systemctl", "stop", UNIT], timeout=300, check=False)  # waits until systemd has seen it end


@pytest.fixture(scope="module")
def _hive() -> Iterator[None]:
    start_the_hive()
    hive("spawn", "scout")
    yield
    hive("stop", "--all")
    run("systemctl", "stop", UNIT)


@pytest.mark.usefixtures("_hive")
class TestAHiveAsAUnit:
    def test_a_container_is_a_unit_of_its_own_with_the_agents_limits(self) -> None:
        scope = scope_of("scout")
        assert properties(scope, *LIMITS) == LIMITS
        assert processes(scope)
        assert not processes(scope) & processes(UNIT)

    @pytest.mark.parametrize("how", ["kill", "stop"])
    def test_a_container_lives_on_when_the_hives_unit_is_gone_and_is_found_again(self, how: str) -> None:
        scope = scope_of("scout")
        before = processes(scope)
        if how == "kill":
            kill_the_hive()
        else:
            run("systemctl", "stop", UNIT)
        assert before <= processes(scope)
        start_the_hive()
        (agent,) = hive("list")["agent_statuses"]
        assert agent["running"]
        assert before <= processes(scope_of("scout"))

    def test_a_stopped_agent_leaves_no_unit(self) -> None:
        scope = scope_of("scout")
        hive("stop", "scout")
        assert properties(scope, "ActiveState")["ActiveState"] == "inactive"
        hive("start", "scout")
        assert processes(scope_of("scout"))
