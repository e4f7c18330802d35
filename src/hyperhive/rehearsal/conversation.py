"""Reading a request: which agent asks, about which prompt, and how far it has come with it.

All of it is derived from the request itself, so retries, resumed sessions and a restarted server agree. Requests come
out of containers: they are bounded and only ever read.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

MAX_PROMPT: Final = 256 * 1024
MAX_RESULT: Final = 16 * 1024

_IDENTITY = re.compile(r"^You are the agent '([a-z][a-z0-9-]{0,30})' of a hyperhive\b", re.MULTILINE)
_ENVELOPE = re.compile(r"^\[message ([0-9]{1,18})\] from ([A-Za-z0-9._*@:/-]{1,128}),", re.MULTILINE)
_REMINDER_OPEN: Final = "<system-reminder>"
_REMINDER_CLOSE: Final = "</system-reminder>"
_NOT_PROMPTS: Final = ("[Request interrupted by user", "<command-name>", "<local-command-")
"""How claude begins texts of its own that stand where a user's would."""
_SUMMARY: Final = "This session is being continued from a previous conversation"
"""How claude begins what it compacted; it is the prompt only where no other is left."""


class Block(Struct, frozen=True):
    type: str = ""
    text: str = ""
    content: "str | list[Block]" = ""


class Entry(Struct, frozen=True):
    """One message of the conversation."""

    role: str
    content: str | list[Block]

    def blocks(self) -> list[Block]:
        return [Block(type="text", text=self.content)] if isinstance(self.content, str) else self.content

    def holds(self, block_type: str) -> bool:
        return not isinstance(self.content, str) and any(block.type == block_type for block in self.content)


class ToolName(Struct, frozen=True):
    name: str = ""


class ModelRequest(Struct, frozen=True):
    """The parts of a Messages API request that a script can depend on."""

    messages: Annotated[list[Entry], Meta(max_length=100_000)]
    model: str = ""
    system: str | list[Block] = ""
    stream: bool = False
    tools: Annotated[list[ToolName], Meta(max_length=1000)] = []


class UnreadableError(Exception):
    """A body that is no request; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A request as a script sees it."""

    agent: str  #: empty when the system prompt names none
    prompt: str  #: the newest text of the user, without claude's reminders and not its request for a summary
    round: int  #: how many times tools have been called since that prompt
    result: str  #: the text of the newest tool results since that prompt
    wants_summary: bool  #: claude asks for a summary to compact the conversation
    model: str
    stream: bool
    tools: tuple[str, ...]
    size: int  #: bytes of the request


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A message that a prompt shows."""

    id: str = ""
    sender: str = ""


_decoder: Final = msgspec.json.Decoder(ModelRequest)


def read(body: bytes) -> Conversation:
    """The request in the body; raises UnreadableError when it is none."""
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(str(error)) from None
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None
    return conversation(request, size=len(body))


def conversation(request: ModelRequest, *, size: int) -> Conversation:
    messages = request.messages
    wants_summary = asks_for_summary(messages)
    if wants_summary:
        messages = messages[: newest_prompt(messages)[0]]
    start, prompt = newest_prompt(messages)
    since = messages[start + 1 :]
    return Conversation(
        agent=agent_in(request.system),
        prompt=prompt,
        round=tool_rounds(since),
        result=newest_result(since),
        wants_summary=wants_summary,
        model=request.model[:200],
        stream=request.stream,
        tools=tuple(tool.name for tool in request.tools),
        size=size,
    )


def agent_in(system: str | list[Block]) -> str:
    """The agent whose system prompt this is, as the harness writes it; empty for any other."""
    texts = [system] if isinstance(system, str) else [block.text for block in system]
    found = (_IDENTITY.search(text) for text in texts)
    return next((match[1] for match in found if match), "")


def mail_in(prompt: str) -> list[Mail]:
    """The messages whose envelopes the prompt shows, as the harness writes them."""
    return [Mail(id=found[1], sender=found[2]) for found in _ENVELOPE.finditer(prompt)]


def newest_prompt(messages: list[Entry]) -> tuple[int, str]:
    """Where the newest prompt stands and its text; (-1, "") when there is none."""
    for place in range(len(messages) - 1, -1, -1):
        if text := _prompt_text(messages[place]):
            return place, text[:MAX_PROMPT]
    return -1, ""


def tool_rounds(messages: list[Entry]) -> int:
    """How many times the model called tools; calls side by side count once."""
    calls = [entry.role == "assistant" and entry.holds("tool_use") for entry in messages if entry.role != "system"]
    return sum(call and not before for call, before in zip(calls, [False, *calls], strict=False))


def newest_result(messages: list[Entry]) -> str:
    """The texts of the newest message with tool results."""
    for entry in reversed(messages):
        if entry.holds("tool_result"):
            texts = (_text(block.content) for block in entry.blocks() if block.type == "tool_result")
            return "\n".join(texts)[:MAX_RESULT]
    return ""


def asks_for_summary(messages: list[Entry]) -> bool:
    """Whether the newest prompt is claude's own, to compact what stands before it."""
    prompt = newest_prompt(messages)[1]
    return "<analysis>" in prompt and "<summary>" in prompt and "summary" in prompt[:1000]


def without_reminders(text: str) -> str:
    """The text without claude's `<system-reminder>` parts."""
    kept: list[str] = []
    at = 0
    while (start := text.find(_REMINDER_OPEN, at)) >= 0 and (end := text.find(_REMINDER_CLOSE, start)) >= 0:
        kept.append(text[at:start])
        at = end + len(_REMINDER_CLOSE)
    return "".join([*kept, text[at:]]).strip()


def _prompt_text(entry: Entry) -> str:
    if entry.role != "user":
        return ""
    stripped = (without_reminders(block.text) for block in entry.blocks() if block.type == "text")
    texts = [text for text in stripped if text and not text.startswith(_NOT_PROMPTS)]
    return "\n\n".join([text for text in texts if not text.startswith(_SUMMARY)] or texts)


def _text(content: str | list[Block]) -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
