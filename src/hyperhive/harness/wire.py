"""What runner and turn worker say to each other, as calls over a socket pair."""

from typing import Final

from msgspec import Raw, Struct

from hyperhive.protocol.rpc import Method, Nothing

WORKER_SOCKET: Final = 3
"""The worker's end of the socket pair."""
CLAUDE_SOCKET: Final = 4
"""The other end of claude's standard input and output."""
MAX_LINE: Final = 8 << 20


class ToolOffer(Struct, frozen=True, kw_only=True):
    """One of the hive's tools as claude is told of it."""

    name: str
    description: str
    schema: Raw  #: of its parameters, as JSON schema


class Connect(Struct, frozen=True, kw_only=True):
    """Attach to the claude that was started beside the worker. First call; the worker ends when claude does."""

    system_prompt: str
    tools: list[ToolOffer]


class Connected(Struct, frozen=True, kw_only=True):
    logged_in: bool


class Prompt(Struct, frozen=True, kw_only=True):
    """Text that becomes claude's next user message, as it is."""

    uuid: str
    text: str
    is_command: bool = False  #: one of claude's own slash commands, to be carried out


class ChangeModel(Struct, frozen=True, kw_only=True):
    model: str


CONNECT: Final = Method("connect", Connect, Connected)
PROMPT: Final = Method("prompt", Prompt, Nothing)
INTERRUPT: Final = Method("interrupt", Nothing, Nothing)
CHANGE_MODEL: Final = Method("change_model", ChangeModel, Nothing)
CLOSE: Final = Method("close", Nothing, Nothing)


class Said(Struct, frozen=True, kw_only=True):
    """Lines of claude's output, cleaned; in order and complete, the control protocol left out."""

    lines: list[Raw]


class ToolRequest(Struct, frozen=True, kw_only=True):
    """A tool call before it runs, whatever the tool."""

    tool: str
    input: Raw
    tool_use_id: str
    command: str = ""  #: Bash's command, whole


class Verdict(Struct, frozen=True, kw_only=True):
    refusal: str | None = None


class Notice(Struct, frozen=True, kw_only=True):
    """What claude should hear at a tool boundary; empty: nothing."""

    text: str


class HiveToolCall(Struct, frozen=True, kw_only=True):
    """Claude used one of the hive's tools."""

    name: str
    arguments: Raw


class HiveToolResult(Struct, frozen=True, kw_only=True):
    text: str
    is_error: bool = False


SAID: Final = Method("said", Said, Nothing)
TOOL_REQUEST: Final = Method("tool_request", ToolRequest, Verdict)
BOUNDARY: Final = Method("boundary", Nothing, Notice)
HIVE_TOOL: Final = Method("hive_tool", HiveToolCall, HiveToolResult)
