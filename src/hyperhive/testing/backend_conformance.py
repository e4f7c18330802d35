"""What every container backend must do, as a suite that any test runner can call.

`CASES` maps a sentence to a coroutine function of a `Ground`; each raises AssertionError when the sentence is not
true. Run as a program (`python -m hyperhive.testing.backend_conformance DIR [SENTENCE]`) it tries the bubblewrap
backend as whoever it is and prints one line of JSON per case.
"""

import asyncio
import contextlib
import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from hyperhive.containers import cgroups, pidfd
from hyperhive.containers.bubblewrap import Bubblewrap
from hyperhive.containers.cgroups import CgroupV2, RlimitsOnly, find_limiter
from hyperhive.containers.host import interpreter_mounts, read_host
from hyperhive.containers.runtime import Exit, Runtime
from hyperhive.containers.spec import ContainerSpec, Limits, Mount, Network
from hyperhive.process import run
from hyperhive.protocol.faults import FaultError, FaultKind

LIMITS: Final = Limits(memory_bytes=256 << 20, cpu_percent=200, pids=64, tmp_bytes=8 << 20)
CASE_TIMEOUT_S: Final = 45.0
_INTERPRETER: Final = interpreter_mounts()
_OBEDIENT: Final = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 1000 & wait $!; done"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where a case is tried."""

    make: Callable[[], Awaitable[Runtime]]  #: a runtime as a (re)started hive would make it; same directory each time
    directory: Path  #: an empty directory of ours; cases make mounts below it
    uid: int | None  #: whom containers run as on the host
    bounds_memory_of_all: bool  #: memory is bounded per container and the kernel counts its kills

    def spec(
        self,
        *argv: str,
        mounts: tuple[Mount, ...] = (),
        limits: Limits = LIMITS,
        env: Mapping[str, str] | None = None,
    ) -> ContainerSpec:
        """A container named `probe`; `argv` starting with "-c" is a program for this Python."""
        command = (sys.executable, "-I", "-S", *argv) if argv[0] == "-c" else argv
        return ContainerSpec(
            name="probe",
            argv=command,
            env={"PATH": "/usr/bin:/bin"} if env is None else env,
            limits=limits,
            mounts=(*mounts, *_INTERPRETER),
            network=Network.NONE,
            uid=self.uid,
        )

    async def mount(self, name: str, *, inside: str = "", writable: bool = True) -> Mount:
        """A new directory of the agent's, at /NAME inside unless told where."""
        source = self.directory / name
        await asyncio.to_thread(self._give, source)
        return Mount(source=source, target=PurePosixPath(inside or f"/{name}"), writable=writable)

    def _give(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        if self.uid is not None and os.geteuid() == 0:
            os.chown(directory, self.uid, self.uid)


@contextlib.asynccontextmanager
async def hive(ground: Ground) -> AsyncIterator[Runtime]:
    """A runtime that leaves no container when the case is over."""
    runtime = await ground.make()
    try:
        yield runtime
    finally:
        await runtime.kill("probe")
        await runtime.close()


async def says(runtime: Runtime, line: str) -> None:
    """Waits until the container has written that line."""
    async with contextlib.aclosing(runtime.follow_logs("probe", lines=1000)) as lines:
        async for found in lines:
            if found == line:
                return


async def output(ground: Ground, spec: ContainerSpec) -> tuple[Exit, list[str]]:
    """Runs a container to its end."""
    async with hive(ground) as runtime:
        outcome = await (await runtime.start(spec)).wait()
        return outcome, await runtime.logs("probe", lines=5000)


async def refusal_of(runtime: Runtime, spec: ContainerSpec) -> FaultError:
    """The fault with which a start is refused."""
    try:
        await runtime.start(spec)
    except FaultError as fault:
        return fault
    raise AssertionError("it was started")


async def the_exit_status_of_the_command_is_told(ground: Ground) -> None:
    outcome, lines = await output(ground, ground.spec("/bin/sh", "-c", "echo out; echo err >&2; exit 7"))
    assert outcome == Exit(status=7), outcome
    assert lines == ["out", "err"], lines


async def a_stop_lets_the_first_process_end_by_itself(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sh", "-c", _OBEDIENT))
        await says(runtime, "ready")
        assert await runtime.stop("probe", grace_s=20) == Exit(status=3)


async def a_stop_kills_what_does_not_end(ground: Ground) -> None:
    async with hive(ground) as runtime:
        running = await runtime.start(ground.spec("/bin/sleep", "1000"))
        assert await runtime.stop("probe", grace_s=0.1) == Exit(signal=9)
        assert running.is_over


async def a_second_stop_does_nothing(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sleep", "1000"))
        await runtime.kill("probe")
        assert await runtime.stop("probe") is None
        assert await runtime.kill("never-there") is None


async def two_stops_at_once_both_return(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sleep", "1000"))
        outcomes = await asyncio.gather(runtime.stop("probe", grace_s=0.1), runtime.kill("probe"))
        assert Exit(signal=9) in outcomes, outcomes


async def what_runs_cannot_be_started_again(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sleep", "1000"))
        fault = await refusal_of(runtime, ground.spec("/bin/true"))
        assert fault.kind is FaultKind.WRONG_STATE, fault
        assert runtime.running("probe") is not None


async def a_start_clears_away_what_an_earlier_life_left(ground: Ground) -> None:
    earlier = await ground.make()
    left = await earlier.start(ground.spec("/bin/sleep", "1000"))
    await earlier.close()
    async with hive(ground) as runtime:
        outcome = await (await runtime.start(ground.spec("/bin/sh", "-c", "exit 4"))).wait()
        assert outcome == Exit(status=4), outcome
        assert left.record.init is not None
        assert await asyncio.to_thread(pidfd.open_process, left.record.init) is None


async def a_container_outlives_its_hive_and_is_adopted(ground: Ground) -> None:
    earlier = await ground.make()
    await earlier.start(ground.spec("/bin/sh", "-c", _OBEDIENT))
    await says(earlier, "ready")
    await earlier.close()
    async with hive(ground) as runtime:
        assert [running.name for running in await runtime.adopt()] == ["probe"]
        assert await runtime.stop("probe", grace_s=20) == Exit(status=3)
    following = await ground.make()
    assert await following.adopt() == []
    await following.close()


async def a_container_that_ended_while_no_hive_was_there_tells_how(ground: Ground) -> None:
    shared = await ground.mount("shared")
    await asyncio.to_thread(os.mkfifo, shared.source / "go", 0o666)
    await asyncio.to_thread((shared.source / "go").chmod, 0o666)
    earlier = await ground.make()
    left = await earlier.start(ground.spec("/bin/sh", "-c", "read x </shared/go; exit 5", mounts=(shared,)))
    await earlier.close()
    shim = await asyncio.to_thread(pidfd.open_process, left.record.shim)
    assert shim is not None
    await asyncio.to_thread((shared.source / "go").write_text, "now\n")
    await pidfd.ended(shim)
    os.close(shim)
    async with hive(ground) as runtime:
        (adopted,) = await runtime.adopt()
        outcome = await adopted.wait()
        assert outcome == Exit(status=5), (outcome, await runtime.logs("probe"))


async def a_record_of_a_process_that_is_no_longer_the_same_harms_nobody(ground: Ground) -> None:
    earlier = await ground.make()
    running = await earlier.start(ground.spec("/bin/sh", "-c", "exit 0"))
    record = running.record
    await running.wait()
    await earlier.close()
    ours = pidfd.Process(pid=os.getpid(), start=1)
    forged = msgspec.structs.replace(record, init=ours, shim=ours, directories=[])
    path = earlier.directory / "probe" / "record.json"
    await asyncio.to_thread(path.write_bytes, msgspec.json.encode(forged))
    async with hive(ground) as runtime:
        (adopted,) = await runtime.adopt()
        await adopted.wait()


async def nothing_of_a_container_is_left(ground: Ground) -> None:
    mounts_before = await asyncio.to_thread(Path("/proc/self/mountinfo").read_text)
    async with hive(ground) as runtime:
        program = "import os,time\nfor _ in range(5):\n if not os.fork(): os.setsid(); time.sleep(1000)\n"
        running = await runtime.start(ground.spec("-c", program + "print('forked', flush=True); time.sleep(1000)"))
        await says(runtime, "forked")
        members = await asyncio.to_thread(_descendants, running.record.shim.pid)
        assert len(members) >= 6, members
        await runtime.kill("probe")
        assert not await asyncio.to_thread(cgroups.members, running.directories)
        assert not await asyncio.to_thread(lambda: [path for path in running.directories if path.exists()])
        left = [pid for pid in members if await asyncio.to_thread(_lives, pid)]
        assert not left, left
    assert await asyncio.to_thread(Path("/proc/self/mountinfo").read_text) == mounts_before


async def children_end_with_the_first_process(ground: Ground) -> None:
    async with hive(ground) as runtime:
        running = await runtime.start(
            ground.spec("/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo up; read x; exit 0")
        )
        outcome = await running.wait()
        assert outcome == Exit(status=0), outcome


async def the_number_of_processes_is_bounded(ground: Ground) -> None:
    program = """
import os, time
count = 0
try:
    while count < 500:
        if os.fork() == 0:
            time.sleep(1000)
        count += 1
except OSError:
    pass
print(count)
"""
    _, lines = await output(ground, ground.spec("-c", program))
    assert 10 < int(lines[-1]) <= LIMITS.pids, lines


async def memory_is_bounded(ground: Ground) -> None:
    program = "x = bytearray(600 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('had it all')"
    outcome, lines = await output(ground, ground.spec("-c", program))
    assert "had it all" not in lines
    if ground.bounds_memory_of_all:
        assert outcome == Exit(signal=9, oom=True), outcome
    else:
        assert any("MemoryError" in line for line in lines), lines


async def a_child_killed_for_memory_leaves_the_rest_alive(ground: Ground) -> None:
    program = """
import os
if os.fork() == 0:
    x = bytearray(600 << 20)
    for i in range(0, len(x), 4096): x[i] = 1
    os._exit(0)
status = os.wait()[1]
print("child", status != 0)
"""
    outcome, lines = await output(ground, ground.spec("-c", program))
    assert lines[-1] == "child True", lines
    assert outcome == Exit(status=0, oom=ground.bounds_memory_of_all), outcome


async def file_systems_in_memory_have_a_size(ground: Ground) -> None:
    fill = "dd if=/dev/zero of=$d/f bs=1M count=64 2>&1 | grep -c 'No space'"
    script = f"for d in /tmp /home/agent /dev/shm; do {fill}; done"
    _, lines = await output(ground, ground.spec("/bin/sh", "-c", script))
    assert lines == ["1", "1", "1"], lines


async def a_flood_of_output_does_not_fill_the_disk(ground: Ground) -> None:
    script = "head -c 24000000 /dev/zero | tr '\\0' 'x' | fold -w 100; echo; echo last"
    async with hive(ground) as runtime:
        await (await runtime.start(ground.spec("/bin/sh", "-c", script))).wait()
        kept = await asyncio.to_thread(_sizes, runtime.directory / "probe")
        assert kept <= 11 << 20, kept
        lines = await runtime.logs("probe", lines=999_999)
        assert len(lines) == 5000
        assert lines[-1] == "last"


async def a_line_without_end_is_cut(ground: Ground) -> None:
    async with hive(ground) as runtime:
        script = "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo last"
        await (await runtime.start(ground.spec("/bin/sh", "-c", script))).wait()
        lines = await runtime.logs("probe", lines=10)
        assert lines[-1] == "last"
        assert max(map(len, lines)) <= 4096


async def nothing_of_the_network_is_reached(ground: Ground) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0hyperhive-conformance-{os.getpid()}")
    abstract.listen()
    program = f"""
import socket
def reach(name, family, address):
    s = socket.socket(family)
    s.settimeout(3)
    try:
        s.connect(address)
        print(name, "reached")
    except OSError as error:
        print(name, "no")
reach("loopback", socket.AF_INET, {listener.getsockname()!r})
reach("abstract", socket.AF_UNIX, "\\0hyperhive-conformance-{os.getpid()}")
reach("internet", socket.AF_INET, ("192.0.2.1", 443))
reach("internet6", socket.AF_INET6, ("2001:db8::1", 443))
try:
    socket.getaddrinfo("example.org", 443)
    print("names reached")
except OSError:
    print("names no")
print(",".join(name for _, name in socket.if_nameindex()))
"""
    with listener, abstract:
        _, lines = await output(ground, ground.spec("-c", program))
    assert lines == ["loopback no", "abstract no", "internet no", "internet6 no", "names no", "lo"], lines


async def a_socket_among_the_mounts_is_reached_and_shows_who_asks(ground: Ground) -> None:
    place = await ground.mount("agent", inside="/run/hive", writable=False)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place.source / "mcp.sock"))
    await asyncio.to_thread((place.source / "mcp.sock").chmod, 0o666)
    listener.listen()
    with listener:
        program = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/hive/mcp.sock'); print(s.recv(9))"
        async with hive(ground) as runtime:
            running = await runtime.start(ground.spec("-c", program, mounts=(place,)))
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                who = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                await asyncio.to_thread(connection.send, b"hello")
            assert await running.wait() == Exit(status=0)
    assert int.from_bytes(who[4:8], sys.byteorder) == (os.geteuid() if ground.uid is None else ground.uid)


async def mounts_are_writable_only_when_told(ground: Ground) -> None:
    state, config = await ground.mount("state"), await ground.mount("config", writable=False)
    nested = await ground.mount("claude", inside="/home/agent/.claude")
    read_only = "/config / /usr /etc /dev /home /proc/sys"
    script = (
        "echo a >/state/f && echo a >/home/agent/.claude/f && echo both; "
        f"for d in {read_only}; do echo a 2>&- >$d/f && echo wrote $d; done; echo done"
    )
    _, lines = await output(ground, ground.spec("/bin/sh", "-c", script, mounts=(nested, config, state)))
    assert [line for line in lines if not line.startswith("/bin/sh")] == ["both", "done"], lines
    for mount in (state, nested):
        found = await asyncio.to_thread((mount.source / "f").stat)
        assert found.st_uid == (os.geteuid() if ground.uid is None else ground.uid)


async def the_environment_is_exactly_what_was_given(ground: Ground) -> None:
    env = {"A": "1", "LD_PRELOAD_NOT": "x y\n'z'", "EMPTY": ""}
    program = (
        "import os; print(sorted(os.environ.items())); print(sorted(open('/proc/1/environ').read().split('\\0')))"
    )
    _, lines = await output(ground, ground.spec("-c", program, env=env))
    expected = sorted({**env, "PWD": "/home/agent"}.items())
    # Python's own: it sets LC_CTYPE for itself where no locale is given.
    assert lines[0].replace("('LC_CTYPE', 'C.UTF-8'), ", "") == repr(expected), lines
    assert "hyperhive" not in lines[1].lower(), lines


async def the_environment_is_not_on_any_command_line(ground: Ground) -> None:
    async with hive(ground) as runtime:
        running = await runtime.start(ground.spec("/bin/sleep", "1000", env={"KEY": "sk-not-a-real-secret"}))
        for pid in [running.record.shim.pid, *await asyncio.to_thread(_descendants, running.record.shim.pid)]:
            line = await asyncio.to_thread(Path(f"/proc/{pid}/cmdline").read_bytes)
            assert b"sk-not-a-real-secret" not in line


async def no_descriptor_of_the_hive_is_inherited(ground: Ground) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    os.set_inheritable(writing, True)
    try:
        program = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) > 2))"
        _, lines = await output(ground, ground.spec("-c", program))
    finally:
        os.close(reading)
        os.close(writing)
    assert lines == ["[3]"], lines  # the listing's own


