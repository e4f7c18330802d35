"""Runs what a backend decides: starts, watches, stops, finds again after a restart.

Containers are nobody's children: they live on when the hive dies, are found again by their records, and their death
arrives as an event on a process descriptor.
"""

import asyncio
import contextlib
import dataclasses
import marshal
import os
import re
import signal
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hyperhive import threads
from hyperhive.containers import cgroups, logs, pidfd, systemd
from hyperhive.containers.backend import Backend, Command, Finding
from hyperhive.containers.cgroups import Cage, Limiter
from hyperhive.containers.journals import Journals
from hyperhive.containers.keeper import Exit, Keeper, LogUnit, no_such_log
from hyperhive.containers.logs import Mark
from hyperhive.containers.pidfd import Process
from hyperhive.containers.records import Place, Record
from hyperhive.containers.spec import ContainerSpec
from hyperhive.process import CommandFailed, run
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind

START_TIMEOUT_S: Final = 20.0
KILL_TIMEOUT_S: Final = 10.0
SHIM_TIMEOUT_S: Final = 5.0
_LAUNCHER: Final = (
    *("-c", "import os, sys; sys.path.append(sys.argv[1]); import launcher; os._exit(launcher.main())"),
    str(Path(__file__).parent),
)
"""As a module, because a program that is run by path is compiled anew each time; and there is nothing to tidy up."""


class Running:
    """A container that was started or adopted."""

    def __init__(self, record: Record, directories: tuple[Path, ...], *, adopted: bool) -> None:
        self.name = record.name
        self.record = record
        self.adopted = adopted
        self.directories = directories
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._is_held = asyncio.Event()
        self._signalled = 0

    @property
    def is_over(self) -> bool:
        return self._exit.done()

    async def wait(self) -> Exit:
        """How it ended; by then none of its processes is left. Any number may wait, at any time.

        Raises CancelledError when the runtime is closed while the container runs on.
        """
        return await asyncio.shield(self._exit)

    def oom_kills(self) -> int:
        """So far. Reads files: call it off the loop."""
        return cgroups.oom_kills(self.directories)


