"""The turn worker: speaks claude's protocol through the SDK, and decides nothing.

It is started with two sockets: to the runner, and to a claude that starts up beside it. It ends when either goes.
The only importer of claude_agent_sdk.
"""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

import anyio
import anyio.abc
import claude_agent_sdk as sdk
import msgspec
from msgspec import Raw

from hyperhive.harness import wire
from hyperhive.harness.guard import HIVE_SERVER
from hyperhive.harness.payload import clean
from hyperhive.harness.wire import ChangeModel, Connect, Connected, HiveToolCall, Prompt, Said, ToolOffer, ToolRequest
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.framing import LineSplitter, Overlong
from hyperhive.protocol.rpc import Method, Nothing, Peer

P = TypeVar("P")
R = TypeVar("R")

MAX_LINE: Final = 64 << 20
"""Bytes of one line from claude."""
CHUNK: Final = 1 << 18
MAX_UNHEARD: Final = 8
"""Chunks of claude's output that the runner has not taken; past it claude is not read."""
CLOSE_S: Final = 3.0
HOOK_S: Final = 120.0
VERBATIM: Final = {"client_composed": True}
"""Marks a message whose text is for the model as it is. The SDK's option of that name would mark all of them."""
_CONTROL: Final = frozenset({"control_request", "control_response", "control_cancel_request", "keep_alive"})


class ClaudeSocket(sdk.Transport):
    """The SDK's way to the claude that is already running; all it says goes to `hear` first."""

    def __init__(self, socket_fd: int, hear: Callable[[list[Raw]], Awaitable[None]]) -> None:
        self._socket_fd = socket_fd
        self._hear = hear
        self._writer: asyncio.StreamWriter | None = None
        self._reader: asyncio.StreamReader | None = None

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(
            sock=socket.socket(fileno=self._socket_fd), limit=CHUNK
        )

    async def write(self, data: str) -> None:
        if self._writer is None or self._writer.is_closing():
            raise sdk.CLIConnectionError("claude is gone")
        self._writer.write(data.encode())
        await self._writer.drain()

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        assert self._reader is not None
        splitter = LineSplitter(MAX_LINE)
        while data := await self._reader.read(CHUNK):
            messages = [m for line in splitter.feed(data) if (m := _message(line)) is not None]
            told = [Raw(clean(line)) for line, m in messages if m.get("type") not in _CONTROL]
            if told:
                await self._hear(told)
            for _, message in messages:
                yield message
        raise sdk.CLIConnectionError("claude has ended")  # else a call under way would wait for its time-out

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def is_ready(self) -> bool:
        return self._writer is not None and not self._writer.is_closing()

    async def end_input(self) -> None:
        if self._writer is not None and self._writer.can_write_eof():
            self._writer.write_eof()


def _message(line: bytes | Overlong) -> tuple[bytes, dict[str, Any]] | None:
    if isinstance(line, Overlong):
        return None
    try:
        message = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return (line, message) if isinstance(message, dict) else None


Order = tuple[Callable[[Any], Awaitable[Any]], Any, "asyncio.Future[Any]"]