async def a_mount_that_is_missing_is_named(ground: Ground) -> None:
    missing = Mount(source=ground.directory / "not-there", target=PurePosixPath("/x"))
    async with hive(ground) as runtime:
        fault = await refusal_of(runtime, ground.spec("/bin/true", mounts=(missing,)))
        assert fault.kind is FaultKind.BACKEND, fault
        assert "not-there" in fault.message, fault
        assert "is the agent's state there?" in fault.message, fault
        assert runtime.running("probe") is None


async def how_it_ended_is_told_also_when_it_cannot_be_cleared_away(ground: Ground) -> None:
    async with hive(ground) as runtime:
        running = await runtime.start(ground.spec("/bin/sleep", "1000"))
        obstacle = runtime.directory / "probe" / "record.new"
        await asyncio.to_thread(obstacle.mkdir)
        assert await runtime.kill("probe") == Exit(signal=9)
        assert running.is_over
        await asyncio.to_thread(obstacle.rmdir)


async def a_control_group_that_cannot_be_made_is_a_fault_that_says_so(ground: Ground) -> None:
    in_the_way = ground.directory / "no-directory"
    await asyncio.to_thread(in_the_way.touch)
    async with hive(ground) as runtime:
        runtime.limiter = CgroupV2(in_the_way)
        fault = await refusal_of(runtime, ground.spec("/bin/true"))
        assert fault.kind is FaultKind.BACKEND, fault
        assert "no-directory" in fault.message, fault


