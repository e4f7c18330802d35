"""What the nspawn backend decides, from facts alone."""

import dataclasses
import marshal
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hyperhive.containers.backend import Command
from hyperhive.containers.host import Files, Host
from hyperhive.containers.nspawn import Nspawn
from hyperhive.containers.spec import ContainerSpec, Init, Limits, Mount, Network
from hyperhive.protocol.faults import FaultError, FaultKind

HOST = Host(
    uid=0,
    bwrap=Path("/usr/bin/bwrap"),
    bwrap_version=(0, 8),
    setpriv=Path("/usr/bin/setpriv"),
    seccomp=b"of bwrap",
    seccomp_of_nspawn=b"filter..",
    userns_problem="",
    apparmor_restricts=False,
    bwrap_libraries=None,
    files=Files(etc=(), links=(), roots=()),
    nspawn=Path("/usr/bin/systemd-nspawn"),
    nspawn_version=252,
    overlay=True,
    kernel=(6, 1),
)
SPEC = ContainerSpec(
    name="h-x",
    argv=("/bin/sh", "-c", "true"),
    env={"TOKEN": "sk-secret"},
    limits=Limits(memory_bytes=1 << 30, cpu_percent=100, pids=64, tmp_bytes=1 << 20),
    mounts=(Mount(source=Path("/srv/state"), target=PurePosixPath("/state"), writable=True),),
    layers=(Path("/var/lib/hyperhive/images/base/1/root"),),
    uid=0x20000000 + 1000,
)


def planned(command: Command) -> dict[str, Any]:
    assert command.assembly is not None
    return dict(marshal.loads(command.assembly.files["harness"].text))


def test_the_environment_is_on_no_command_line_and_only_who_carries_the_plan_out_may_read_it() -> None:
    command = Nspawn(HOST).start_command(SPEC)
    assert not any("sk-secret" in word for word in command.argv)
    assert command.assembly is not None
    plan = command.assembly.files["harness"]
    assert b"sk-secret" in plan.text
    assert (plan.uid, plan.mode) == (0x20000000, 0o400)


def test_a_container_has_users_of_its_own_of_which_the_agent_is_the_one_that_owns_its_files_outside() -> None:
    command = Nspawn(HOST).start_command(SPEC)
    assert f"--private-users={0x20000000}:65536" in command.argv
    assert "--private-network" in command.argv
    assert "--no-new-privileges=yes" in command.argv


def test_the_hosts_network_is_for_those_alone_who_ask_for_it() -> None:
    command = Nspawn(HOST).start_command(dataclasses.replace(SPEC, network=Network.HOST))
    assert "--private-network" not in command.argv


def test_with_systemd_inside_the_command_is_a_service_of_the_agents_that_can_gain_nothing() -> None:
    command = Nspawn(HOST).start_command(dataclasses.replace(SPEC, init=Init.SYSTEMD))
    assert command.assembly is not None
    unit = command.assembly.above["etc/systemd/system/hive-harness.service"].decode().splitlines()
    assert {"User=agent", "NoNewPrivileges=yes", "CapabilityBoundingSet="} <= set(unit)
    assert command.assembly.files["harness"].uid == SPEC.uid
    assert command.stop_signal == 37


def test_nspawn_makes_no_filter_where_the_gate_installs_one() -> None:
    assert "SYSTEMD_SECCOMP=no" in Nspawn(HOST).start_command(SPEC).argv
    without = Nspawn(dataclasses.replace(HOST, seccomp_of_nspawn=None))
    assert "SYSTEMD_SECCOMP=yes" in without.start_command(SPEC).argv
    booted = Nspawn(HOST).start_command(dataclasses.replace(SPEC, init=Init.SYSTEMD))
    assert not any(word.startswith("SYSTEMD_SECCOMP") for word in booted.argv)


def test_a_module_is_run_by_the_gate_in_its_own_python_and_any_other_program_follows_it() -> None:
    spec = dataclasses.replace(SPEC, argv=("/opt/python", "-I", "-m", "one.module"))
    command = Nspawn(HOST).start_command(spec)
    assert command.argv[-5:] == ("/opt/python", "-I", "-S", "/run/hive-start/gate.py", "harness")
    assert planned(command)["module"] == "one.module"
    assert planned(command)["filter"] == HOST.seccomp_of_nspawn
    assert planned(Nspawn(HOST).start_command(SPEC))["module"] == ""
    booted = Nspawn(HOST).start_command(dataclasses.replace(spec, init=Init.SYSTEMD))
    assert planned(booted)["module"] == ""


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        (dataclasses.replace(HOST, uid=1000), "use bubblewrap"),
        (dataclasses.replace(HOST, nspawn=None, nspawn_version=0), "install systemd-container"),
        (dataclasses.replace(HOST, nspawn_version=251), "252 or newer"),
        (dataclasses.replace(HOST, overlay=False), "modprobe overlay"),
        (dataclasses.replace(HOST, kernel=(5, 15)), "since Linux 5.19"),
    ],
)
def test_a_host_that_cannot_is_told_what_to_do(host: Host, remedy: str) -> None:
    with pytest.raises(FaultError, match=remedy) as caught:
        Nspawn(host).check(SPEC)
    assert caught.value.kind is FaultKind.BACKEND


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (dataclasses.replace(SPEC, layers=()), "hive image build"),
        (dataclasses.replace(SPEC, uid=None), "hive move"),
        (dataclasses.replace(SPEC, uid=400_001), "hive move"),
    ],
)
def test_a_container_without_a_root_or_users_of_its_own_is_refused(spec: ContainerSpec, what: str) -> None:
    with pytest.raises(FaultError, match=what):
        Nspawn(HOST).check(spec)


def test_a_host_where_no_image_can_be_made_is_told_what_to_install_and_starts_what_there_is() -> None:
    nspawn = Nspawn(dataclasses.replace(HOST, missing_for_images=("mmdebstrap",)))

    assert [found.remedy for found in nspawn.findings() if not found.ok] == [
        "install mmdebstrap (Debian: apt install mmdebstrap)"
    ]
    nspawn.check(SPEC)
