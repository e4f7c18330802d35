"""Sending messages, reading more of them, and what became of them."""

from typing import Annotated, Final

from msgspec import Meta

from hyperhive.harness.mail import Mail
from hyperhive.harness.prompt import shown
from hyperhive.harness.quotation import one_line, utc
from hyperhive.harness.tools.tool import Hive, Input, Number, Refusal, Tool
from hyperhive.harness.turns import Turns
from hyperhive.protocol import agent
from hyperhive.protocol.agent import MAX_BODY, MAX_WAIT_S, Received
from hyperhive.protocol.ids import AnyName

MAX_NAMED: Final = 50
"""Recipients of a broadcast that are named to claude."""


class SendInput(Input):
    to: Annotated[AnyName, Meta(description="A name, `operator`, or `*`")]
    body: Annotated[str, Meta(description="The text, at most 64 KiB; larger things go to /shared")]
    in_reply_to: Annotated[Number | None, Meta(description="Number of the message that this answers")] = None


class RecvInput(Input):
    wait_seconds: Annotated[float, Meta(ge=0, le=MAX_WAIT_S)] = 0


class ReceiptInput(Input):
    id: Annotated[Number, Meta(description="The number that `send` gave")]


class Messages:
    def __init__(self, hive: Hive, *, mail: Mail, turns: Turns) -> None:
        self._hive = hive
        self._mail = mail
        self._turns = turns

    def tools(self) -> list[Tool]:
        return [
            Tool(
                name="send", takes=SendInput, carry_out=self._send,
                says="Send a message to an agent, to `operator`, or to `*` for all agents. "
                "It is durable once this answers.",
            ),
            Tool(
                name="recv", takes=RecvInput, carry_out=self._recv,
                says="Read your new messages into this turn. With wait_seconds it waits for the first one at no cost.",
            ),
            Tool(
                name="receipt", takes=ReceiptInput, carry_out=self._receipt,
                says="What became of a message that you sent: sent, leased, read, handled or dead.",
            ),
        ]  # fmt: skip

    async def _send(self, given: SendInput) -> str:
        size = len(given.body.encode(errors="replace"))
        if size > MAX_BODY:
            raise Refusal(
                f"the body has {size} bytes, a message may have {MAX_BODY}; "
                "write it to a file under /shared and send its path"
            )
        turn = self._turns.current
        sent = await self._hive.call(
            agent.SEND,
            agent.Send(
                mid=self._hive.new_mid(), to=given.to, body=given.body, in_reply_to=given.in_reply_to,
                turn=turn.id if turn else None,
            ),
        )  # fmt: skip
        ids = ", ".join(map(str, sent.ids[:MAX_NAMED]))
        return f"sent to {', '.join(sent.recipients[:MAX_NAMED]) or 'nobody'} as message {ids or '-'}"

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
        turn.mail += received.messages
        self._turns.mail_was_read()
        return _mail_text(received)

    async def _receipt(self, given: ReceiptInput) -> str:
        receipt = await self._hive.call(agent.RECEIPT, agent.ReceiptOf(id=given.id))
        facts = [f"message {receipt.id} to {receipt.to}: {receipt.state}", f"sent {utc(receipt.sent_at)}"]
        facts += [f"read {utc(receipt.read_at)}"] if receipt.read_at is not None else []
        facts += [f"handled {utc(receipt.handled_at)}"] if receipt.handled_at is not None else []
        facts += [f"attempt {receipt.attempt}"] if receipt.attempt > 1 else []
        return ", ".join(facts) + (f"; {one_line(receipt.note)}" if receipt.note else "")


def _mail_text(received: Received) -> str:
    if not received.messages:
        return "no new messages"
    more = [f"{received.unread} more in your mailbox; recv again reads them."] if received.unread else []
    return "\n\n".join([*map(shown, received.messages), *more])