async def a_container_whose_log_cannot_be_kept_runs_on(ground: Ground) -> None:
    async with hive(ground) as runtime:
        log = runtime.directory / "probe" / "log"
        await asyncio.to_thread(log.mkdir, parents=True)
        script = "i=0; while test $i -lt 2000; do echo word word word word || exit 7; i=$((i+1)); done; exit 4"
        outcome = await (await runtime.start(ground.spec("/bin/sh", "-c", script))).wait()
        assert outcome == Exit(status=4), outcome
        await asyncio.to_thread(log.rmdir)


async def a_mount_call_is_refused_that_is_younger_than_the_filters_library(ground: Ground) -> None:
    program = (
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); print(c.syscall(467, 0, 0, 0), ctypes.get_errno())"
    )
    _, lines = await output(ground, ground.spec("-c", program))
    assert lines == ["-1 1"], lines  # EPERM


async def a_link_is_a_link_inside_and_shows_nothing_that_lies_beside_it(ground: Ground) -> None:
    await asyncio.to_thread((ground.directory / "beside").touch)
    way = ground.directory / "sh"
    link = Mount(source=way, target=PurePosixPath(way), link="/usr/bin/sh")
    script = f"readlink {way}; ls {ground.directory}"
    status, lines = await output(ground, ground.spec(str(way), "-c", script, mounts=(link,)))
    assert (status, lines) == (Exit(status=0), ["/usr/bin/sh", "sh"]), lines


