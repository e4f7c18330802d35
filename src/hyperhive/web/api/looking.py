"""What pages show and host.sock has no verb for: one of a list, and a part of a history."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, structs

from hyperhive.api import mail
from hyperhive.api.answers import encoded_size
from hyperhive.api.batches import newest_within
from hyperhive.api.roster import agent_status
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Int64, Response
from hyperhive.protocol.ids import OPERATOR, AnyName

Limit = Annotated[int, Meta(ge=1, le=1000)]


class Agent(Struct, frozen=True, kw_only=True):
    name: AnyName


class Approval(Struct, frozen=True, kw_only=True):
    id: Int64


class Job(Struct, frozen=True, kw_only=True):
    id: Int64


class Message(Struct, frozen=True, kw_only=True):
    id: Int64


class Messages(Struct, frozen=True, kw_only=True):
    limit: Limit = 50


class Events(Struct, frozen=True, kw_only=True):
    """Of one agent, without the pieces of what it was writing: the newest, in the order in which they happened."""

    name: AnyName
    after: Int64 | None = None  #: the id of an event: the oldest of those behind it instead
    before: Int64 | None = None  #: the id of an event: only those before it
    limit: Limit = 200


async def agent(hive: Hive, ask: Agent) -> Response:
    name = hive.fleet.get(ask.name).name
    rows = (await agent_status(hive, host.AgentStatus())).agent_statuses
    return Response(agent_statuses=[row for row in rows or [] if row.name == name])


async def approval(hive: Hive, ask: Approval) -> Response:
    return Response(approvals=[await hive.shape.approval(ask.id)])


async def job(hive: Hive, ask: Job) -> Response:
    row = await hive.queue.jobs.get(ask.id)
    if row is None:
        raise FaultError(FaultKind.UNKNOWN_JOB, f"there is no job {ask.id}")
    return Response(jobs=[row.on_wire()])


async def message(hive: Hive, ask: Message) -> Response:
    return Response(inbox=[await hive.mailbox.message(ask.id)])


async def inbox(hive: Hive, ask: host.Inbox) -> Response:
    """Of an agent that there is."""
    return await mail.inbox(hive, structs.replace(ask, name=hive.fleet.get(ask.name).name))


async def reply(hive: Hive, ask: host.WaitReply) -> Response:
    """None that came in time is no mistake of anybody's."""
    row = await hive.mailbox.wait_in_thread(ask.id, OPERATOR, ask.timeout_seconds)
    return Response(inbox=[row] if row else [])


async def messages(hive: Hive, ask: Messages) -> Response:
    rows = await hive.mailbox.flow(ask.limit)
    shown = newest_within(sorted(rows, key=lambda row: row.id), encoded_size)
    return Response(inbox=shown, warning=UNSET if len(shown) == len(rows) else "older ones do not fit; ask for fewer")


async def events(hive: Hive, ask: Events) -> Response:
    name, log = hive.fleet.get(ask.name).name, hive.fleet.chronicle.events
    before = log.last + 1 if ask.before is None else ask.before
    if ask.after is None:
        return Response(events=(await log.before(before, name, ask.limit))[::-1])
    return Response(events=[event for event in await log.lasting(ask.after, name, ask.limit) if event.id < before])
