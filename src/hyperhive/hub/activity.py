"""What an agent's events show of its claude: signs of life, tool calls under way, one call over and over. Pure."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from hyperhive.protocol.events import EventRecord, Stream, ToolCall, TurnEnd, TurnStart, live_event

MAX_OPEN: Final = 64
"""Tool calls under way that are kept apart."""
POLLS_FOR_ONE: Final = 10
"""How many calls of a tool that is there to be asked again count as one."""
_POLLING: Final = frozenset({
    "mcp__hyperhive__recv", "mcp__hyperhive__receipt", "mcp__hyperhive__get_loose_ends",
    "mcp__hyperhive__list_agents", "BashOutput", "TaskOutput", "Monitor",
})  # fmt: skip
_ASKING: Final = frozenset({"AskUserQuestion", "ExitPlanMode", "EnterPlanMode"})
"""Tools of claude's that a person answers. They are not there unless `tools.built_in` names them."""
_LIVING: Final = frozenset({"stream", "tool_call", "turn_start", "turn_end"})
"""What only comes while claude, and not just the harness, does something."""
_TELLING: Final = (b'"tool_result"', b'"message_start"', b'"session_state_changed"')
_LETTERS: Final = 100


class _Block(Struct, frozen=True):
    type: str = ""
    tool_use_id: str = ""


class _Message(Struct, frozen=True):
    content: Any = None


class _Event(Struct, frozen=True):
    type: str = ""


class _Line(Struct, frozen=True):
    type: str = ""
    parent_tool_use_id: str | None = None
    event: _Event | None = None
    subtype: str | None = None
    state: str | None = None
    message: _Message | None = None


_line: Final = msgspec.json.Decoder(_Line).decode


@dataclass(kw_only=True)
class Activity:
    """Of one agent, as far as its events came. The same record again changes nothing."""

    seq: int = -1
    open: dict[str, str] = field(default_factory=dict)  #: tool calls under way: id, name of the tool
    has_begun: bool = False  #: anything of its claude was seen; until then a tool call may be under way
    asks: bool = False  #: claude says that it waits for somebody's action
    _in_turn: bool = False
    _count: float = 0
    _latest: bytes = b""

    def take(self, record: EventRecord) -> bool:
        """Whether it is a sign of claude's life."""
        if record.seq <= self.seq or record.kind not in _LIVING:
            return False
        self.seq, self.has_begun = record.seq, True
        payload = bytes(record.payload)
        if record.kind != "stream" or any(part in payload for part in _TELLING):
            self._look(payload)
        return True

    @property
    def repeats(self) -> float:
        """How often the latest tool call was made in a row, while a turn is under way."""
        return self._count if self._in_turn else 0

    @property
    def waits_for_answer(self) -> bool:
        return self.asks or any(tool in _ASKING for tool in self.open.values())

    def forget(self) -> None:
        """Whatever was under way is not any more."""
        self.open.clear()
        self.asks = self._in_turn = False

    def _look(self, payload: bytes) -> None:
        match live_event(payload):
            case TurnStart() as start:
                self.forget()
                self._in_turn = True
                if start.messages:
                    self._count, self._latest = 0, b""
            case TurnEnd():
                self.forget()
            case ToolCall() as call:
                self._called(call)
            case Stream(value=value):
                self._streamed(value)
            case _:
                pass

    def _called(self, call: ToolCall) -> None:
        key = hashlib.blake2b(call.tool.encode(errors="replace") + b"\0" + bytes(call.input)).digest()
        if key != self._latest:
            self._count, self._latest = 0, key
        self._in_turn = True
        self._count += 1 / POLLS_FOR_ONE if call.tool in _POLLING else 1
        if len(self.open) < MAX_OPEN:
            self.open[call.tool_use_id[:_LETTERS]] = call.tool[:_LETTERS]

    def _streamed(self, value: Raw) -> None:
        try:
            line = _line(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if line.subtype == "session_state_changed":
            self.asks = line.state == "requires_action"
        elif line.event is not None and line.event.type == "message_start" and line.parent_tool_use_id is None:
            self.open.clear()  # the model is asked again when all results are there
        elif line.type == "user" and line.message is not None:
            for block in _blocks(line.message.content):
                if block.type == "tool_result":
                    self.open.pop(block.tool_use_id[:_LETTERS], None)


def _blocks(content: Any) -> list[_Block]:
    try:
        return msgspec.convert(content, list[_Block])
    except msgspec.ValidationError:
        return []