async def a_command_can_be_run_inside_by_the_operator(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sleep", "1000"))
        script = "id -u; hostname; grep -c sleep /proc/1/cmdline; grep CapEff /proc/self/status; exit 9"
        argv = runtime.enter_argv("probe", ["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, cwd="/home/agent")
        done = await run(argv, timeout=20, check=False)
        assert done.status == 9, done
        assert done.text().split() == ["1000", "probe", "1", "CapEff:", "0000000000000000"], done


async def the_operators_terminal_is_never_what_a_command_inside_holds(ground: Ground) -> None:
    controller, terminal = os.openpty()
    try:
        async with hive(ground) as runtime:
            await runtime.start(ground.spec("/bin/sleep", "1000"))
            argv = runtime.enter_argv(
                "probe", ["stat", "-Lc", "%F %Hr:%Lr", "/dev/stdout"], env={"PATH": "/usr/bin:/bin"}, cwd="/"
            )
            child = await asyncio.create_subprocess_exec(  # noqa: TID251 - at a terminal, as an operator is
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=terminal
            )
            assert await child.wait() == 0
            shown = (await asyncio.to_thread(os.read, controller, 200)).decode().strip()
            number = os.fstat(terminal).st_rdev
            assert shown.startswith("character special file"), shown
            assert not shown.endswith(f" {os.major(number)}:{os.minor(number)}"), shown
    finally:
        os.close(controller)
        os.close(terminal)


async def another_process_with_the_number_of_the_first_one_is_not_entered(ground: Ground) -> None:
    async with hive(ground) as runtime:
        init = (await runtime.start(ground.spec("/bin/sleep", "1000"))).record.init
        assert init is not None
        earlier = pidfd.Process(pid=init.pid, start=init.start - 1)
        argv = runtime.backend.enter_argv(earlier, ["true"], env={"PATH": "/usr/bin:/bin"}, cwd="/")
        assert (await run(argv, timeout=20, check=False)).status == 126


async def logs_are_followed_as_they_are_written(ground: Ground) -> None:
    async with hive(ground) as runtime:
        await runtime.start(ground.spec("/bin/sh", "-c", "echo one; read x </dev/null; echo two; exec sleep 1000"))
        await says(runtime, "two")
        assert (await runtime.logs("probe", lines=1)) == ["two"]


CASES: Final[Mapping[str, Callable[[Ground], Awaitable[None]]]] = {
    case.__name__.replace("_", " "): case
    for case in (
        the_exit_status_of_the_command_is_told,
        a_stop_lets_the_first_process_end_by_itself,
        a_stop_kills_what_does_not_end,
        a_second_stop_does_nothing,
        two_stops_at_once_both_return,
        what_runs_cannot_be_started_again,
        a_start_clears_away_what_an_earlier_life_left,
        a_container_outlives_its_hive_and_is_adopted,
        a_container_that_ended_while_no_hive_was_there_tells_how,
        a_record_of_a_process_that_is_no_longer_the_same_harms_nobody,
        nothing_of_a_container_is_left,
        children_end_with_the_first_process,
        the_number_of_processes_is_bounded,
        memory_is_bounded,
        a_child_killed_for_memory_leaves_the_rest_alive,
        file_systems_in_memory_have_a_size,
        a_flood_of_output_does_not_fill_the_disk,
        a_line_without_end_is_cut,
        nothing_of_the_network_is_reached,
        a_socket_among_the_mounts_is_reached_and_shows_who_asks,
        mounts_are_writable_only_when_told,
        the_environment_is_exactly_what_was_given,
        the_environment_is_not_on_any_command_line,
        no_descriptor_of_the_hive_is_inherited,
        a_mount_that_is_missing_is_named,
        how_it_ended_is_told_also_when_it_cannot_be_cleared_away,
        a_control_group_that_cannot_be_made_is_a_fault_that_says_so,
        a_container_whose_log_cannot_be_kept_runs_on,
        a_mount_call_is_refused_that_is_younger_than_the_filters_library,
        a_link_is_a_link_inside_and_shows_nothing_that_lies_beside_it,
        a_command_can_be_run_inside_by_the_operator,
        the_operators_terminal_is_never_what_a_command_inside_holds,
        another_process_with_the_number_of_the_first_one_is_not_entered,
        logs_are_followed_as_they_are_written,
    )
}


async def bubblewrap_ground(directory: Path, *, uid: int | None) -> Ground:
    """The ground on which the bubblewrap backend is tried in a directory of its own."""
    backend = Bubblewrap(await read_host())
    limiter = await asyncio.to_thread(find_limiter, _slice(directory))

    async def make() -> Runtime:
        return Runtime(directory / "containers", backend, limiter)

    mounts = directory / "mounts"
    await asyncio.to_thread(mounts.mkdir, parents=True)
    return Ground(make=make, directory=mounts, uid=uid, bounds_memory_of_all=not isinstance(limiter, RlimitsOnly))


def _slice(directory: Path) -> str:
    return "hyperhive-conformance-" + hashlib.sha256(str(directory).encode()).hexdigest()[:8]


async def attempt(ground: Ground, sentence: str) -> None:
    """One case, within a bound."""
    async with asyncio.timeout(CASE_TIMEOUT_S):
        await CASES[sentence](ground)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *_descendants(int(child))]
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _sizes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("log*"))


async def _main(directory: Path, sentences: list[str]) -> None:
    for number, sentence in enumerate(sentences):
        ground = await bubblewrap_ground(directory / str(number), uid=None)
        try:
            await attempt(ground, sentence)
            failure = ""
        except Exception as error:  # noqa: BLE001 - the report of a case is its outcome, whatever it was
            failure = f"{type(error).__name__}: {error}"
        sys.stdout.write(msgspec.json.encode({"case": sentence, "failure": failure}).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2:] or list(CASES)))
