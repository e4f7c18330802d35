"""The one door for child processes, with real children."""

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from hyperhive.child import Child
from hyperhive.process import CommandFailed, Finished, explain, run, spawn


def sh(script: str, **options: object) -> Finished:
    return asyncio.run(run(["/bin/sh", "-c", script], **{"timeout": 20, **options}))  # type: ignore[arg-type]  # of a table


def test_a_command_gets_its_input_and_gives_both_outputs_and_its_status() -> None:
    done = sh("cat; echo err >&2; exit 3", input=b"in", check=False)
    assert (done.status, done.stdout, done.stderr) == (3, b"in", b"err\n")


def test_the_environment_is_built_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the daemon")
    assert "SECRET" not in sh("env").text()
    assert "ONLY=this" in sh("env", env={"ONLY": "this"}).text()


def test_without_input_stdin_is_at_its_end() -> None:
    assert sh("read x || echo end").stdout == b"end\n"


def test_output_over_the_bound_is_thrown_away_without_stopping_the_command() -> None:
    done = sh("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2", max_output=1000)
    assert (len(done.stdout), len(done.stderr), done.truncated) == (1000, 1000, True)


def test_a_failure_names_the_reason_the_last_words_and_a_command_to_paste() -> None:
    with pytest.raises(CommandFailed, match="ended with status 4: went wrong\n  command: /bin/sh -c 'echo went"):
        sh("echo went wrong >&2; exit 4")


def test_a_command_that_does_not_exist_is_told_like_any_failure() -> None:
    with pytest.raises(CommandFailed, match="cannot be started: No such file"):
        asyncio.run(run(["/nonexistent/tool"], timeout=5))


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    # The grandchild holds the fifo open; its end is seen as end of file.
    script = f"exec 9<>{tmp_path}/alive; sleep 1000 & sleep 1000"
    with pytest.raises(CommandFailed, match=r"took longer than 0\.3 s"):
        sh(script, timeout=0.3)
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_child_that_ignores_term_is_killed_and_reaped() -> None:
    async def main() -> int | None:
        async with spawn(["/bin/sh", "-c", "trap '' TERM; echo up; sleep 1000; sleep 1000"], grace_s=0.05) as child:
            await child.stdout.readline()
        return child.returncode

    assert asyncio.run(main()) == -9


def given_up(times: int, *, whole_tree: bool = False) -> int | None:
    """How a child ended whose owner was cancelled so often."""

    async def main() -> int | None:
        children: list[Child] = []

        async def own() -> None:
            async with spawn(["/bin/sleep", "1000"], whole_tree=whole_tree) as child:
                children.append(child)
                up.set()
                await child.wait()

        up = asyncio.Event()
        task = asyncio.create_task(own())
        await up.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)  # it is at looking for what the child has started
        await asyncio.gather(task, return_exceptions=True)
        return children[0].returncode

    return asyncio.run(main())


def test_a_child_is_ended_when_its_owner_is_cancelled() -> None:
    assert given_up(1) == -15


def test_one_that_is_given_up_twice_is_ended_all_the_same() -> None:
    assert given_up(2, whole_tree=True) == -15


def test_only_descriptors_that_were_named_are_passed_on() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)
    program = """
import os
links = {int(fd): os.path.islink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
print([fd for fd, still_open in links.items() if fd > 2 and still_open])
"""
    try:
        done = asyncio.run(run([sys.executable, "-I", "-S", "-c", program], timeout=20, pass_fds=[writing]))
    finally:
        os.close(reading)
        os.close(writing)
    assert done.text().strip() == f"[{writing}]"


def test_death_by_signal_is_told_by_name() -> None:
    assert explain(-9) == "was killed by SIGKILL"
    assert "not found" in explain(127)


def test_with_its_whole_tree_a_grandchild_in_a_session_of_its_own_ends_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    reader = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    script = f"exec 9<>{tmp_path}/alive; setsid sh -c 'sleep 1000 & wait' & sleep 1000"
    try:
        with pytest.raises(CommandFailed, match="took longer"):
            sh(script, timeout=0.5, whole_tree=True)
        assert select.select([reader], [], [], 30)[0], "one of them lives on"
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_a_grandchild_that_left_the_group_does_not_hold_the_caller(tmp_path: Path) -> None:
    script = f"setsid sleep 1000 & echo $! > {tmp_path}/pid; exit 0"

    async def scene() -> None:
        async with asyncio.timeout(30):
            with pytest.raises(CommandFailed, match="took longer"):
                await run(["sh", "-c", script], timeout=0.5)

    try:
        asyncio.run(scene())
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_children_leave_no_descriptor_behind_and_close_none_twice(
    loop: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they ended by themselves, were given up, or never began. A number that is closed twice may be another's
    by then."""
    closed, twice, close = list[int](), list[int](), os.close

    def closed_once(fd: int) -> None:
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            twice.append(fd)
        closed.append(fd)
        close(fd)

    monkeypatch.setattr(os, "close", closed_once)

    async def some() -> int:
        async def one() -> None:
            await run(["/bin/cat"], timeout=10, input=b"words")
            with pytest.raises(CommandFailed):
                await run(["/no/such"], timeout=10)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.003):
                    await run(["/bin/sleep", "1000"], timeout=10)

        await asyncio.gather(*(one() for _ in range(5)))
        for _ in range(3):
            await asyncio.sleep(0)  # asyncio closes what it is told to in its next round
        return len(await asyncio.to_thread(os.listdir, "/proc/self/fd"))

    async def whole() -> None:
        at_first = await some()
        for _ in range(20):
            last = await some()
        assert last <= at_first + 2
        assert closed
        assert not twice

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(whole())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_child_whose_owner_is_cancelled_over_its_end_is_killed_and_nothing_of_it_is_held(
    loop: Callable[[], Any],
) -> None:
    deaf = ["/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 1000; done"]

    async def main() -> None:
        await run(["/bin/true"], timeout=20)  # the loop's own descriptors are there then
        before = os.listdir("/proc/self/fd")  # noqa: PTH208 - a moment's look
        up = asyncio.Event()
        children: list[Child] = []

        async def own() -> None:
            async with spawn(deaf, grace_s=1000) as child:
                children.append(child)
                await child.stdout.readline()
                up.set()
                await child.wait()

        owner = asyncio.create_task(own())
        await up.wait()
        owner.cancel()
        await asyncio.sleep(0)
        while not owner.done():
            owner.cancel()
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            assert await children[0].wait() == -signal.SIGKILL
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) <= len(before)  # noqa: PTH208

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_a_child_that_cannot_be_watched_is_not_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def refuse(pid: int) -> int:
        begun.append(pid)
        raise OSError(errno.ENFILE, "Too many open files in system")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(CommandFailed, match="Too many open files"):
        asyncio.run(run(["/bin/sleep", "1000"], timeout=20))
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, begun[0], os.WEXITED)
