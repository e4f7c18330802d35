"""Keeps containers that nixos-container makes: systems out of a flake, each a unit container@NAME of systemd's.

The unit, not the hive, is who starts the container's processes; the hive writes what the unit reads, asks for a start,
and holds its main process by descriptor: a death is an event, and systemd is then asked how it was.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from hyperhive.config import trees
from hyperhive.containers import cgroups, logs, nixos_conf, nixos_host, pidfd
from hyperhive.containers.backend import Finding
from hyperhive.containers.keeper import Exit, Keeper, LogUnit
from hyperhive.containers.nixos_conf import Wanted
from hyperhive.containers.nixos_host import HARNESS_UNIT, MAX_NAME, NixosHost
from hyperhive.containers.nixos_records import Records
from hyperhive.containers.nixos_systems import BUILD_TIMEOUT_S, Installed, Profiles, Systems
from hyperhive.containers.pidfd import Process
from hyperhive.containers.spec import HOME, ContainerSpec, Network
from hyperhive.process import PATH, CommandFailed, spawn
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind

START_TIMEOUT_S: Final = 90.0
ASK_TIMEOUT_S: Final = 30.0
KILL_TIMEOUT_S: Final = 30.0
_PLACE: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_RUN_HIVE: Final = PurePosixPath("/run/hive")
_STATE: Final = ("ActiveState", "Result", "MainPID", "ExecMainCode", "ExecMainStatus", "ControlGroup")
_CONFINED: Final = (
    *("--quiet", "--pipe", "--wait", "--collect", "-p", "DynamicUser=yes", "-p", "NoNewPrivileges=yes"),
    *("-p", "AmbientCapabilities=CAP_DAC_READ_SEARCH", "-p", "CapabilityBoundingSet=CAP_DAC_READ_SEARCH"),
    *("-p", "ProtectSystem=strict", "-p", "PrivateNetwork=yes", "-p", "PrivateDevices=yes", "-p", "PrivateTmp=yes"),
    *("-p", "ProtectKernelTunables=yes", "-p", "ProtectProc=invisible", "-p", "SystemCallFilter=@system-service"),
    *("-p", "RestrictAddressFamilies=AF_UNIX", "-p", "MemoryMax=256M", "-p", "TasksMax=8", "-p", "RuntimeMaxSec=1d"),
)
"""A container's journal is hostile input, and reading it takes root's files: nothing else is left to the reader."""
_readers = itertools.count()


class NixosLife:
    def __init__(self, name: str, main: Process, groups: tuple[Path, ...]) -> None:
        self.name = name
        self.main = main
        self.groups = groups
        self.ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        return self.ended.done()

    async def wait(self) -> Exit:
        return await asyncio.shield(self.ended)


class NixosKeeper(Keeper):
    """`directory` holds a record per container, beyond the boot, and belongs to the hive alone."""

    def __init__(self, directory: Path, host: NixosHost, systems: Systems) -> None:
        self._host = host
        self._records = Records(directory)
        self._profiles = Profiles(host, systems, self._records)
        self._lives: dict[str, NixosLife] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._installed: set[str] = set()  #: whose next start finds its system

    @property
    def kind(self) -> BackendKind:
        return BackendKind.NIXOS

    def findings(self) -> tuple[Finding, ...]:
        return self._host.findings()

    def check_name(self, name: str) -> None:
        if len(name) > MAX_NAME:
            raise FaultError(
                FaultKind.BAD_NAME,
                f"cannot name a container {name!r}: those of NixOS have at most {MAX_NAME} characters, "
                f"and so agents at most {MAX_NAME - 2}; use a shorter name",
            )

    def running(self, name: str) -> NixosLife | None:
        found = self._lives.get(name)
        return None if found is None or found.is_over else found

    async def adopt(self) -> list[NixosLife]:
        found = []
        boot = await asyncio.to_thread(pidfd.boot_id)
        for record in await asyncio.to_thread(self._records.all):
            try:
                state = await self._ask(record.name)
            except FaultError:
                continue  # its next start ends what is there of it
            main = await asyncio.to_thread(pidfd.process_of, int(state["MainPID"] or 0))
            if state["ActiveState"] == "active" and main is not None:
                await self._records.keep(msgspec.structs.replace(record, boot=boot, main=main))
                found.append(self._watch(record.name, main, state))
            elif record.main is not None and record.boot == boot:
                found.append(self._watch(record.name, record.main, state))
        return found

    async def start(self, spec: ContainerSpec) -> NixosLife:
        name = spec.name
        async with self._lock(name):
            if self.running(name):
                raise FaultError(FaultKind.WRONG_STATE, f"cannot start container {name!r}: it runs already")
            self._check(spec)
            wanted = self._wanted(spec)
            nixos_conf.nspawn_flags(wanted)  # before anything is built for it
            await self._end_leftover(name)
            if name not in self._installed:
                await self._profiles.build(name, spec.hostname)
            self._installed.discard(name)
            try:
                await self._furnish(spec, wanted)
                await self._host.run("nixos-container", "start", name, timeout=START_TIMEOUT_S)
                state = await self._ask(name)
                main = await asyncio.to_thread(pidfd.process_of, int(state["MainPID"] or 0))
                if main is None:
                    raise CommandFailed(["nixos-container", "start", name], "its unit has no main process")
                await self._records.keep(
                    await self._records.of(name, boot=await asyncio.to_thread(pidfd.boot_id), main=main)
                )
                return self._watch(name, main, state)
            except (CommandFailed, OSError) as error:
                await self._end_leftover(name)
                raise await self._not_started(name, error) from error
            except BaseException:
                await asyncio.shield(self._end_leftover(name))
                raise

    async def install(self, name: str, attribute: str, *, unless_of: str = "") -> Installed:
        """Its system as it is wanted now, for its next start, which builds nothing then. Not while it runs.

        A system of the commit `unless_of` that is there stays, even if it would be made from something newer now.
        """
        async with self._lock(name):
            if not unless_of or await self._profiles.stands(name) != unless_of:
                await self._profiles.build(name, attribute)
            self._installed.add(name)
            record, settings = await self._records.of(name), await asyncio.to_thread(self._profiles.settings, name)
            return Installed(made_of=record.made_of, settings=settings)

    async def stands(self, name: str) -> str:
        """The commit of the config whose system the container has; empty when it has none."""
        return await self._profiles.stands(name)

    def settings(self, name: str) -> bytes | None:
        """The agent.json of the system that was built for it, as nix made it: data of the agent's. Reads files."""
        return self._profiles.settings(name)

    async def go_back(self, name: str, made_of: str) -> None:
        """Its system is the one before the latest again, when that was made of this and is still there; nothing is
        built. Not while it runs."""
        async with self._lock(name):
            await self._profiles.go_back(name, made_of)

    async def stop(self, name: str, *, grace_s: float = 10.0) -> Exit | None:
        async with self._lock(name):
            life = self.running(name)
            if life is None:
                return None
            with contextlib.suppress(CommandFailed):
                await self._host.run("nixos-container", "stop", name, timeout=grace_s)
                return await life.wait()
            return await self._kill(life)

    async def kill(self, name: str) -> Exit | None:
        async with self._lock(name):
            life = self.running(name)
            return await self._kill(life) if life else None

    def enter_argv(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> tuple[str, ...]:
        if self.running(name) is None:
            raise FaultError(
                FaultKind.WRONG_STATE, f"cannot enter container {name!r}: it does not run; start it first"
            )
        inside = {**env, "PATH": f"/run/wrappers/bin:/run/current-system/sw/bin:{env.get('PATH', PATH)}"}
        as_agent = ("setpriv", "--reuid=agent", "--regid=agent", "--clear-groups", "--no-new-privs", "--")
        around = ("env", "-i", f"--chdir={cwd}", *(f"{key}={value}" for key, value in inside.items()))
        return self._host.argv("nixos-container", "run", name, "--", *as_agent, *around, *argv)

    async def units(self, name: str) -> tuple[LogUnit, ...]:  # noqa: ARG002 - the same for all
        return (LogUnit.HARNESS, LogUnit.CONTAINER)

    async def logs(self, name: str, *, lines: int = 200, unit: LogUnit | None = None, boot: bool = False) -> list[str]:
        most = max(0, min(lines, logs.MAX_LINES))
        if not most:
            return []
        argv = (*_CONFINED, "--", *self._journal(name, unit or LogUnit.HARNESS, most, boot=boot))
        try:
            done = await self._host.run("systemd-run", *argv, timeout=ASK_TIMEOUT_S)
        except CommandFailed as error:
            raise FaultError(FaultKind.BACKEND, f"cannot read the log of {name!r}: {error.last_words}") from error
        return [line[: logs.MAX_LINE_CHARACTERS] for line in done.text().splitlines()[-most:]]

    async def follow_logs(
        self, name: str, *, lines: int = 200, unit: LogUnit | None = None, boot: bool = False
    ) -> AsyncGenerator[str]:
        most = max(0, min(lines, logs.MAX_LINES))
        reader = f"hyperhive-journal-{os.getpid()}-{next(_readers)}"
        journal = self._journal(name, unit or LogUnit.HARNESS, most, boot=boot)
        argv = self._host.argv("systemd-run", *_CONFINED, f"--unit={reader}", "--", *journal, "--follow")
        async with spawn(argv) as child:
            try:
                async for line in _lines(child.stdout):
                    yield line
            finally:
                with contextlib.suppress(CommandFailed):
                    await self._host.run("systemctl", "stop", reader, timeout=ASK_TIMEOUT_S, check=False)

    async def written(self, name: str) -> int:
        life = self.running(name)
        return 0 if life is None else await asyncio.to_thread(cgroups.written, life.groups)

    async def erase(self, name: str) -> None:
        async with self._lock(name):
            if await asyncio.to_thread(self._records.read, name) is None:
                return  # not ours, whatever it is called
            try:
                self._installed.discard(name)
                await self._host.run("nixos-container", "destroy", name, timeout=BUILD_TIMEOUT_S)
                await asyncio.to_thread(self._forget, name)
                await self._host.run("systemctl", "daemon-reload", timeout=ASK_TIMEOUT_S)
            except CommandFailed as error:
                raise FaultError(FaultKind.BACKEND, f"cannot remove container {name!r}: {error}") from error

    async def close(self) -> None:
        watchers = list(self._watchers.values())
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)

    # making one

    def _check(self, spec: ContainerSpec) -> None:
        if problem := self._host.problem():
            raise FaultError(FaultKind.BACKEND, f"cannot start container {spec.name!r}: {problem}")
        self.check_name(spec.name)

    def _wanted(self, spec: ContainerSpec) -> Wanted:
        return Wanted(
            mounts=spec.mounts,
            private_network=spec.network is not Network.HOST,
            private_users=self._host.private_users,
            flags=nixos_host.flags(spec),
        )

    async def _furnish(self, spec: ContainerSpec, wanted: Wanted) -> None:
        """What the unit reads when it starts."""
        await asyncio.to_thread(self._write, spec, wanted)
        await self._host.run("systemctl", "daemon-reload", timeout=ASK_TIMEOUT_S)

    def _write(self, spec: ContainerSpec, wanted: Wanted) -> None:
        conf, drop_in = self._host.conf(spec.name), self._host.drop_in(spec.name)
        before = conf.read_text()
        after = nixos_conf.patched(before, wanted)
        if after != before:
            nixos_conf.write(conf, after)
        for mount in spec.mounts:
            if not mount.target.is_relative_to("/run"):
                _make_place(self._host.tree(spec.name), mount.target, spec.uid)
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        nixos_conf.write(drop_in, nixos_host.limits_text(spec.limits))
        for mount in spec.mounts:
            if mount.target == _RUN_HIVE:
                nixos_conf.write(mount.source / "environment", nixos_host.environment_text(spec.env))

    async def _not_started(self, name: str, error: CommandFailed | OSError) -> FaultError:
        said = error.last_words or error.reason if isinstance(error, CommandFailed) else str(error)
        with contextlib.suppress(FaultError):
            said = "\n".join([said, *await self.logs(name, lines=10, boot=True)])
        return FaultError(FaultKind.BACKEND, f"cannot start container {name!r}: {said}")

    # its end

    def _watch(self, name: str, main: Process, state: Mapping[str, str]) -> NixosLife:
        group = state["ControlGroup"].lstrip("/")
        life = NixosLife(name, main, (cgroups.ROOT / group,) if group else ())
        self._lives[name] = life
        task = asyncio.create_task(self._watch_to_the_end(life), name=f"container {name}")
        self._watchers[name] = task
        task.add_done_callback(lambda done: self._unwatch(life, done))
        return life

    def _unwatch(self, life: NixosLife, task: asyncio.Task[None]) -> None:
        if self._watchers.get(life.name) is task:
            del self._watchers[life.name]
        if life.ended.done():
            return
        if task.cancelled():
            life.ended.cancel()
        elif error := task.exception():
            life.ended.set_exception(error)

    async def _watch_to_the_end(self, life: NixosLife) -> None:
        main = await asyncio.to_thread(pidfd.open_process, life.main)
        try:
            if main is not None:
                await pidfd.ended(main)
        finally:
            if main is not None:
                os.close(main)
        oom = await asyncio.to_thread(cgroups.oom_kills, life.groups) > 0
        # Until all of it is gone: systemd may still be at it, and starts one that rebooted anew, whoever ordered what.
        await self._command("systemctl", "stop", _unit(life.name), timeout=KILL_TIMEOUT_S + ASK_TIMEOUT_S)
        state = await self._ask(life.name)
        if state["ActiveState"] == "failed":
            await self._command("systemctl", "reset-failed", _unit(life.name), timeout=ASK_TIMEOUT_S)
        with contextlib.suppress(OSError):
            await self._records.keep(await self._records.of(life.name, main=None))
        life.ended.set_result(_exit(state, oom=oom))

    async def _kill(self, life: NixosLife) -> Exit:
        await self._command("systemctl", "kill", "--signal=KILL", _unit(life.name), timeout=ASK_TIMEOUT_S)
        try:
            async with asyncio.timeout(KILL_TIMEOUT_S):
                return await life.wait()
        except TimeoutError:
            raise FaultError(
                FaultKind.BACKEND,
                f"cannot end container {life.name!r}: its unit {_unit(life.name)} does not stop within "
                f"{KILL_TIMEOUT_S:g} s of being killed; `systemctl status {_unit(life.name)}` says more",
            ) from None

    async def _end_leftover(self, name: str) -> None:
        """A unit that is up, or on its way, and that no life here stands for."""
        state = (await self._ask(name))["ActiveState"]
        if state == "inactive":
            return
        if state != "failed":
            await self._command("systemctl", "kill", "--signal=KILL", _unit(name), timeout=ASK_TIMEOUT_S)
            await self._command("systemctl", "stop", _unit(name), timeout=KILL_TIMEOUT_S)
        await self._command("systemctl", "reset-failed", _unit(name), timeout=ASK_TIMEOUT_S)

    async def _command(self, program: str, *arguments: str, timeout: float) -> None:
        """For what may have happened already: how it went shows in the unit's state."""
        with contextlib.suppress(CommandFailed):
            await self._host.run(program, *arguments, timeout=timeout, check=False)

    async def _ask(self, name: str) -> dict[str, str]:
        """The unit's state. Raises FaultError (`backend`) when systemd does not answer."""
        try:
            done = await self._host.run(
                "systemctl", "show", "-p", ",".join(_STATE), _unit(name), timeout=ASK_TIMEOUT_S
            )
        except CommandFailed as error:
            raise FaultError(FaultKind.BACKEND, f"cannot ask systemd about {name!r}: {error.last_words}") from error
        said = {key: value for key, _, value in (line.partition("=") for line in done.text().splitlines())}
        return {key: said.get(key, "") for key in _STATE}

    # what it says

    def _journal(self, name: str, unit: LogUnit, lines: int, *, boot: bool) -> tuple[str, ...]:
        """Of a running one through its machine's name; of another one by where its files lie."""
        place = ("-M", name) if self.running(name) else ("--directory", str(self._host.journal(name)))
        only = ("-u", HARNESS_UNIT) if unit is LogUnit.HARNESS else ()
        life = ("-b",) if boot else ()
        return self._host.argv("journalctl", *place, *only, *life, "-n", str(lines), "-o", "cat", "--no-pager", "-q")

    def _forget(self, name: str) -> None:
        self._records.forget(name)
        trees.remove(self._host.drop_in(name).parent)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


