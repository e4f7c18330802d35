"""The rehearsal model in a test's own process: scripted in Python, with gates to open and requests to look at.

with ScriptedModel(port=0) as model:
    model.script("scout", on("hello", Call("Bash", {"command": "date"}), Gate("report"), Say("Done.")))
    ...                                 # start claude with model.environment(home)
    model.wait("scout", 2)              # its second request has arrived
    model.gate("report").open()
"""

import asyncio
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from hyperhive.rehearsal.conversation import Conversation
from hyperhive.rehearsal.credentials import DUMMY_KEY
from hyperhive.rehearsal.exchange import Request
from hyperhive.rehearsal.script import ANYONE, Agent, Script, Turn
from hyperhive.rehearsal.server import Address, serving
from hyperhive.rehearsal.stage import Stage

PATIENCE_S: Final = 30.0
MAX_KEPT: Final = 1000
MAX_KEPT_BODY: Final = 256 * 1024


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A request that arrived. `at` is on the monotonic clock; `body` is empty when it was large."""

    asked: Conversation
    request: Request
    at: float


class ScriptedModel:
    """A rehearsal model that serves in a thread of its own while the `with` block runs; made for one block.

    Scripts may be set and replaced at any time. An unexpected error while answering is raised at the block's end.
    """

    def __init__(self, socket: Path | None = None, *, port: int | None = None, script: Script | None = None) -> None:
        self._address = Address(socket=socket, port=port)
        self._stage = Stage(script or Script(), on_request=self._record, on_gate=self._reached)
        self._thread = threading.Thread(target=self._run, name="rehearsal model", daemon=True)
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Address]] = Future()
        self._change = threading.Condition()
        self._requests: deque[Recorded] = deque(maxlen=MAX_KEPT)
        self._gates_reached: Counter[str] = Counter()
        self._errors: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop, self._stop, self._address = self._ready.result(PATIENCE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the rehearsal model does not end"
        if error is None and self._errors:
            raise AssertionError(f"the rehearsal model failed: {self._errors}") from self._errors[0].get("exception")

    @property
    def port(self) -> int:
        assert self._address.port is not None, "it does not serve on the loopback: give a port, or 0"
        return self._address.port

    def script(self, agent: str, *turns: Turn) -> None:
        """The agent's turns from the next request on; `"*"` for every agent that has none of its own."""
        others = tuple(other for other in self._stage.script.agents if other.name != agent)
        self._stage.script = Script(agents=(*others, Agent(agent, turns)))

    def gate(self, name: str) -> "Gate":
        return Gate(self, name)

    def requests(self, agent: str = ANYONE) -> list[Recorded]:
        """The requests of an agent, or of everyone, that arrived so far; oldest first, the last thousand."""
        with self._change:
            return self._of(agent)

    def wait(self, agent: str = ANYONE, number: int = 1, *, timeout_s: float = PATIENCE_S) -> Recorded:
        """The agent's request of this number, counted from 1, as soon as it has arrived; raises TimeoutError."""
        with self._change:
            if not self._change.wait_for(lambda: len(self._of(agent)) >= number, timeout_s):
                raise TimeoutError(f"only {len(self._of(agent))} requests of {agent!r} came, not {number}")
            return self._of(agent)[number - 1]

    async def arrival(self, agent: str = ANYONE, number: int = 1, *, timeout_s: float = PATIENCE_S) -> Recorded:
        """`wait`, for a test that runs in an event loop."""
        return await asyncio.to_thread(self.wait, agent, number, timeout_s=timeout_s)

    def environment(self, home: Path) -> dict[str, str]:
        """All that a claude needs around it to talk to this model on the loopback, and nothing else."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{self.port}",
            "ANTHROPIC_API_KEY": DUMMY_KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "CLAUDE_CODE_TMPDIR": str(home),
            "IS_SANDBOX": "1",
        }

    def _of(self, agent: str) -> list[Recorded]:
        return [each for each in self._requests if agent in (ANYONE, each.asked.agent)]

    # in the model's thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: self._errors.append(context))
        stop = asyncio.Event()
        async with serving(self._stage, self._address) as address:
            self._ready.set_result((loop, stop, address))
            await stop.wait()

    def _record(self, asked: Conversation, request: Request) -> None:
        if len(request.body) > MAX_KEPT_BODY:
            request = Request(method=request.method, path=request.path, headers=request.headers, body=b"")
        with self._change:
            self._requests.append(Recorded(asked=asked, request=request, at=time.monotonic()))
            self._change.notify_all()

    def _reached(self, name: str) -> None:
        with self._change:
            self._gates_reached[name] += 1
            self._change.notify_all()

    def _open(self, name: str) -> None:
        self._loop.call_soon_threadsafe(lambda: self._stage.gates[name].set())

    def _wait_reached(self, name: str, number: int, timeout_s: float) -> None:
        with self._change:
            if not self._change.wait_for(lambda: self._gates_reached[name] >= number, timeout_s):
                raise TimeoutError(f"the gate {name!r} was reached {self._gates_reached[name]} times, not {number}")


class Gate:
    """A gate of a script, from the test's side."""

    def __init__(self, model: ScriptedModel, name: str) -> None:
        self._model = model
        self._name = name

    def open(self) -> None:
        """Let through whoever waits, and everyone after."""
        self._model._open(self._name)

    def wait_reached(self, number: int = 1, *, timeout_s: float = PATIENCE_S) -> None:
        """Until a request has had to wait at the gate for the `number`-th time; raises TimeoutError."""
        self._model._wait_reached(self._name, number, timeout_s)
