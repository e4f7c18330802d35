"""Starts one container and records its first process: a program of its own with nothing but the standard library,
because it forks, changes namespaces and must start fast.

It reads a plan (marshalled) from stdin, or from the file that is its last argument and then removed, puts itself where
the container is to live (session, cgroups, limits, mounts), starts the log writer and the shim that keeps the exit
status, and ends with status 0 once the container's first process runs. The record is on disk before that process
starts, so that no container ever runs that a restarted hive could not find. Ends with status 1 when the container did
not come up; its log says why.

The shim and the log writer are `sh` and `dd`: some hundred kilobytes each, for as long as the container lives.
"""

# Imports are most of what this program costs: pathlib, contextlib, json, signal and typing would each take longer than
# all that it does before the container is there.
# ruff: noqa: PTH103, PTH105, PTH108, PTH112, PTH120, PTH123, SIM105

import _signal as signal  # type: ignore[import-not-found]  # the same, but for its enumerations
import fcntl
import marshal
import os
import resource
import select
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# A unit of systemd's goes with its last process, which is the shim, and what the kernel counted in it goes, too.
SHIM = """
counts=$1; shift
"$@"; code=$?
cat "$counts" >oom 2>/dev/null
printf "%s\\n" "$code" >exit.new && mv exit.new exit
"""
# A record of dd is one read, so `count` bounds what a file grows to (5 MiB), and a line is there at once.
# When nothing more can be kept (a full disk) it goes on to read: a container must not die of its own words.
LOG_WRITER = """
while dd bs=256 count=16384 >>log && size=$(wc -c <log) && test "$size" -gt "${last:-0}"; do
    last=$size
    test "$size" -lt 1048576 || { mv log log.1; last=0; }
done
exec cat >/dev/null
"""

_ENV = {"PATH": "/usr/bin:/bin:/run/current-system/sw/bin"}
_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_SLAVE, _MS_NOSUID, _MS_NODEV = 0x20000, 0x1000, 0x4000, 0x80000, 2, 4
_EVERY_FD = 1 << 20
_SAFE_FD = 64  # above every number that the command wants its descriptors at


