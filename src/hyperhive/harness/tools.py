"""The hive's tools as claude sees them: what they take, and what they answer in words."""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from hyperhive.harness.journal import Journal
from hyperhive.harness.link import Link
from hyperhive.harness.mail import Mail
from hyperhive.harness.prompt import one_line, shown, utc
from hyperhive.harness.turns import Turns
from hyperhive.harness.wire import HiveToolCall, HiveToolResult
from hyperhive.protocol import agent
from hyperhive.protocol.agent import MAX_BODY, MAX_WAIT_S
from hyperhive.protocol.events import StatusChanged
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.rpc import Nothing


class SendInput(Struct, forbid_unknown_fields=True):
    to: str
    body: str
    in_reply_to: int | None = None


class RecvInput(Struct, forbid_unknown_fields=True):
    wait_seconds: Annotated[float, Meta(ge=0, le=MAX_WAIT_S)] = 0


class ReceiptInput(Struct, forbid_unknown_fields=True):
    id: int


class SetStatusInput(Struct, forbid_unknown_fields=True):
    text: Annotated[str, Meta(max_length=500)]


class NoInput(Struct):
    pass


class Refusal(Exception):  # noqa: N818 (an answer, not a mistake of ours)
    """The tool's answer is that it can't."""


class Toolbox:
    """Carries the hive's tools out for claude. Each answers with text, errors included."""

    def __init__(self, *, link: Link, mail: Mail, turns: Turns, journal: Journal) -> None:
        self._link = link
        self._mail = mail
        self._turns = turns
        self._journal = journal
        self._outside_turns = 0
        self._tools: Mapping[str, tuple[type[Any], Callable[[Any], Awaitable[str]]]] = {
            "send": (SendInput, self._send),
            "recv": (RecvInput, self._recv),
            "receipt": (ReceiptInput, self._receipt),
            "set_status": (SetStatusInput, self._set_status),
            "whoami": (NoInput, self._whoami),
            "list_agents": (NoInput, self._list_agents),
        }

    async def use(self, call: HiveToolCall) -> HiveToolResult:
        if call.name not in self._tools:
            return HiveToolResult(text=f"there is no tool {call.name!r}", is_error=True)
        shape, carry_out = self._tools[call.name]
        try:
            return HiveToolResult(text=await carry_out(_arguments(shape, call.arguments)))
        except (Refusal, FaultError, msgspec.ValidationError) as error:
            return HiveToolResult(text=f"{call.name} did not work: {error}", is_error=True)

    async def _send(self, given: SendInput) -> str:
        size = len(given.body.encode(errors="replace"))
        if size > MAX_BODY:
            raise Refusal(
                f"the body has {size} bytes, a message may have {MAX_BODY}; "
                "write it to a file under /shared and send its path"
            )
        turn = self._turns.current
        mid = turn.next_mid() if turn is not None else os.urandom(8).hex()
        call = agent.Send(
            mid=mid, to=given.to, body=given.body, in_reply_to=given.in_reply_to, turn=turn.id if turn else None
        )
        sent = await self._link.call(agent.SEND, lambda _: call)
        ids = ", ".join(map(str, sent.ids[:50]))
        return f"sent to {', '.join(sent.recipients[:50]) or 'nobody'} as message {ids or '-'}"

    async def _recv(self, given: RecvInput) -> str:
        turn = self._turns.current
        if turn is None or not turn.takes_mail:
            raise Refusal("no message caused this turn; finish, and your mail wakes you")
        received = await self._mail.receive(given.wait_seconds)
        ids = [m.id for m in received.messages]
        try:
            if turn.takes_mail:
                await self._mail.read(ids, turn.id)
            if not turn.takes_mail:
                await self._mail.release(ids, failed=False, reason="the turn ended before it could read them")
        except BaseException:
            self._mail.abandon(ids)  # claude may be gone, and this call with it
            raise
        if not turn.takes_mail:
            raise Refusal("the turn has been ended")
        turn.messages += ids
        self._turns.mail_was_read()
        return _mail_text(received)

    async def _receipt(self, given: ReceiptInput) -> str:
        receipt = await self._link.call(agent.RECEIPT, lambda _: agent.ReceiptOf(id=given.id))
        facts = [f"message {receipt.id} to {receipt.to}: {receipt.state}", f"sent {utc(receipt.sent_at)}"]
        facts += [f"read {utc(receipt.read_at)}"] if receipt.read_at is not None else []
        facts += [f"handled {utc(receipt.handled_at)}"] if receipt.handled_at is not None else []
        facts += [f"attempt {receipt.attempt}"] if receipt.attempt > 1 else []
        return ", ".join(facts) + (f"; {one_line(receipt.note)}" if receipt.note else "")

    async def _set_status(self, given: SetStatusInput) -> str:
        text = one_line(given.text)
        await self._link.call(agent.SET_STATUS, lambda _: agent.SetStatus(text=text))
        self._journal.record(StatusChanged(text=text))
        return "your status is set" if text else "your status is cleared"

    async def _whoami(self, _: NoInput) -> str:
        me = await self._link.call(agent.WHOAMI, lambda _: Nothing())
        return f"you are {me.agent}, role {me.role}; {me.unread} unread"

    async def _list_agents(self, _: NoInput) -> str:
        there = (await self._link.call(agent.LIST_AGENTS, lambda _: Nothing())).agents
        return "\n".join(map(_colleague, there)) or "there are no other agents"


def _colleague(one: agent.Colleague) -> str:
    status = f" - {one_line(one.status_text)}" if one.status_text else ""
    purpose = f": {one_line(one.description)}" if one.description else ""
    return f"{one.name} ({one.role}, {one.state}){purpose}{status}"


def _mail_text(received: agent.Received) -> str:
    if not received.messages:
        return "no new messages"
    more = [f"{received.unread} more in your mailbox; recv again reads them."] if received.unread else []
    return "\n\n".join([*map(shown, received.messages), *more])


def _arguments(shape: type[Any], given: Raw) -> Any:
    return msgspec.json.decode(given, type=shape)


def _schema(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


SCHEMAS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "send": (
        "Send a message to an agent, to `operator`, or to `*` for all agents. It is durable once this answers.",
        _schema(
            ["to", "body"],
            to={"type": "string", "description": "A name, `operator`, or `*`"},
            body={"type": "string", "description": "The text, at most 64 KiB; larger things go to /shared"},
            in_reply_to={"type": "integer", "description": "Number of the message that this answers"},
        ),
    ),
    "recv": (
        "Read your new messages into this turn. With wait_seconds it waits for the first one at no cost.",
        _schema([], wait_seconds={"type": "number", "minimum": 0, "maximum": MAX_WAIT_S}),
    ),
    "receipt": (
        "What became of a message that you sent: sent, leased, read, handled or dead.",
        _schema(["id"], id={"type": "integer", "description": "The number that `send` gave"}),
    ),
    "set_status": (
        "Show the operator in one line what you are at; an empty text clears it.",
        _schema(["text"], text={"type": "string", "maxLength": 500}),
    ),
    "whoami": ("Your name, your role and how much mail waits.", _schema([])),
    "list_agents": ("The other agents: names, roles, states, what they are for.", _schema([])),
}
"""By name: what the tool does, and its parameters as JSON schema."""
