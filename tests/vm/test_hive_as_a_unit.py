"""A hive that is a unit of a real systemd, whose containers are units of their own. Run by scripts/vm-test."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from systemd_units import failed, first_process, hive, processes, properties, run, unit_of

UNIT = "hive-c0re.service"
LIMITS = {
    **{"MemoryMax": str(4 << 30), "TasksMax": "1024", "CPUQuotaPerSecUSec": "2s", "DevicePolicy": "closed"},
    **{"OOMPolicy": "continue", "Delegate": "yes", "ActiveState": "active"},
}


def start_the_hive() -> None:
    """Returns when the daemon has said READY: its unit is of the type that waits for that."""
    argv = [
        *("systemd-run", f"--unit={UNIT}", "--service-type=notify", "--collect", "-p", "KillMode=mixed"),
        *("-p", "RuntimeDirectory=hyperhive", "-p", "RuntimeDirectoryPreserve=yes", "-p", "StateDirectory=hyperhive"),
        *("-p", "TimeoutStartSec=300"),
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
        unit = unit_of("scout")
        assert properties(unit, *LIMITS) == LIMITS
        assert processes(unit)
        assert not processes(unit) & processes(UNIT)

    def test_systemd_shows_it_under_the_name_of_its_agent(self) -> None:
        shown = run("systemctl", "status", "--no-pager", "*-h-scout.service")
        assert "Active: active (running)" in shown
        assert "hyperhive.harness.runner" in shown
        assert "-h-scout.service" in run("systemd-cgls", "--no-pager")

    @pytest.mark.parametrize("how", ["kill", "stop"])
    def test_a_container_lives_on_when_the_hives_unit_is_gone_and_is_found_again(self, how: str) -> None:
        unit, before = unit_of("scout"), first_process("scout")
        if how == "kill":
            kill_the_hive()
        else:
            run("systemctl", "stop", UNIT)
        assert before in processes(unit)
        start_the_hive()
        (agent,) = hive("list")["agent_statuses"]
        assert agent["running"]
        assert first_process("scout") == before
        assert before in processes(unit_of("scout"))

    def test_a_stopped_agent_leaves_no_unit(self) -> None:
        unit = unit_of("scout")
        hive("stop", "scout")
        assert properties(unit, "ActiveState", "LoadState") == {"ActiveState": "inactive", "LoadState": "not-found"}
        assert not failed()
        hive("start", "scout")
        assert processes(unit_of("scout"))
