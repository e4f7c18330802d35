"""`send`: who may, how much, how fast; then into the database."""

import asyncio

import msgspec

from hyperhive.broker.boxes import Box, Boxes, Waiter
from hyperhive.broker.clock import Clock
from hyperhive.broker.database import Database
from hyperhive.broker.ledger import Ledger
from hyperhive.broker.letters import Draft, Limits, MailChange, MailChangeKind
from hyperhive.broker.posting import Posted, Posting, first_result
from hyperhive.broker.waiting import Waiting
from hyperhive.protocol.agent import Envelope, Sent
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import EVERYONE, OPERATOR, closest


class Sending:
    def __init__(
        self, database: Database, ledger: Ledger, boxes: Boxes, waiting: Waiting, clock: Clock, limits: Limits
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._boxes = boxes
        self._waiting = waiting
        self._clock = clock
        self._limits = limits
        self._loop = asyncio.get_running_loop()

    def send(self, draft: Draft) -> "asyncio.Future[Sent]":
        check_text(draft, self._limits.body_bytes)
        sender = self._boxes.sender(draft.sender)
        to = self._boxes.addresses(draft.to, draft.sender, draft.among)
        posting = Posting(draft, sender.incarnation if sender else 0, to, self._clock.now())
        if not to and draft.to != EVERYONE:
            return asyncio.ensure_future(self._sent_before(posting))
        self._throttle(sender)
        if draft.to != EVERYONE:
            return self._post_to_one(posting)
        sent = self._post(posting, None)
        for name, _ in to:
            if box := self._boxes.get(name):
                self._waiting.wake(box)
        return sent

    def _post_to_one(self, posting: Posting) -> "asyncio.Future[Sent]":
        """Where a harness waits for it, the message is its own from the moment it is stored."""
        waiter = self._waiting.claim(self._boxes.require(posting.draft.to))
        if waiter is None:
            return self._post(posting, None)
        try:
            return self._post(msgspec.structs.replace(posting, epoch=waiter.holder.epoch), waiter)
        except FaultError:
            self._waiting.hand_over(waiter, None)
            raise

    def _post(self, posting: Posting, waiter: Waiter | None) -> "asyncio.Future[Sent]":
        sent: asyncio.Future[Sent] = self._loop.create_future()

        def settle(result: Posted | Exception) -> None:
            if isinstance(result, Exception):
                if not sent.done():
                    sent.set_exception(result)
            else:
                if not sent.done():
                    sent.set_result(result.sent)
                self._publish(posting.draft.sender, result)
            if waiter is not None:
                self._waiting.hand_over(waiter, _envelope(posting, result))

        self._ledger.post(posting, settle)
        return sent

    def _throttle(self, sender: Box | None) -> None:
        if sender is None or sender.name == OPERATOR:
            return
        if wait := sender.bucket.take(self._clock.monotonic()):
            raise FaultError(
                FaultKind.TOO_FAST,
                f"cannot send: over {self._limits.sends_per_second:g} messages a second; try again in {wait:.2f} s",
            )

    async def _sent_before(self, posting: Posting) -> Sent:
        """The recipient is unknown; it may have gone since the message was first sent."""
        posted = await self._database.read(lambda connection: first_result(connection, posting))
        if posted is not None:
            return posted.sent
        to = posting.draft.to[:64]
        hint = closest(to, [*self._boxes.agents, OPERATOR])
        raise FaultError(FaultKind.UNKNOWN_RECIPIENT, f"cannot send to {to!r}: {hint}")

    def _publish(self, sender: str, posted: Posted) -> None:
        sent = posted.sent
        if sent.duplicate:
            return
        for number, name in zip(sent.ids, sent.recipients, strict=True):
            self._ledger.tell(MailChange(MailChangeKind.SENT, number, sender, name, posted.thread))
            if posted.leased:
                self._ledger.tell(MailChange(MailChangeKind.LEASED, number, sender, name, posted.thread))


def _envelope(posting: Posting, result: Posted | Exception) -> Envelope | None:
    """The message as its receiver gets it, if it was stored as leased."""
    if isinstance(result, Exception) or not result.leased:
        return None
    draft = posting.draft
    return Envelope(
        id=result.sent.ids[0], sender=draft.sender, to=draft.to, kind=draft.kind, body=draft.body,
        sent_at=posting.sent_at, in_reply_to=draft.in_reply_to, thread=result.thread,
    )  # fmt: skip


def check_text(draft: Draft, limit: int) -> None:
    """Raises FaultError for what cannot be stored: `body_too_long`, `invalid_params`."""
    body = draft.body
    try:
        size = len(body) if body.isascii() else len(body.encode())
        (draft.mid or "").encode()
        (draft.turn or "").encode()
    except UnicodeEncodeError:
        raise FaultError(
            FaultKind.INVALID_PARAMS, "cannot send: the text holds half of a surrogate pair; send valid Unicode"
        ) from None
    if size > limit:
        raise FaultError(
            FaultKind.BODY_TOO_LONG,
            f"cannot send: the body has {size} bytes, a message takes {limit}; "
            "write it to a file under /shared and send the path",
        )