def main() -> int:
    os.closerange(3, _EVERY_FD)  # whoever started the hive, and its event loop, may have left some open
    plan = _plan()
    os.chdir(plan["directory"])
    os.umask(0o077)
    for left in ("plan", "exit", "oom"):
        _unlink(left)
    _settle(plan)
    log_read, log_write = _named_pipe(plan) if plan["assembly"] else os.pipe()
    door = _Gate(plan) if plan["assembly"] else _Descriptors(plan)
    writer = _start_log_writer(log_read)
    shim = _fork(lambda: _become_shim(plan, log_write, door.theirs()))
    for fd in (log_read, log_write):
        os.close(fd)
    report = {"shim": _process(shim), "writer": _process(writer), "init": None, "cgroup": _cgroup(), "boot": _boot()}
    _write_record(plan, report)
    init = door.first_process(shim)
    if init:
        report["init"] = _process(init)
        _write_record(plan, report)
        telling = _fork(lambda: _become_teller(plan["machine"], shim, init)) if plan["machine"] else 0
        up = door.let_go()
        if telling:
            os.waitpid(telling, 0)
        if up:
            return 0
        try:
            os.kill(init, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for pid in (shim, writer):
        os.waitpid(pid, 0)
    return 1


def _plan() -> "dict[str, Any]":
    if not sys.argv[2:]:
        return marshal.load(sys.stdin.buffer)  # type: ignore[no-any-return]
    with open(sys.argv[2], "rb") as file:
        return marshal.load(file)  # type: ignore[no-any-return]


class _Descriptors:
    """A command that names the first process on one descriptor and waits for us at another."""

    def __init__(self, plan: "dict[str, Any]") -> None:
        self._timeout = plan["timeout"]
        self._places = (plan["status_fd"], plan["block_fd"])
        self._status, self._status_write = _endless_pipe()
        self._block_read, self._block = os.pipe()
        _fill(self._block)
        self._ended = -1

    def theirs(self) -> dict[int, int]:
        """Where the command wants them -> what they are here."""
        return dict(zip(self._places, (self._status_write, self._block_read), strict=True))

    def first_process(self, shim: int) -> int:
        """The host's number of the container's first process; 0 when the command ended without making one."""
        for fd in (self._status_write, self._block_read):
            os.close(fd)
        self._ended = os.pidfd_open(shim)
        text = b""
        while b"\n" not in text and len(text) < 65536:
            ready = _poll(self._timeout, {self._status: select.POLLIN, self._ended: select.POLLIN})
            if not ready.get(self._status, 0) & select.POLLIN:
                return 0
            text += os.read(self._status, 4096)
        import json

        return int(json.loads(text.split(b"\n")[0])["child-pid"])

    def let_go(self) -> bool:
        """Waits until the container is complete and its first process runs; False when it ended before."""
        os.write(self._block, b"\n")
        ready = _poll(self._timeout, {self._block: select.POLLOUT, self._ended: select.POLLIN})
        return bool(ready.get(self._block, 0) & select.POLLOUT) and self._ended not in ready


class _Gate:
    """A program of ours inside, which says through a pipe in a file that it is there, and waits at another."""

    def __init__(self, plan: "dict[str, Any]") -> None:
        self._timeout = plan["timeout"]
        self._pid_inside = plan["assembly"]["pid_inside"]
        for name in ("up", "go"):
            _make_pipe(name, plan)
        self._up = os.open("up", os.O_RDONLY | os.O_NONBLOCK)
        self._go = os.open("go", os.O_RDWR)
        self._ended = -1

    def theirs(self) -> dict[int, int]:
        return {}

    def first_process(self, shim: int) -> int:
        self._ended = os.pidfd_open(shim)
        if not self._hears():
            return 0
        os.read(self._up, 4096)
        return next((pid for pid in _descendants(shim) if _pid_inside(pid) == self._pid_inside), 0)

    def let_go(self) -> bool:
        """The gate closes its end by becoming another program; words before that say why it did not."""
        os.write(self._go, b"\n")
        return self._hears() and os.read(self._up, 4096) == b""

    def _hears(self) -> bool:
        ready = _poll(self._timeout, {self._up: select.POLLIN, self._ended: select.POLLIN})
        return self._up in ready


def _named_pipe(plan: "dict[str, Any]") -> tuple[int, int]:
    """Both ends of one that is also a file, so that a service manager inside can give it to a service."""
    _make_pipe("out", plan)
    reading = os.open("out", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(reading, True)
    return reading, os.open("out", os.O_WRONLY | os.O_CLOEXEC)


def _make_pipe(name: str, plan: "dict[str, Any]") -> None:
    _unlink(name)
    os.mkfifo(name, 0o600)
    os.chown(name, plan["assembly"]["first_uid"], -1)


def _descendants(pid: int) -> list[int]:
    found = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            for child in map(int, file.read().split()):
                found += [child, *_descendants(child)]
    except OSError:
        pass
    return found


def _pid_inside(pid: int) -> int:
    """Its number in the innermost pid namespace that it is in, where that is not ours; else 0."""
    try:
        with open(f"/proc/{pid}/status") as file:
            numbers = next(line.split()[1:] for line in file if line.startswith("NSpid:"))
    except OSError:
        return 0
    return int(numbers[-1]) if len(numbers) > 1 else 0


def _settle(plan: "dict[str, Any]") -> None:
    """Everything that the children inherit."""
    for procs in plan["procs"]:
        with open(procs, "w") as file:
            file.write("0")
    # A crash inside must not start the host's core dump handler on hostile memory, nor fill a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # When the host itself runs out of memory, agents go before the hive.
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("300")
    except OSError:
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in range(1, signal.NSIG):
        # Ignored signals would stay ignored in the container; Python itself ignores PIPE and XFSZ.
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass


def _start_log_writer(log_read: int) -> int:
    null = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, fd, place) for place, fd in enumerate((log_read, null, null))]
    return os.posix_spawn("/bin/sh", ["sh", "-c", LOG_WRITER], _ENV, file_actions=actions, setsid=True, setsigmask=())


