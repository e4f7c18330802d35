"""The operator's mail."""

import uuid
from collections.abc import AsyncIterator

from msgspec import UNSET

from hyperhive.api.answers import DONE, encoded_size
from hyperhive.api.batches import newest_within
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.host import Response


async def send(hive: Hive, ask: host.Send) -> Response:
    sent = await hive.desk.send(ask.to, ask.body, mid=ask.mid or uuid.uuid4().hex, in_reply_to=ask.in_reply_to)
    return Response(ids=sent.ids)


async def wait_reply(hive: Hive, ask: host.WaitReply) -> AsyncIterator[Response]:
    """A stream of one, so that a client that goes away ends the wait."""
    row = await hive.desk.reply_to(ask.id, ask.timeout_seconds)
    yield Response(inbox=[row])


async def inbox(hive: Hive, ask: host.Inbox) -> Response:
    return _letters(await hive.mailbox.inbox(ask.name, ask.limit, ask.unread_only))


async def inbox_handled(hive: Hive, ask: host.InboxHandled) -> Response:
    await hive.mailbox.handled(ask.ids)
    return DONE


async def receipt(hive: Hive, ask: host.ReceiptFor) -> Response:
    return Response(receipt=await hive.mailbox.receipt(ask.id, None))


async def dead_letters(hive: Hive, _: host.DeadLetters) -> Response:
    return _letters(await hive.mailbox.dead_letters())


def _letters(rows: list[host.InboxRow]) -> Response:
    """The newest that fit into an answer; what is left out is said."""
    shown = newest_within(rows, encoded_size)
    left_out = len(rows) - len(shown)
    warning = f"{left_out} older messages do not fit into this answer; mark these as read to see them"
    return Response(inbox=shown, warning=warning if left_out else UNSET)


async def requeue(hive: Hive, ask: host.Requeue) -> Response:
    await hive.mailbox.requeue(ask.id)
    return DONE


async def drop(hive: Hive, ask: host.Drop) -> Response:
    await hive.mailbox.drop(ask.id)
    return DONE
