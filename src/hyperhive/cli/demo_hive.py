"""The processes of a demonstration: the rehearsal model and a daemon, started, ready, and ended again."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hyperhive import process
from hyperhive.child import Child
from hyperhive.cli.output import CliError
from hyperhive.cli.safe import clean
from hyperhive.client import Client, ClientError, NoDaemonError
from hyperhive.config.paths import Paths
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError

READY_S: Final = 60.0
STOP_S: Final = 30.0
LAST_WORDS_S: Final = 2.0
MAX_LOG: Final = 16 << 20
"""Bytes of a child's output that are kept."""
LOG_TAIL: Final = 20
_PASSED_ON: Final = ("HOME", "LANG", "XDG_RUNTIME_DIR", "HYPERHIVE_CLAUDE", "PATH")
"""All that the daemon learns of our environment: no credential is among it."""


@dataclass(frozen=True, kw_only=True)
class DemoHive:
    """A running hive on the rehearsal model."""

    paths: Paths
    client: Client
    daemon: Child
    log: Path


def make(paths: Paths) -> None:
    """The directories that the children find on start."""
    for directory in (paths.state_dir, paths.runtime_dir):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.rehearsal.mkdir(exist_ok=True)
    paths.rehearsal.chmod(0o711)  # every agent's uid goes through it to the model, whatever our umask is


@asynccontextmanager
async def running(paths: Paths, script: str) -> AsyncIterator[DemoHive]:
    """The model and the daemon, ready, in directories that `make` made; the containers are stopped before both end."""
    await _refuse_a_second(paths)
    log = paths.state_dir / "hive.log"
    async with AsyncExitStack() as stack:
        model_log = paths.state_dir / "rehearsal.log"
        model = await stack.enter_async_context(_child(_model_argv(paths, script), _environment(paths), model_log))
        await _until(model.spoke, model, model_log, "the rehearsal model")
        readiness = await stack.enter_async_context(_notify_socket(paths.runtime_dir / "ready.sock"))
        environment = _environment(paths) | {"NOTIFY_SOCKET": str(readiness.path)}
        daemon = await stack.enter_async_context(_child(_daemon_argv(paths), environment, log))
        await _until(readiness.ready, daemon, log, "the hive")
        client = Client(paths.host_socket)
        stack.push_async_callback(_stop_containers, client)
        yield DemoHive(paths=paths, client=client, daemon=daemon.process, log=log)


async def _refuse_a_second(paths: Paths) -> None:
    try:
        await Client(paths.host_socket).call(host.Hello(), timeout_s=5)
    except NoDaemonError:
        return
    except (ClientError, FaultError):
        pass  # somebody is there, in whatever mood
    raise CliError(f"a hive is running in {paths.state_dir} already; end it, or demonstrate in another directory")


async def last_words(log: Path) -> str:
    """The last lines that a child wrote, clean, and where the rest is."""
    lines = await asyncio.to_thread(_tail, log)
    return "\n".join([f"the end of {log}:", *("  " + clean(line) for line in lines)])


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65536))
            return file.read().decode(errors="replace").splitlines()[-LOG_TAIL:]
    except FileNotFoundError:  # it has written nothing
        return []


def _model_argv(paths: Paths, script: str) -> list[str]:
    return [sys.executable, "-m", "hyperhive.rehearsal", "--socket", str(paths.rehearsal_socket), "--script", script]


def _daemon_argv(paths: Paths) -> list[str]:
    return [
        sys.executable,
        "-m",
        "hyperhive.cli",
        "serve",
        "--no-manager",
        "--dashboard",
        "127.0.0.1:0",
        "--rehearsal",
        str(paths.rehearsal),
    ]


def _environment(paths: Paths) -> dict[str, str]:
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**process.PLAIN_ENV, **passed_on, **paths.environment(), "PYTHONUNBUFFERED": "1"}