class Worker:
    """Uses the SDK's client in one task: what the runner calls is queued for it."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._unheard: deque[asyncio.Future[Nothing]] = deque()
        self._client: sdk.ClaudeSDKClient | None = None
        self._closing = False

    def serve(self) -> None:
        self._queue_calls(wire.CONNECT, self._connect)
        self._queue_calls(wire.PROMPT, self._prompt)
        self._queue_calls(wire.INTERRUPT, self._interrupt)
        self._queue_calls(wire.CHANGE_MODEL, self._change_model)
        self._queue_calls(wire.CLOSE, self._close)

    async def run(self) -> None:
        """Until the runner has gone or told us to close, or claude has ended."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._obey, group)
            await asyncio.wait([self._peer.closed])
            group.cancel_scope.cancel()

    def _queue_calls(self, method: Method[P, R], obey: Callable[[P], Awaitable[R]]) -> None:
        def queue(params: P) -> "asyncio.Future[R]":
            done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            self._orders.put_nowait((obey, params, done))
            return done

        self._peer.serve(method, queue)

    async def _obey(self, group: anyio.abc.TaskGroup) -> None:
        while not self._closing:
            obey, params, done = await self._orders.get()
            had_client = self._client is not None
            try:
                done.set_result(await obey(params))
            except Exception as error:  # noqa: BLE001 (whatever an order fails with is its answer)
                done.set_exception(FaultError(FaultKind.UNAVAILABLE, f"{type(error).__name__}: {error}"))
            if self._client is not None and not had_client:
                group.start_soon(self._read, self._client)
        await asyncio.sleep(0)  # the answer goes out before the connection ends
        self._peer.close()

    async def _read(self, client: sdk.ClaudeSDKClient) -> None:
        """Keep the SDK's stream moving. The runner has each line from the transport."""
        while await self._reads_on(client):
            pass
        if not self._closing:
            self._peer.close()

    async def _reads_on(self, client: sdk.ClaudeSDKClient) -> bool:
        """Read to the end, or to a line of a shape that this SDK does not know: true, it goes on behind it."""
        try:
            async for _ in client.receive_messages():
                pass
        except sdk.CLIConnectionError:
            return False  # claude has ended, which is what the end of this worker says
        except sdk.ClaudeSDKError:
            return True
        return False

    # orders

    async def _connect(self, connect: Connect) -> Connected:
        transport = ClaudeSocket(wire.CLAUDE_SOCKET, self._hear)
        client = sdk.ClaudeSDKClient(self._options(connect), transport=transport)
        await client.connect()
        self._client = client
        account = (await client.get_server_info() or {}).get("account") or {}
        return Connected(logged_in=account.get("tokenSource") != "none" or "apiKeySource" in account)

    async def _prompt(self, prompt: Prompt) -> Nothing:
        async def one() -> AsyncIterator[dict[str, Any]]:
            content = {"role": "user", "content": prompt.text}
            message = {"type": "user", "uuid": prompt.uuid, "message": content, "parent_tool_use_id": None}
            yield message if prompt.is_command else {**message, **VERBATIM}

        await self._up().query(one())
        return Nothing()

    async def _interrupt(self, _: Nothing) -> Nothing:
        await self._up().interrupt()
        return Nothing()

    async def _change_model(self, change: ChangeModel) -> Nothing:
        await self._up().set_model(change.model)
        return Nothing()

    async def _close(self, _: Nothing) -> Nothing:
        self._closing = True
        if self._client is not None:
            with anyio.move_on_after(CLOSE_S):
                await self._client.disconnect()
        return Nothing()

    def _up(self) -> sdk.ClaudeSDKClient:
        if self._client is None:
            raise sdk.CLIConnectionError("claude is not connected")
        return self._client

    # what the client is given

    def _options(self, connect: Connect) -> sdk.ClaudeAgentOptions:
        """What the SDK does itself; the rest is in the command that claude was started with."""
        server = sdk.create_sdk_mcp_server(HIVE_SERVER, tools=[*map(self._tool, connect.tools)])
        before = sdk.HookMatcher(hooks=[self._before_tool], timeout=HOOK_S, on_failure="block")
        after = sdk.HookMatcher(hooks=[self._after_tool], timeout=HOOK_S)
        return sdk.ClaudeAgentOptions(
            system_prompt={"type": "custom", "prompt": connect.system_prompt, "snapshot": False},
            mcp_servers={HIVE_SERVER: server},
            hooks={"PreToolUse": [before], "PostToolUse": [after], "PostToolUseFailure": [after]},
        )

    def _tool(self, offer: ToolOffer) -> sdk.SdkMcpTool[Any]:
        async def use(arguments: dict[str, Any]) -> dict[str, Any]:
            given = Raw(msgspec.json.encode(arguments))
            result = await self._peer.call(wire.HIVE_TOOL, HiveToolCall(name=offer.name, arguments=given))
            return {"content": [{"type": "text", "text": result.text}], "is_error": result.is_error}

        schema = msgspec.json.decode(offer.schema)
        return sdk.SdkMcpTool(name=offer.name, description=offer.description, input_schema=schema, handler=use)

    async def _before_tool(self, given: Any, tool_use_id: str | None, _: sdk.HookContext) -> sdk.HookJSONOutput:
        tool, tool_input = given["tool_name"], given["tool_input"]
        request = ToolRequest(
            tool=tool,
            input=Raw(clean(msgspec.json.encode(tool_input))),
            tool_use_id=tool_use_id or "",
            command=str(tool_input["command"]) if tool == "Bash" else "",
        )
        verdict = await self._peer.call(wire.TOOL_REQUEST, request)
        if verdict.refusal is None:
            return {}
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": verdict.refusal,
            }
        }

    async def _after_tool(self, given: Any, _id: str | None, _: sdk.HookContext) -> sdk.HookJSONOutput:
        notice = await self._peer.call(wire.BOUNDARY, Nothing())
        if not notice.text:
            return {}
        return {"hookSpecificOutput": {"hookEventName": given["hook_event_name"], "additionalContext": notice.text}}

    async def _hear(self, lines: list[Raw]) -> None:
        self._unheard.append(self._peer.call_soon(wire.SAID, Said(lines=lines)))
        while self._unheard and (self._unheard[0].done() or len(self._unheard) > MAX_UNHEARD):
            await self._unheard.popleft()


async def _work() -> None:
    peer = Peer(max_line=wire.MAX_LINE)
    worker = Worker(peer)
    worker.serve()
    runner = socket.socket(fileno=wire.WORKER_SOCKET)
    runner.setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(lambda: peer, sock=runner)
    await worker.run()


def main() -> int:
    anyio.run(_work)
    return 0
