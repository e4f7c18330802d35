"""The unit container@NAME of the stand-in: a process of its own that runs the container as the real unit does."""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hyperhive.testing.nixos_standin.host import Host

_CGROUPS: Final = Path("/sys/fs/cgroup")
_DEAD: Final[dict[str, Any]] = {"ActiveState": "inactive", "SubState": "dead", "Result": "success", "MainPID": 0,
                                "ExecMainCode": 0, "ExecMainStatus": 0, "ControlGroup": ""}  # fmt: skip
_START_LIMIT: Final = 5
_BINDS: Final = ("/usr", "/etc/alternatives", "/etc/ssl")


# asked from outside


def state(host: Host, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((host.units / f"{name}.json").read_text())
    except FileNotFoundError:
        return dict(_DEAD)
    if found["unit_pid"] and not _lives(found["unit_pid"], found["unit_start"]):
        return dict(_DEAD)  # the machine went down under it
    return found


def start(host: Host, name: str) -> int:
    """Until it is up (0) or has failed (1)."""
    if state(host, name)["ActiveState"] in ("active", "activating"):
        return 0
    host.units.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.setsid()
        if os.fork():
            os._exit(0)
        os.close(reading)
        _become_unit(host, name, writing)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading, "rb") as outcome:
        return 0 if outcome.read(1) == b"+" else 1


def stop(host: Host, name: str) -> None:
    """Until it is down."""
    found = state(host, name)
    with contextlib.suppress(OSError):
        fd = os.pidfd_open(found.get("unit_pid", 0) or -1)
        signal.pidfd_send_signal(fd, signal.SIGTERM)
        select.select([fd], [], [])
        os.close(fd)


