"""A real daemon as a subprocess, on a rehearsal model in the test's own process, asked through host.sock."""
# ruff: noqa: TID251 (a test that is no coroutine holds the daemon across many short event loops)

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

import msgspec

from hyperhive.client import Client
from hyperhive.config.paths import Paths
from hyperhive.protocol import host
from hyperhive.protocol.agent import Receipt
from hyperhive.protocol.events import HiveEvent
from hyperhive.testing.model import ScriptedModel

PATIENCE_S = 60.0


def paths_in(root: Path) -> Paths:
    """The places of the hive that `HiveProcess` runs in a directory."""
    return Paths(state_dir=root / "state", runtime_dir=root / "run")


class HiveProcess:
    """One daemon with directories of its own. `stop_all` ends its containers and itself; made by `running_hive`."""

    def __init__(self, root: Path) -> None:
        self.paths = paths_in(root)
        self.log = root / "hive.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix: tuple[str, ...] = ()  #: a command that executes its arguments: what the daemon is started by
        self.manager = False  #: whether it makes a manager when it starts
        self.dashboard = False  #: whether it has one: the verb login_link answers where
        self.dashboard_port = 0  #: 0: another free one with every start
        self.dashboard_arguments: tuple[str, ...] = ()  #: more of `hive serve`'s, as --tls-cert
        self.rehearsing = True  #: False: as with real credentials; then no agent of it may be given a turn
        self.paths.rehearsal.mkdir(parents=True)

    def start(self) -> Self:
        """Returns when the daemon has said READY."""
        ready = self.log.with_name("ready.sock")
        ready.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(ready))
            ready.chmod(0o777)  # the daemon may run as another user
            self.process = self.launch(NOTIFY_SOCKET=str(ready))
            self._await_ready(notify)
        return self

    def launch(self, **extra: str) -> subprocess.Popen[bytes]:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            **self.paths.environment(),
            **extra,
        }
        argv = [sys.executable, "-m", "hyperhive.cli", "serve", "--json"]
        if not self.manager:
            argv += ["--no-manager"]
        argv += ["--dashboard", f"127.0.0.1:{self.dashboard_port}"] if self.dashboard else ["--no-dashboard"]
        argv += self.dashboard_arguments
        if self.rehearsing:
            argv += ["--rehearsal", str(self.paths.rehearsal)]
        with self.log.open("ab") as log:
            return subprocess.Popen([*self.prefix, *argv], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _await_ready(self, notify: socket.socket) -> None:
        assert self.process is not None
        ended = os.pidfd_open(self.process.pid)
        try:
            readable, _, _ = select.select([notify.fileno(), ended], [], [], PATIENCE_S)
        finally:
            os.close(ended)
        assert notify.fileno() in readable, f"the daemon did not get ready:\n{self.log.read_text()}"

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def stop_all(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is not None:
            self.start()  # containers outlive a daemon; only a daemon ends them
        for name in self.ask(host.List()).agents or []:
            with contextlib.suppress(Exception):
                self.ask(host.Kill(name=name))
        assert self.stop() == 0, self.log.read_text()

    # asking

    @property
    def client(self) -> Client:
        return Client(self.paths.host_socket)

    def ask(self, request: host.AnyRequest, timeout_s: float = PATIENCE_S) -> host.Response:
        return asyncio.run(self.client.call(request, timeout_s=timeout_s))

    def raw(self, line: bytes) -> dict[str, Any]:
        """One line in, one line out, as any client of host.sock would do it."""
        with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as answers:
            client.settimeout(PATIENCE_S)
            client.connect(str(self.paths.host_socket))
            client.sendall(line + b"\n")
            answer: dict[str, Any] = msgspec.json.decode(answers.readline())
            return answer

    def send(self, to: str, body: str) -> int:
        ids = self.ask(host.Send(to=to, body=body)).ids
        assert isinstance(ids, list)
        return ids[0]

    def reply(self, message: int, timeout_s: float = PATIENCE_S) -> str:
        """The body of the first message to the operator in the thread."""
        rows = self.ask(host.WaitReply(id=message, timeout_seconds=timeout_s), timeout_s=timeout_s + 5).inbox
        assert isinstance(rows, list)
        return rows[0].body

    def prepare(self, name: str, text: str) -> None:
        """Before it is spawned: it begins with this agent.toml, as with one that an earlier version left."""
        directory = self.paths.applied(name)
        directory.mkdir(parents=True)
        (directory / "agent.toml").write_text(text)

    def configure(self, name: str, text: str) -> None:
        """The operator writes the agent's agent.toml anew and approves it; returns when it is live."""
        base = self.ask(host.Config(name=name)).config
        assert isinstance(base, host.AgentConfig)
        proposed = self.ask(host.EditConfig(name=name, text=text, base=base.sha)).approvals
        assert isinstance(proposed, list)
        assert isinstance(proposed[0].fetched_sha, str)
        self.ask(host.Approve(id=proposed[0].id, sha=proposed[0].fetched_sha))

    def receipt(self, message: int) -> Receipt:
        receipt = self.ask(host.ReceiptFor(id=message)).receipt
        assert isinstance(receipt, Receipt)
        return receipt

    def status(self, name: str) -> host.AgentStatusRow:
        rows = self.ask(host.AgentStatus()).agent_statuses
        assert isinstance(rows, list)
        return next(row for row in rows if row.name == name)

    def until(self, name: str, condition: Callable[[host.AgentStatusRow], bool]) -> host.AgentStatusRow:
        """The agent's row as soon as the condition holds, by the hive's own news of changes."""
        return asyncio.run(self.becomes(name, condition))

    async def becomes(self, name: str, condition: Callable[[host.AgentStatusRow], bool]) -> host.AgentStatusRow:
        """`until`, for whoever runs in an event loop."""
        async with asyncio.timeout(PATIENCE_S), aclosing(self.client.stream(host.SubscribeAgentStatus())) as answers:
            async for answer in answers:
                rows = answer.agent_statuses or (await self.client.call(host.AgentStatus())).agent_statuses
                for row in rows or []:
                    if row.name == name and condition(row):
                        return row
        raise AssertionError("the hive ended the subscription")

    def events(self, name: str, *, until: Callable[[HiveEvent], bool]) -> list[HiveEvent]:
        """The agent's events from the first kept one up to the one that ends the wait."""
        return asyncio.run(asyncio.wait_for(self._events(name, until), PATIENCE_S))

    async def _events(self, name: str, until: Callable[[HiveEvent], bool]) -> list[HiveEvent]:
        seen: list[HiveEvent] = []
        async for answer in self.client.stream(host.Watch(name=name, history=2000)):
            for event in answer.events or []:
                seen.append(event)
                if until(event):
                    return seen
        raise AssertionError("the hive ended the watch")


@contextlib.contextmanager
def running_hive(
    *,
    manager: bool = False,
    prefix: tuple[str, ...] = (),
    dashboard: bool = False,
    furnish: Callable[[HiveProcess], object] = lambda _: None,
) -> Iterator[tuple[HiveProcess, ScriptedModel]]:
    """A hive and its model, both fresh; everything is ended and removed afterwards.

    `furnish` puts things into its directories before it starts.
    """
    with tempfile.TemporaryDirectory(prefix="hh-", ignore_cleanup_errors=True) as root:
        hive = HiveProcess(Path(root))
        hive.manager = manager
        hive.prefix = prefix
        hive.dashboard = dashboard
        furnish(hive)
        with ScriptedModel(hive.paths.rehearsal_socket) as model:
            try:
                yield hive.start(), model
            except BaseException:
                sys.stderr.write(hive.log.read_text()[-20_000:])
                raise
            finally:
                hive.stop_all()


def eventually(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """For what no event announces: the state of the machine outside the hive."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        select.select([], [], [], 0.02)