def _become_shim(plan: "dict[str, Any]", log_write: int, theirs: dict[int, int]) -> None:
    counts = f"/sys/fs/cgroup{_cgroup()}/memory.events"
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(log_write, 1)
    os.dup2(log_write, 2)
    if plan["assembly"]:
        __import__("assemble").assemble(plan["assembly"], plan["stage"])
    elif plan["stage"]:
        _stage(plan["stage"])
    places = {int(fd): _memory_file(data) for fd, data in plan["data"].items()} | theirs
    high = {place: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SAFE_FD) for place, fd in places.items()}
    os.closerange(3, _SAFE_FD)
    for place, fd in high.items():
        os.dup2(fd, place)
    os.umask(0o022)
    os.execve("/bin/sh", ["sh", "-c", SHIM, "shim", counts, *plan["argv"]], _ENV)


def _become_teller(machine: str, shim: int, init: int) -> None:
    """Registers the container with machined, so that `machinectl` shows it. Nothing depends on it."""
    leader = next((pid for pid in _descendants(shim) if _pid_inside(pid) == 1), init)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    words = ("RegisterMachine", "sayssus", machine, "0", "hyperhive", "container", str(leader), "")
    bus = "org.freedesktop.machine1"
    argv = ("busctl", "--timeout=3", "call", bus, "/org/freedesktop/machine1", f"{bus}.Manager", *words)
    os.execvpe("busctl", argv, _ENV)


def _stage(bindings: list[list[str]]) -> None:
    """Binds every source to a place that the agent's uid can reach, seen by nobody but our descendants."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
        arguments = [None if text is None else text.encode() for text in (source, target, kind, data)]
        if libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3]) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), source or target)

    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a mount namespace")
    mount(None, "/", None, _MS_REC | _MS_SLAVE)
    # Opened before anything is covered: a source may itself lie where the stage is about to be.
    sources = [os.open(source, os.O_PATH) for source, _ in bindings]
    mount("stage", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    os.umask(0o022)
    for fd, (_, place) in zip(sources, bindings, strict=True):
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            os.makedirs(place)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
        mount(f"/proc/self/fd/{fd}", place, None, _MS_BIND | _MS_REC)


def _fill(block_write: int) -> None:
    # One page holds one write: the pipe takes no second byte until the container's side has read the first.
    fcntl.fcntl(block_write, 1031, 4096)  # F_SETPIPE_SZ


def _endless_pipe() -> tuple[int, int]:
    """A pipe whose writing end reads as well: bubblewrap writes its last words long after we are gone, and must not
    die of a broken pipe before it has passed the exit status on."""
    reading, writing = os.pipe()
    both = os.open(f"/proc/self/fd/{writing}", os.O_RDWR)
    os.close(writing)
    return reading, both


def _poll(timeout_s: float, events: dict[int, int]) -> dict[int, int]:
    poll = select.poll()
    for fd, mask in events.items():
        poll.register(fd, mask)
    return dict(poll.poll(timeout_s * 1000))


def _process(pid: int) -> dict[str, int]:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return {"pid": pid, "start": int(file.read().rpartition(b")")[2].split()[19])}


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def _cgroup() -> str:
    """Our place in the cgroup2 tree, "" where there is none."""
    with open("/proc/self/cgroup") as file:
        return next((line[3:].strip() for line in file if line.startswith("0::")), "")


def _write_record(plan: "dict[str, Any]", report: "dict[str, Any]") -> None:
    with open("record.new", "w") as file:
        file.write(_json({**plan["record"], **report}))
    os.replace("record.new", "record.json")


def _json(value: object) -> str:
    """Of what a record is made of."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_json(key)}: {_json(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(c if c >= " " and c not in '"\\' else f"\\u{ord(c):04x}" for c in value) + '"'
    return "null" if value is None else repr(value)


def _unlink(name: str) -> None:
    try:
        os.unlink(name)
    except FileNotFoundError:
        pass


def _memory_file(data: bytes) -> int:
    fd = os.memfd_create("data")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _fork(become: "Callable[[], None]") -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        become()
    except BaseException as error:  # noqa: BLE001 - the end of a forked process; nothing may run on in it
        os.write(2, f"launcher: {error}\n".encode())
    os._exit(70)