def kill(host: Host, name: str, number: signal.Signals) -> None:
    """To every process of the unit, the first one too."""
    for pid in _members(_groups(host, name)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def forget_failure(host: Host, name: str) -> None:
    if state(host, name)["ActiveState"] == "failed":
        (host.units / f"{name}.json").unlink()


def leader(host: Host, name: str) -> int | None:
    """The container's first process."""
    main = state(host, name)["MainPID"]
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{main}/task/{main}/children").read_text().split():
            return int(child)
    return None


# the unit itself


def _become_unit(host: Host, name: str, outcome: int) -> None:
    log = host.root / "var/log"
    log.mkdir(parents=True, exist_ok=True)
    words = os.open(log / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open("/dev/null", os.O_RDONLY)
    for wanted, fd in ((0, nothing), (1, words), (2, words)):
        os.dup2(fd, wanted)
    for inherited in map(int, os.listdir("/proc/self/fd")):  # a unit of systemd's has nothing of whoever started it
        if inherited > 2 and inherited != outcome:
            with contextlib.suppress(OSError):
                os.close(inherited)
    with contextlib.suppress(BaseException):
        Unit(host, name, outcome).run()
    os._exit(0)


class Unit:
    """Type=notify, Restart=on-failure, RestartForceExitStatus=133, KillMode=mixed; drop-ins go before that."""

    def __init__(self, host: Host, name: str, outcome: int) -> None:
        self._host = host
        self._name = name
        self._outcome = outcome
        self._stopping = False
        self._waker, waking = os.pipe()
        os.set_blocking(waking, False)
        signal.set_wakeup_fd(waking)
        signal.signal(signal.SIGTERM, lambda *_: None)

    def run(self) -> None:
        result, code, status = "start-limit-hit", 0, 0
        for _ in range(_START_LIMIT):
            self._write(ActiveState="activating")
            result, code, status = self._once()
            self._answer(b"-")  # the job has failed, when it has not come up before
            again = status == 133 or (result != "success" and self._property("Restart", "on-failure") == "on-failure")
            if self._stopping or not again:
                break
            time.sleep(0.1)  # RestartSec
        failed = result != "success" and not (self._stopping and result != "timeout")
        self._write(ActiveState="failed" if failed else "inactive", Result=result, ExecMainCode=code,
                    ExecMainStatus=status, unit_pid=0)  # fmt: skip

    def _once(self) -> tuple[str, int, int]:
        """One life of the container: Result, ExecMainCode, ExecMainStatus."""
        groups = _groups(self._host, self._name)
        for group in groups:
            group.mkdir(parents=True, exist_ok=True)
        self._limit(groups)
        notify = self._host.units / f"{self._name}.notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(notify))
            argv = self._line()
            main = os.fork()
            if not main:
                self._exec(argv, groups, notify)
            try:
                return self._watch(main, ready, groups)
            finally:
                _kill_all(groups)
                for group in groups:
                    _remove(group)

    def _watch(self, main: int, ready: socket.socket, groups: list[Path]) -> tuple[str, int, int]:
        fd = os.pidfd_open(main)
        deadline: float | None = time.monotonic() + float(self._host.knob("start_timeout_s") or 60)
        result = ""
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            found, _, _ = select.select([fd, ready.fileno(), self._waker], [], [], left)
            if fd in found:
                break
            if ready.fileno() in found:
                said = ready.recv(4096)
                if b"READY=1" in said and not self._host.knob("start_times_out") and not self._stopping:
                    deadline = None
                    self._write(ActiveState="active", SubState="running", MainPID=main,
                                ControlGroup=_control_group(groups))  # fmt: skip
                    self._answer(b"+")
            elif self._waker in found:
                os.read(self._waker, 64)
                self._stopping = True
                if not self._host.knob("stop_hangs"):
                    os.kill(main, signal.SIGTERM)
                deadline = time.monotonic() + float(self._host.knob("stop_timeout_s") or 90)
            elif deadline is not None and time.monotonic() >= deadline:
                result, deadline = "timeout", None
                _kill_all(groups)
        os.close(fd)
        status = os.waitpid(main, 0)[1]
        if os.WIFSIGNALED(status):
            return result or "signal", 2, os.WTERMSIG(status)
        code = os.WEXITSTATUS(status)
        return result or ("success" if code in (0, 133) else "exit-code"), 1, code

    def _line(self) -> list[str]:
        """The start script, as far as it is about files and the command."""
        host, name = self._host, self._name
        root, conf = host.root_of(name), host.read_conf(name)
        root.mkdir(parents=True, exist_ok=True, mode=0o755)
        for directory in ("usr/bin", "etc", "var/lib", "nix/store"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        for directory in ("var/lib/private", "root"):
            (root / directory).mkdir(exist_ok=True, mode=0o700)
        for file in ("etc/os-release", "etc/machine-id"):
            (root / file).touch()
        for link in ("bin", "lib", "lib64", "sbin"):  # where the host's programs are looked for in place of the store
            if not os.path.lexists(root / link) and Path(f"/{link}").is_symlink():
                (root / link).symlink_to(f"usr/{link}")
        if conf.get("COPY_RESOLV_CONF") == "1" or host.release() < (26, 5):
            (root / "etc/resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
        return [*self._options(conf), *conf.get("EXTRA_NSPAWN_FLAGS", "").split(), f"{self._system()}/init"]

    def _options(self, conf: dict[str, str]) -> Iterator[str]:
        host, name = self._host, self._name
        users = conf.get("PRIVATE_USERS", "") if host.release() >= (25, 5) else ""
        idmap = ":idmap" if users == "pick" or (users.isdigit() and int(users) > 0) else ""
        yield from (
            "systemd-nspawn",
            "--keep-unit",
            "--register=no",
            "--quiet",
            "-M",
            name,
            "-D",
            str(host.root_of(name)),
        )
        if conf.get("PRIVATE_NETWORK") == "1":
            yield "--private-network"
        if users:
            yield f"--private-users={users}"
        addresses = ("HOST_ADDRESS", "LOCAL_ADDRESS", "HOST_ADDRESS6", "LOCAL_ADDRESS6", "LOCAL_MAC_ADDRESS")
        if any(conf.get(key) for key in addresses):
            yield "--network-veth"
        yield from ("--notify-ready=yes", "--kill-signal=SIGRTMIN+3", "--link-journal=no")
        for path in (*_BINDS, *json.loads((self._system() / "closure.json").read_text())["references"]):
            if Path(path).exists():
                yield f"--bind-ro={path}:{path}{idmap}"
        yield f"--bind-ro={host.root}/nix/store:{host.root}/nix/store{idmap}"
        for key in ("PRIVATE_NETWORK", "HOST_BRIDGE", "HOST_ADDRESS", "LOCAL_ADDRESS"):
            yield f"--setenv={key}={conf.get(key, '')}"

    def _system(self) -> Path:
        return (self._host.profile(self._name) / "system").resolve()

    def _exec(self, argv: list[str], groups: list[Path], notify: Path) -> None:
        with contextlib.suppress(BaseException):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for group in groups:
                (group / "cgroup.procs").write_text("0")
            environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                           "NOTIFY_SOCKET": str(notify), "LANG": "C.UTF-8"}  # fmt: skip
            os.execvpe(argv[0], argv, environment)
        os._exit(127)

    def _limit(self, groups: list[Path]) -> None:
        for file, value in (
            ("memory.limit_in_bytes", self._property("MemoryMax", "")),
            ("memory.max", self._property("MemoryMax", "")),
            ("pids.max", self._property("TasksMax", "")),
        ):
            for group in groups:
                if value and (group / file).exists():
                    (group / file).write_text(value)

    def _property(self, key: str, usual: str) -> str:
        return self._host.drop_in(self._name).get(key, usual)

    def _answer(self, word: bytes) -> None:
        if self._outcome >= 0:
            os.write(self._outcome, word)
            os.close(self._outcome)
            self._outcome = -1

    def _write(self, **changes: Any) -> None:
        me = os.getpid()
        whole = {**_DEAD, "unit_pid": me, "unit_start": _start_of(me), **changes}
        fresh = self._host.units / f"{self._name}.new"
        fresh.write_text(json.dumps(whole))
        fresh.replace(self._host.units / f"{self._name}.json")


# control groups


def _groups(host: Host, name: str) -> list[Path]:
    """Each container in groups of its own, in every tree there is: nspawn makes more below where it starts."""
    slice_name = f"hyperhive-stand-in-{host.root.stat().st_ino}"
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS / slice_name / name]
    trees = ("systemd", "unified", "memory", "pids")
    return [_CGROUPS / tree / slice_name / name for tree in trees if (_CGROUPS / tree).is_dir()]


def _control_group(groups: list[Path]) -> str:
    """Below the tree whose memory is counted, as `systemctl show` says it below the only one there is."""
    counted = next((group for group in groups if (group / "memory.limit_in_bytes").exists()), groups[0])
    return f"/{counted.relative_to(_CGROUPS)}"


def _members(groups: list[Path]) -> set[int]:
    found: set[int] = set()
    for group in groups:
        for place, _, files in os.walk(group):
            if "cgroup.procs" in files:
                with contextlib.suppress(OSError):
                    found |= {int(pid) for pid in Path(place, "cgroup.procs").read_text().split()}
    return found - {0}


def _kill_all(groups: list[Path]) -> None:
    while left := _members(groups):
        for pid in left:
            with contextlib.suppress(OSError):
                fd = os.pidfd_open(pid)
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                select.select([fd], [], [], 5)
                os.close(fd)


def _remove(group: Path) -> None:
    for place, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(place).rmdir()
    with contextlib.suppress(OSError):
        group.parent.rmdir()


def _lives(pid: int, start_time: str) -> bool:
    return _start_of(pid) == start_time


def _start_of(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def main() -> None:
    sys.exit("this is a part of the stand-in; run the programs that it installs")


if __name__ == "__main__":
    main()
