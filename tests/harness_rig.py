"""A harness at work without a container: the real runner, worker and claude between a fake hive and the rehearsal
model, with all paths in a temporary directory.
"""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

import needs
from hyperhive.harness import runner_argv
from hyperhive.harness.init import descendants
from hyperhive.protocol.settings import TOOL_GROUPS, AgentDocument, AgentSettings
from hyperhive.testing.fake_hive import FakeHive
from hyperhive.testing.model import ScriptedModel

PATIENCE_S = 45.0


@dataclass
class Rig:
    root: Path
    hive: FakeHive
    model: ScriptedModel
    env: dict[str, str] = field(default_factory=dict)
    runner: asyncio.subprocess.Process | None = None
    log_fd: int | None = None  #: where the runner's log goes instead of a file

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def pid(self) -> int:
        assert self.runner is not None
        return self.runner.pid

    async def start(self, *within: str) -> None:
        """Start the runner, by the command given before it if any."""
        with (self.root / "log").open("ab") as log:
            self.runner = await asyncio.create_subprocess_exec(
                *within,
                *runner_argv(sys.executable),
                env=self.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self.log_fd or log,
                stderr=self.log_fd or log,
            )

    async def ended(self) -> int:
        assert self.runner is not None
        async with asyncio.timeout(PATIENCE_S):
            return await self.runner.wait()

    async def stop(self) -> int:
        assert self.runner is not None
        if self.runner.returncode is None:
            self.runner.send_signal(signal.SIGTERM)
        return await self.ended()

    async def below(self, name: str) -> list[int]:
        """The runner's descendants that run a program of this name."""
        pids = await asyncio.to_thread(descendants, self.pid)
        return [pid for pid in pids if name in command_of(pid)]

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:400]
    except OSError:
        return ""


@contextlib.asynccontextmanager
async def rig(
    settings: AgentSettings | None = None,
    *,
    env: Mapping[str, str] | None = None,
    start: bool = True,
    tool_groups: Sequence[str] = (),
) -> AsyncIterator[Rig]:
    claude = needs.claude()
    async with contextlib.AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hh-")))
        model = ScriptedModel(root / "model.sock")
        await asyncio.to_thread(model.__enter__)
        stack.push_async_callback(asyncio.to_thread, model.__exit__, None, None, None)
        for folder in ("state", "home", "tmp"):
            (root / folder).mkdir()
        document = AgentDocument(name="a", settings=settings or AgentSettings(), tool_groups=[*tool_groups])
        role = document.settings.role
        allowed = TOOL_GROUPS if role == "manager" else tool_groups
        (root / "agent.json").write_bytes(msgspec.json.encode(document))
        async with FakeHive(root / "mcp.sock", role=role, tool_groups=allowed).serving() as hive:
            one = Rig(root, hive, model, {**_environment(root, claude), **(env or {})})
            if start:
                await one.start()
            try:
                yield one
            finally:
                sys.stderr.write(one.log() if (root / "log").exists() else "")
                await _put_down(one)


async def _put_down(one: Rig) -> None:
    if one.runner is None:
        return
    below = await asyncio.to_thread(descendants, one.pid) if one.runner.returncode is None else []
    try:
        await one.stop()
    except TimeoutError:
        for pid in [one.pid, *below]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await one.runner.wait()
        raise


def _environment(root: Path, claude: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(root / "home"),
        "TMPDIR": str(root / "tmp"),
        "HYPERHIVE_SOCKET": str(root / "mcp.sock"),
        "HYPERHIVE_AGENT_CONFIG": str(root / "agent.json"),
        "HYPERHIVE_STATE": str(root / "state"),
        "HYPERHIVE_CLAUDE": str(claude),
        "HYPERHIVE_REHEARSAL_SOCKET": str(root / "model.sock"),
        "HYPERHIVE_REHEARSAL_PORT": "0",
    }