async def _stop_containers(client: Client) -> None:
    """A daemon leaves its containers running when it ends, on purpose; those of a demonstration are to end with it."""
    with suppress(ClientError, FaultError):
        with suppress(TimeoutError):
            await asyncio.wait_for(_until_nobody_is_made(client), STOP_S)
        await client.call(host.Stop(scope=host.LifecycleScope(all=True)), timeout_s=STOP_S)


async def _until_nobody_is_made(client: Client) -> None:
    """An agent that is being made while the demonstration is broken off would come up behind the others' end."""
    states: dict[int, str] = {}
    async with aclosing(client.stream(host.Jobs(limit=500, follow=True))) as changes:
        async for answer in changes:
            states |= {job.id: job.state for job in answer.jobs or []}
            if not {"queued", "running"} & {*states.values()}:
                return


# one child


@dataclass(frozen=True, kw_only=True)
class _Child:
    process: Child
    spoke: "asyncio.Future[None]"  #: done when it has written its first line
    keepers: "list[asyncio.Task[None]]"  #: done when it has written its last one


@asynccontextmanager
async def _child(argv: list[str], env: Mapping[str, str], log: Path) -> AsyncIterator[_Child]:
    """A child whose outputs go to the log; told to end when the block does, and waited for."""
    async with process.spawn(argv, env=env) as running:
        spoke: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        keepers = [asyncio.create_task(_keep(stream, log, spoke)) for stream in _outputs(running)]
        try:
            yield _Child(process=running, spoke=spoke, keepers=keepers)
        finally:
            await _end(running)
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)


def _outputs(running: Child) -> list[asyncio.StreamReader]:
    return [running.stdout, running.stderr]


async def _keep(stream: asyncio.StreamReader, log: Path, spoke: "asyncio.Future[None]") -> None:
    """Carry a child's output to its log, up to the bound; what is over it is read and dropped."""
    while chunk := await stream.read(65536):
        await asyncio.to_thread(_append, log, chunk)
        if b"\n" in chunk and not spoke.done():
            spoke.set_result(None)


def _append(log: Path, chunk: bytes) -> None:
    # On a full disk the child's words are lost; that nobody read them would stop the child, too.
    with suppress(OSError), log.open("ab") as file:
        if file.tell() < MAX_LOG:
            file.write(chunk)


async def _end(running: Child) -> None:
    if running.returncode is None:
        running.send_signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await running.wait()


async def _until(ready: "asyncio.Future[None]", child: _Child, log: Path, who: str) -> None:
    """Wait until it is ready; raises CliError with its last words when it ends first or takes too long."""
    ended: asyncio.Future[Any] = asyncio.create_task(child.process.wait())
    either: list[asyncio.Future[Any]] = [ready, ended]
    try:
        await asyncio.wait(either, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ended
    if ready.done() and child.process.returncode is None:
        return
    how = "took too long to start" if child.process.returncode is None else process.explain(child.process.returncode)
    await asyncio.wait(child.keepers, timeout=LAST_WORDS_S)
    raise CliError(f"cannot start {who}: it {how}; {await last_words(log)}")


# readiness


@dataclass(frozen=True, kw_only=True)
class _Readiness:
    path: Path
    ready: "asyncio.Future[None]"


class _Notifications(asyncio.DatagramProtocol):
    """What systemd does for a service: hears that it is ready."""

    def __init__(self, ready: "asyncio.Future[None]") -> None:
        self._ready = ready

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 (the loop's signature)
        if b"READY=1" in data.split(b"\n") and not self._ready.done():
            self._ready.set_result(None)


@asynccontextmanager
async def _notify_socket(path: Path) -> AsyncIterator[_Readiness]:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    bound = await asyncio.to_thread(_bind, path)
    transport, _ = await loop.create_datagram_endpoint(lambda: _Notifications(ready), sock=bound)
    try:
        yield _Readiness(path=path, ready=ready)
    finally:
        transport.close()


def _bind(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    bound.bind(str(path))
    return bound