def _make_place(tree: Path, target: PurePosixPath, uid: int | None) -> None:
    """The directory in the container's tree that something is bound to; what is made of a home is the agent's.

    Made by systemd-nspawn it would belong to nobody inside. Whoever was root in the container may have put anything
    there: no link is followed.
    """
    tree.mkdir(mode=0o755, parents=True, exist_ok=True)
    place = os.open(tree, _PLACE)
    try:
        for name in target.parts[1:]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=place)
            below = os.open(name, _PLACE, dir_fd=place)
            os.close(place)
            place = below
            if uid is not None and name == HOME.name:
                os.chown(place, uid, uid)
    finally:
        os.close(place)


def _unit(name: str) -> str:
    return f"container@{name}.service"


def _exit(state: Mapping[str, str], *, oom: bool) -> Exit:
    """As the unit says that its main process ended: 1 is an exit, 2 and 3 are signals."""
    oom = oom or state["Result"] == "oom-kill"
    code, status = state["ExecMainCode"], state["ExecMainStatus"]
    if not status.isdigit() or code not in ("1", "2", "3"):
        return Exit(oom=oom)
    return Exit(status=int(status), oom=oom) if code == "1" else Exit(signal=int(status), oom=oom)


async def _lines(stream: asyncio.StreamReader) -> AsyncGenerator[str]:
    """Lines without an end are cut off; the stream's own bound never raises here."""
    rest = b""
    while chunk := await stream.read(1 << 16):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")[: logs.MAX_LINE_CHARACTERS]
        rest = rest[: logs.MAX_LINE_CHARACTERS * 4]
