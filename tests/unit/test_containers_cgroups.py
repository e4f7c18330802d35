"""How limits are written down for each kind of host."""

import threading
from pathlib import Path

import pytest

from hyperhive.containers.cgroups import (
    ROOT,
    CgroupV1,
    CgroupV2,
    RlimitsOnly,
    SystemdUnits,
    members,
    oom_kills,
    own_groups,
    remove,
    v1_files,
    v2_files,
)
from hyperhive.containers.spec import Limits
from hyperhive.containers.systemd import Manager, launched, literal

LIMITS = Limits(memory_bytes=200 << 20, cpu_percent=50, pids=120, tmp_bytes=1 << 20)


def test_version_two_gets_memory_without_swap_processes_and_processor() -> None:
    assert dict(v2_files(LIMITS)) == {
        "memory.max": "209715200",
        "memory.swap.max": "0",
        "pids.max": "120",
        "cpu.max": "50000 100000",
    }


def test_version_one_gets_the_same_and_no_devices_but_harmless_ones() -> None:
    files = v1_files(LIMITS)
    assert ("memory.limit_in_bytes", "209715200") in files["memory"]
    assert files["pids"] == (("pids.max", "120"),)
    assert ("cpu.cfs_quota_us", "50000") in files["cpu"]
    assert files["devices"][0] == ("devices.deny", "a")
    assert not any(text.startswith("b") for _, text in files["devices"])


def test_a_systemd_host_starts_each_container_as_a_service_with_its_limits(tmp_path: Path) -> None:
    cage = SystemdUnits("hyperhive", Manager(uid=0)).prepare("h-a", LIMITS, tmp_path)
    assert cage.prefix[:3] == ("systemd-run", "--quiet", "--collect")
    assert "--unit=hyperhive-h-a" in cage.prefix  # two hives under one manager may have agents of one name
    assert "--slice=hyperhive.slice" in cage.prefix
    expected = {"MemoryMax=209715200", "TasksMax=120", "CPUQuota=50%", "DevicePolicy=closed", "OOMPolicy=continue"}
    assert expected <= set(cage.prefix)
    assert cage.plan == tmp_path / "plan"
    assert cage.prefix[-1] == "--"


def test_the_hive_s_paths_reach_a_service_as_they_are_whatever_is_in_them() -> None:
    place = Path("/srv/$HOME of $$")
    assert literal(("/a$b/python", str(place)))[-2:] == ("/a$$b/python", "/srv/$$HOME of $$$$")
    assert "$" not in literal(("/a$b/python",))[0], "systemd puts no values into a program's path, and leaves $$ there"
    [stop] = [text for text in launched(place, place / "said") if text.startswith("ExecStop=")]
    assert "'/srv/$$HOME of $$$$'" in stop


@pytest.mark.parametrize("limiter", [CgroupV2, CgroupV1])
def test_groups_of_our_own_beside_a_systemd_are_said_to_end_with_the_hive(limiter: type) -> None:
    where = Path("/x") if limiter is CgroupV2 else {"memory": Path("/x")}
    assert "KillMode" not in limiter(where).finding().detail
    assert "KillMode=process" in limiter(where, beside_systemd=True).finding().detail


def test_a_user_s_hive_asks_the_user_s_manager_and_says_where_that_listens() -> None:
    prefix = SystemdUnits("hyperhive", Manager(uid=1000)).prepare("h-a", LIMITS, Path("/x")).prefix
    assert prefix[:4] == ("env", "XDG_RUNTIME_DIR=/run/user/1000", "systemd-run", "--user")


@pytest.mark.parametrize(
    ("uid", "group"),
    [
        (0, "hyperhive.slice/hyperhive-1a.slice/hyperhive-1a-h-a.service"),
        (7, "user.slice/user-7.slice/user@7.service/hyperhive.slice/hyperhive-1a.slice/hyperhive-1a-h-a.service"),
    ],
)
def test_where_systemd_puts_a_container_is_known_without_asking_it(uid: int, group: str) -> None:
    assert SystemdUnits("hyperhive-1a", Manager(uid=uid)).expected("h-a") == (ROOT / group,)


def test_what_ends_with_the_hive_is_a_scope_around_a_child_of_ours() -> None:
    cage = SystemdUnits("hyperhive", Manager(uid=0)).prepare_child("images", LIMITS)
    assert {"--scope", "MemoryMax=209715200"} <= set(cage.prefix)
    assert cage.plan is None


def test_without_control_groups_bounds_are_set_inside_and_the_doctor_says_what_is_missing() -> None:
    limiter = RlimitsOnly()
    assert limiter.prepare("h-a", LIMITS, Path()).inside[:3] == ("prlimit", "--nproc=120", "--data=209715200")
    assert not limiter.finding().ok
    assert not limiter.finding().needed


def test_our_own_groups_are_read_from_the_kernel_s_list() -> None:
    assert own_groups("9:name=systemd:/\n4:cpu,cpuacct:/a:b\n0::/x\n") == {
        "name=systemd": "/",
        "cpu": "/a:b",
        "cpuacct": "/a:b",
        "": "/x",
    }


def test_kills_for_want_of_memory_are_counted_in_both_versions(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert oom_kills([tmp_path / "two", tmp_path / "one", tmp_path / "gone"]) == 3


def test_the_processes_of_a_group_are_those_below_it_too(tmp_path: Path) -> None:
    (tmp_path / "group/below").mkdir(parents=True)
    (tmp_path / "group/cgroup.procs").write_text("12\n0\n")
    (tmp_path / "group/below/cgroup.procs").write_text("13\n")
    assert members([tmp_path / "group", tmp_path / "gone"]) == {12, 13}


def test_groups_that_come_and_go_while_they_are_walked_are_no_error(tmp_path: Path) -> None:
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            (tmp_path / "a/b/c").mkdir(parents=True, exist_ok=True)
            remove([tmp_path / "a"])

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(2000):
            assert members([tmp_path]) == set()
    finally:
        over.set()
        thread.join()


def test_a_group_that_cannot_be_removed_keeps_no_other_from_it(tmp_path: Path) -> None:
    (tmp_path / "group/busy").mkdir(parents=True)
    (tmp_path / "group/busy/process").touch()
    (tmp_path / "group/idle").mkdir()
    remove([tmp_path / "group", tmp_path / "gone"])
    assert [path.name for path in (tmp_path / "group").iterdir()] == ["busy"]