class Runtime(Keeper):
    """Keeps the containers that a backend describes and the launcher starts.

    `directory` holds a record per container and belongs to the hive alone.

    Call `adopt` first and `close` last; closing leaves containers running.
    """

    def __init__(
        self,
        directory: Path,
        backend: Backend,
        limiter: Limiter,
        *,
        journals: Journals | None = None,
        python: str = sys.executable,
    ) -> None:
        self.directory = directory
        self._journals = journals
        self.backend = backend
        self.limiter = limiter
        self._python = python
        self._running: dict[str, Running] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def kind(self) -> BackendKind:
        return self.backend.kind

    def running(self, name: str) -> Running | None:
        found = self._running.get(name)
        return None if found is None or found.is_over else found

    def findings(self) -> tuple[Finding, ...]:
        return (*self.backend.findings(), self.limiter.finding())

    def check_name(self, name: str) -> None:
        """It can have any that an agent can have."""

    async def adopt(self) -> list[Running]:
        """Takes over what an earlier hive started, once, before any start.

        Containers that ended while no hive was there are among them; their `wait` returns at once. What is left of
        an earlier boot, or of a start that never came to its end, is cleared away.
        """
        found = []
        boot = await asyncio.to_thread(pidfd.boot_id)
        for record in await asyncio.to_thread(self._records):
            if record.boot != boot or record.init is None:
                with contextlib.suppress(OSError):  # the next start of it says what is in its way
                    await self._clear(record.name)
            else:
                found.append(await self._watch(record, adopted=True))
        return found

    async def start(self, spec: ContainerSpec) -> Running:
        async with self._lock(spec.name):
            if self.running(spec.name):
                raise FaultError(FaultKind.WRONG_STATE, f"cannot start container {spec.name!r}: it runs already")
            self.backend.check(spec)
            await self._clear(spec.name)
            try:
                record = await self._launch(spec)
            except BaseException:
                await asyncio.shield(self._clear(spec.name))
                raise
            return await self._watch(record, adopted=False)

    async def stop(self, name: str, *, grace_s: float = 10.0) -> Exit | None:
        """TERM to the first process, after `grace_s` KILL to all; None when no such container runs."""
        async with self._lock(name):
            running = self.running(name)
            if running is None:
                return None
            await self._signal(running, running.record.stop_signal)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    return await running.wait()
            return await self._kill(running)

    async def kill(self, name: str) -> Exit | None:
        """KILL to all its processes at once; None when no such container runs."""
        async with self._lock(name):
            running = self.running(name)
            return await self._kill(running) if running else None

    def enter_argv(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> tuple[str, ...]:
        running = self.running(name)
        if running is None or running.record.init is None:
            raise FaultError(
                FaultKind.WRONG_STATE, f"cannot enter container {name!r}: it does not run; start it first"
            )
        return self.backend.enter_argv(running.record.init, argv, env=env, cwd=cwd)

    async def units(self, name: str) -> tuple[LogUnit, ...]:
        place = self._place(name)
        has_journal = self._journals is not None and await asyncio.to_thread(place.journal.is_dir)
        return (LogUnit.HARNESS, LogUnit.CONTAINER) if has_journal else (LogUnit.CONTAINER,)

    async def logs(self, name: str, *, lines: int = 200, unit: LogUnit | None = None, boot: bool = False) -> list[str]:
        place = self._place(name)
        if journals := await self._journals_for(name, unit):
            return await journals.tail(place.journal, lines=lines, boot=boot)
        since = await asyncio.to_thread(place.mark) if boot else None
        return await asyncio.to_thread(logs.tail, place.log, lines, since)

    async def follow_logs(
        self, name: str, *, lines: int = 200, unit: LogUnit | None = None, boot: bool = False
    ) -> AsyncGenerator[str]:
        place = self._place(name)
        journals = await self._journals_for(name, unit)
        since = await asyncio.to_thread(place.mark) if boot else None
        written = (
            journals.follow(place.journal, lines=lines, boot=boot)
            if journals
            else logs.follow(place.log, lines, since)
        )
        async with contextlib.aclosing(written):
            async for line in written:
                yield line

    async def _journals_for(self, name: str, unit: LogUnit | None) -> Journals | None:
        """Who reads that log, where it is not what the container wrote to its output."""
        there = await self.units(name)
        if unit is not None and unit not in there:
            raise no_such_log(name, unit, there)
        return self._journals if len(there) > 1 and unit is LogUnit.CONTAINER else None

    async def written(self, name: str) -> int:
        running = self.running(name)
        return 0 if running is None else await asyncio.to_thread(cgroups.written, running.directories)

    async def erase(self, name: str) -> None:
        async with self._lock(name):
            await self._clear(name)
            await asyncio.to_thread(self._place(name).erase)

    async def close(self) -> None:
        watchers = list(self._watchers.values())
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        await asyncio.to_thread(self.limiter.release)

    async def _launch(self, spec: ContainerSpec) -> Record:
        place = self._place(spec.name)
        try:
            cage, command, said = await threads.whole(self._prepare, place, spec)
        except OSError as error:
            raise self._fault(spec.name, f"its directory or its control group cannot be made: {error}") from error
        try:
            await self._run_launcher(cage, _plan(place, spec, command, cage))
        except CommandFailed as error:
            words = await asyncio.to_thread(_since, place.log, said.offset)
            if not words and cage.said is not None:
                words = await asyncio.to_thread(_since, cage.said, 0)
            raise self._fault(spec.name, words or error.last_words or error.reason) from error
        record = await asyncio.to_thread(place.record)
        if record is None or record.init is None:
            raise self._fault(spec.name, "the launcher left no record of it")
        return record

    def _prepare(self, place: Place, spec: ContainerSpec) -> tuple[Cage, Command, Mark]:
        """All that is to be there before the launcher; the mark is where its words begin in the log."""
        place.make()
        cage = self.limiter.prepare(spec.name, spec.limits, place.path)
        command = self.backend.start_command(dataclasses.replace(spec, argv=(*cage.inside, *spec.argv)))
        if command.assembly is None or not command.assembly.journal:
            place.forget_journal()
        return cage, command, place.make_mark()

    async def _run_launcher(self, cage: Cage, plan: bytes) -> None:
        argv = (self._python, "-I", "-S", *_LAUNCHER)
        if cage.plan is None:
            await run((*cage.prefix, *argv), timeout=START_TIMEOUT_S, input=plan)
            return
        await asyncio.to_thread(_write, cage.plan, plan)
        await run((*cage.prefix, *systemd.literal((*argv, str(cage.plan)))), timeout=START_TIMEOUT_S)

    def _fault(self, name: str, words: str) -> FaultError:
        hint = self.backend.hint(words)
        text = f"cannot start container {name!r}: {words}" + (f"; {hint}" if hint else "")
        return FaultError(FaultKind.BACKEND, text)

    async def _watch(self, record: Record, *, adopted: bool) -> Running:
        running = Running(record, _directories(record), adopted=adopted)
        self._running[running.name] = running
        task = asyncio.create_task(self._watch_to_the_end(running), name=f"container {running.name}")
        self._watchers[running.name] = task
        task.add_done_callback(lambda done: self._unwatch(running, done))
        # Before anybody can end it: of a process that was not held when it ended, the shim alone knows how it did.
        await running._is_held.wait()
        return running

    def _unwatch(self, running: Running, task: asyncio.Task[None]) -> None:
        if self._watchers.get(running.name) is task:
            del self._watchers[running.name]
        if running._exit.done():
            return
        if task.cancelled():
            running._exit.cancel()
        elif error := task.exception():
            running._exit.set_exception(error)

    async def _watch_to_the_end(self, running: Running) -> None:
        assert running.record.init is not None
        try:
            init, shim = await asyncio.to_thread(_held, running.record.init, running.record.shim)
        finally:
            running._is_held.set()
        try:
            if init is not None:
                await pidfd.ended(init)
            await _bounded(shim, SHIM_TIMEOUT_S)
            outcome = await asyncio.to_thread(self._outcome, running, init)
            with contextlib.suppress(OSError):  # whoever waits must hear of its end; the next start clears again
                await self._clear(running.name)
            running._exit.set_result(outcome)
        finally:
            for fd in (init, shim):
                if fd is not None:
                    os.close(fd)

    def _outcome(self, running: Running, init: int | None) -> Exit:
        place = self._place(running.name)
        # One without a control group of its own shares one with whoever started the hive, and what is counted there.
        oom = bool(running.directories) and running.oom_kills() + place.oom_kills() > 0
        status = None if init is None else pidfd.wait_status(init)
        if status is not None and os.WIFSIGNALED(status):
            return Exit(signal=os.WTERMSIG(status), oom=oom)
        if status is not None:
            return Exit(status=os.WEXITSTATUS(status), oom=oom)
        return running.record.told(place.exit_code(), oom=oom, signalled=running._signalled)

    async def _signal(self, running: Running, number: int) -> None:
        """To its first process."""
        running._signalled = number
        await asyncio.to_thread(_signal, running.record, number)

    async def _kill(self, running: Running) -> Exit:
        # The first process alone: its pid namespace dies with it, and the shim lives to report how. What is left in
        # the control groups then, the watcher kills before `wait` returns.
        await self._signal(running, signal.SIGKILL)
        try:
            async with asyncio.timeout(KILL_TIMEOUT_S):
                return await running.wait()
        except TimeoutError:
            raise FaultError(
                FaultKind.BACKEND,
                f"cannot end container {running.name!r}: its process {running.record.shim.pid} does not die within "
                f"{KILL_TIMEOUT_S:g} s of being killed; it waits for the disk or the kernel",
            ) from None

    async def _clear(self, name: str) -> None:
        """Ends and removes whatever is there of that container; its logs stay."""
        place = self._place(name)
        record, directories = await asyncio.to_thread(self._left, place, name)
        if record is not None:
            await _end_chain(record)
        if directories:
            await _empty(directories)
            await self._let_go(name)
            await asyncio.to_thread(cgroups.remove, directories)
        await asyncio.to_thread(place.forget)

    def _left(self, place: Place, name: str) -> tuple[Record | None, tuple[Path, ...]]:
        """Its record, and those of its control groups that are there."""
        record = place.record()
        own = () if record is None else _directories(record)
        expected = (*self.limiter.expected(name), *own)
        return record, tuple(directory for directory in dict.fromkeys(expected) if directory.is_dir())

    async def _let_go(self, name: str) -> None:
        """Waits for whoever else keeps its control groups: only then is its name free for the next start."""
        command = self.limiter.clearing(name)
        if not command:
            return
        if await asyncio.to_thread(_any_there, self.limiter.expected(name)):
            with contextlib.suppress(CommandFailed):  # the next start says what is in its way
                await run(command, timeout=KILL_TIMEOUT_S, check=False)

    def _records(self) -> list[Record]:
        places = sorted(self.directory.iterdir()) if self.directory.is_dir() else []
        records = [(path.name, Place(self.directory, path.name).record()) for path in places]
        return [record for name, record in records if record is not None and record.name == name]

    def _place(self, name: str) -> Place:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", name):
            raise FaultError(FaultKind.BAD_NAME, f"cannot find a container called {name[:64]!r}")
        return Place(self.directory, name)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def _plan(place: Place, spec: ContainerSpec, command: Command, cage: Cage) -> bytes:
    directories = [str(directory) for directory in cage.directories]
    plan = msgspec.to_builtins(
        {
            "directory": str(place.path),
            "procs": [f"{directory}/cgroup.procs" for directory in directories],
            "stage": command.stage,
            "data": {str(fd): data for fd, data in command.data.items()},
            "status_fd": command.status_fd,
            "block_fd": command.block_fd,
            "assembly": command.assembly,
            "argv": command.argv,
            "machine": spec.name if command.is_machine and cage.plan is not None else "",
            "timeout": START_TIMEOUT_S - 2,
            "record": {
                "name": spec.name,
                "directories": directories,
                "network": spec.network,
                "uid": spec.uid,
                "stop_signal": command.stop_signal,
                "code_of_signals": command.code_of_signals,
                "started_at": time.time(),
            },
        },
        builtin_types=(bytes,),
    )
    return marshal.dumps(plan)


def _held(*processes: Process) -> tuple[int | None, ...]:
    return tuple(map(pidfd.open_process, processes))


def _directories(record: Record) -> tuple[Path, ...]:
    """The record's control groups; of a unit, which systemd made, the place that the kernel reported."""
    if record.directories:
        return tuple(map(Path, record.directories))
    unit = cgroups.ROOT / record.cgroup.lstrip("/")
    kinds = ("service", "scope")  # those that an earlier version started are scopes
    return (unit,) if unit.name.endswith(tuple(f"-{record.name}.{kind}" for kind in kinds)) else ()


def _any_there(directories: tuple[Path, ...]) -> bool:
    return any(directory.is_dir() for directory in directories)


def _write(path: Path, content: bytes) -> None:
    """A file that only we can read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)


def _signal(record: Record, number: int) -> None:
    fd = pidfd.open_process(record.init) if record.init else None
    if fd is not None:
        pidfd.send(fd, number)
        os.close(fd)


async def _end_chain(record: Record) -> None:
    """Ends the first process, with which its pid namespace dies; then the shim and the log writer, if they do not end
    by themselves once they have written what there is to write."""
    for process in (record.init, record.shim, record.writer):
        fd = await asyncio.to_thread(pidfd.open_process, process) if process else None
        if fd is None:
            continue
        try:
            if process is record.init or not await _bounded(fd, 1.0):
                pidfd.send(fd, signal.SIGKILL)
                await _bounded(fd, KILL_TIMEOUT_S)
        finally:
            os.close(fd)


async def _empty(directories: tuple[Path, ...]) -> None:
    """Kills until no process is left in the groups; each round waits for the death of those it has seen."""
    for _ in range(20):
        await asyncio.to_thread(cgroups.kill, directories)
        left = await asyncio.to_thread(cgroups.members, directories)
        if not left:
            return
        for pid in left:
            with contextlib.suppress(OSError):
                fd = os.pidfd_open(pid)
                try:
                    await _bounded(fd, KILL_TIMEOUT_S)
                finally:
                    os.close(fd)


async def _bounded(fd: int | None, seconds: float) -> bool:
    """Waits for a process to end; False when it has not within that time."""
    if fd is None:
        return True
    try:
        async with asyncio.timeout(seconds):
            await pidfd.ended(fd)
    except TimeoutError:
        return False
    return True


def _since(log: Path, offset: int) -> str:
    """What was written to the log behind `offset`, at most its last 2000 characters."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(offset if offset <= log.stat().st_size else 0)
        return file.read(1 << 16).decode(errors="replace").strip()[-2000:]
