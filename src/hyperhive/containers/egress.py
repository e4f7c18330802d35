"""The hive's side of egress: declares which agent may reach what, and hears what was refused.

The proxies run in one small process of their own (`egress_process`), so that turns in progress keep their
connections while the hive restarts. The two speak lines of JSON on a control socket.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from hyperhive.containers.egress_rules import CLAUDE_HOSTS, Allowed
from hyperhive.process import PLAIN_ENV, CommandFailed, run
from hyperhive.protocol.faults import FaultError, FaultKind

MAX_LINE: Final = 1 << 20
START_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 10.0
_ATTEMPTS: Final = 3


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One agent as it is declared on the control socket."""

    socket: str
    allow: list[str]
    uid: int | None = None


class Declare(msgspec.Struct, frozen=True, kw_only=True, tag="declare"):
    """The whole of what is to be; agents that are not in it lose their sockets."""

    agents: dict[str, Rule]


class Stop(msgspec.Struct, frozen=True, kw_only=True, tag="stop"):
    pass


class Declared(msgspec.Struct, frozen=True, kw_only=True, tag="declared"):
    problems: dict[str, str]  #: agent -> why it has no socket


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal"):
    """An agent asked for something it may not reach. `count`: how often since it was last told."""

    agent: str
    host: str
    port: int
    reason: str
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class EgressRule:
    """Where an agent's proxy socket is, who may use it, and what is reachable through it.

    The socket's directory exists, belongs to the hive and is given to that agent's container alone.
    """

    socket: Path
    allow: tuple[str, ...] = CLAUDE_HOSTS
    uid: int | None = None  #: of the agent on the host; None: our own


class Egress:
    """The hive's handle on the egress process. `on_refusal` is called on the event loop."""

    def __init__(
        self,
        directory: Path,
        on_refusal: Callable[[Refusal], None],
        *,
        python: str = sys.executable,
        prefix: Sequence[str] = (),
    ) -> None:
        """`prefix` goes before the process's command line: systemd-run, where a unit of its own keeps it alive."""
        self.control = directory / "egress.sock"
        self._directory = directory
        self._on_refusal = on_refusal
        self._command = (*prefix, python, "-I", "-m", "hyperhive.containers.egress_process", str(directory))
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._answers: asyncio.Queue[Declared] = asyncio.Queue()
        self._declared: dict[str, Rule] = {}
        self._changing = asyncio.Lock()
        self._restoring: asyncio.Task[None] | None = None
        self._closing = False
        self.problem = ""  #: why agents have no way out at present; empty: they have

    async def start(self) -> None:
        """Takes over the process of an earlier hive, or starts one. Raises FaultError (`backend`)."""
        try:
            await self._connect()
        except OSError:
            await self._launch()
            await self._connect()

    async def declare(self, rules: Mapping[str, EgressRule]) -> None:
        """Makes it so, for all agents at once; those that are left out lose their socket.

        An agent keeps its connections when its rule changes. Raises FaultError: `bad_config` for an entry that is
        not well formed (then nothing changes), `backend` when a socket cannot be made.
        """
        for rule in rules.values():
            for text in rule.allow:
                Allowed.parse(text)
        async with self._changing:
            self._declared = {
                name: Rule(socket=str(rule.socket), allow=list(rule.allow), uid=rule.uid)
                for name, rule in rules.items()
            }
            try:
                await self._tell()
            except (OSError, TimeoutError):
                await self._restore()

    async def close(self, *, stop: bool) -> None:
        """Lets go of the process; with `stop` it ends, and with it every connection through it.

        Also without `start`: then it ends what an earlier hive left.
        """
        self._closing = True
        if self._restoring is not None:
            self._restoring.cancel()
        if stop:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self._stop()
        await self._disconnect()

    async def _stop(self) -> None:
        if self._listening is None or self._listening.done():
            await self._connect()
        assert self._writer is not None
        assert self._listening is not None
        self._writer.write(msgspec.json.encode(Stop()) + b"\n")
        await asyncio.wait([self._listening])

    async def _launch(self) -> None:
        try:
            await asyncio.to_thread(self._directory.mkdir, mode=0o755, parents=True, exist_ok=True)
            await run(self._command, env={**PLAIN_ENV, "HOME": "/"}, timeout=START_TIMEOUT_S)
        except CommandFailed as error:
            raise FaultError(FaultKind.BACKEND, f"cannot start the egress proxy: {error}") from error

    async def _connect(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(str(self.control), limit=MAX_LINE)
        self._answers = asyncio.Queue()
        self._listening = asyncio.create_task(self._listen(reader), name="egress refusals")
        self._listening.add_done_callback(self._lost)
        self.problem = ""

    def _lost(self, listening: asyncio.Task[None]) -> None:
        if not (self._closing or listening.cancelled()):
            self._restoring = asyncio.create_task(self._restore_unasked(), name="egress restart")

    async def _restore_unasked(self) -> None:
        async with self._changing:
            if self._listening is not None and not self._listening.done():
                return  # a declaration came first
            try:
                await self._restore()
            except (FaultError, OSError, TimeoutError) as error:
                self.problem = str(error)

    async def _restore(self) -> None:
        """After the process was killed: a new one needs to be told everything, which is what a declaration is."""
        for attempt in range(_ATTEMPTS):
            await self._disconnect()
            await self.start()
            try:
                return await self._tell()
            except ConnectionError:
                # The socket of a process that is about to die still takes connections.
                if attempt == _ATTEMPTS - 1:
                    raise

    async def _disconnect(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if self._writer is not None:
            self._writer.transport.abort()
        self._writer = self._listening = None

    async def _tell(self) -> None:
        if self._writer is None:
            raise FaultError(FaultKind.UNAVAILABLE, "cannot declare who may reach what: egress is not started")
        self._writer.write(msgspec.json.encode(Declare(agents=self._declared)) + b"\n")
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await self._writer.drain()
            answer = await self._answer()
        if answer.problems:
            text = "; ".join(f"{agent}: {why}" for agent, why in sorted(answer.problems.items()))
            raise FaultError(FaultKind.BACKEND, f"cannot give these agents their way out: {text}")

    async def _answer(self) -> Declared:
        assert self._listening is not None
        getting = asyncio.ensure_future(self._answers.get())
        await asyncio.wait([getting, self._listening], return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            getting.cancel()
            raise ConnectionResetError("the egress process has ended")
        return getting.result()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := await reader.readline():
                message = msgspec.json.decode(line, type=Declared | Refusal)
                if isinstance(message, Refusal):
                    self._on_refusal(message)
                else:
                    self._answers.put_nowait(message)
