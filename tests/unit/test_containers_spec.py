"""What a container may be, decided when it is described."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hyperhive.containers.spec import ContainerSpec, Limits, Mount, parse_size
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import LimitSettings

LIMITS = Limits(memory_bytes=1 << 30, cpu_percent=100, pids=64, tmp_bytes=1 << 20)


def spec(**changes: Any) -> ContainerSpec:
    return ContainerSpec(**{"name": "h-a", "argv": ("/bin/true",), "env": {}, "limits": LIMITS, **changes})


def mount(target: str, source: str = "/srv/x") -> Mount:
    return Mount(source=Path(source), target=PurePosixPath(target))


def test_the_limits_of_an_agent_are_read_as_they_are_written() -> None:
    limits = Limits.from_settings(LimitSettings(memory="2g", cpu="50%", pids=99, tmp="64M"))
    assert limits == Limits(memory_bytes=2 << 30, cpu_percent=50, pids=99, tmp_bytes=64 << 20)


def test_the_defaults_of_the_settings_are_readable() -> None:
    assert Limits.from_settings(LimitSettings()).memory_bytes == 4 << 30


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"memory": "lots"}, "limits.memory"),
        ({"memory": "4 G"}, "limits.memory"),
        ({"memory": "-1G"}, "limits.memory"),
        ({"memory": "1M"}, "limits.memory"),
        ({"tmp": ""}, "limits.tmp"),
        ({"cpu": "2"}, "limits.cpu"),
        ({"cpu": "0%"}, "limits.cpu"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_by_its_name(changes: dict[str, str], field: str) -> None:
    with pytest.raises(FaultError, match=field) as refused:
        Limits.from_settings(LimitSettings(**changes))  # type: ignore[arg-type]  # a table of strings
    assert refused.value.kind is FaultKind.BAD_CONFIG


def test_a_size_without_a_unit_is_bytes() -> None:
    assert parse_size("4096", field="x") == 4096


def test_mounts_are_put_in_the_order_of_their_targets() -> None:
    described = spec(mounts=(mount("/state/b/c"), mount("/state-x"), mount("/state")))
    assert [str(found.target) for found in described.mounts] == ["/state", "/state/b/c", "/state-x"]


@pytest.mark.parametrize("target", ["/", "/usr", "/etc", "/tmp", "/run", "/home/agent", "/proc/x", "/dev/sda", "/sys"])
def test_nothing_can_be_mounted_over_the_container_s_own_layout(target: str) -> None:
    with pytest.raises(FaultError, match="own layout"):
        mount(target)


@pytest.mark.parametrize("path", ["relative", "/a/../b", "//net/x", "/a\0b"])
def test_paths_are_absolute_and_without_tricks(path: str) -> None:
    with pytest.raises(FaultError, match="absolute"):
        mount(path)
    with pytest.raises(FaultError, match="absolute"):
        mount("/ok", source=path)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Bad_Name"},
        {"name": "../x"},
        {"name": "x-"},
        {"argv": ()},
        {"argv": ("a\0b",)},
        {"env": {"A=B": "x"}},
        {"env": {"A": "x\0y"}},
        {"uid": 0},
        {"cwd": PurePosixPath("state")},
        {"mounts": (mount("/a"), mount("/a", "/srv/y"))},
    ],
)
def test_a_description_that_cannot_be_right_is_refused_when_it_is_made(changes: dict[str, Any]) -> None:
    with pytest.raises(FaultError):
        spec(**changes)


def test_the_host_name_is_the_container_s_unless_given() -> None:
    assert spec().hostname == "h-a"
    assert spec(hostname="other").hostname == "other"
