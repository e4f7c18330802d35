"""host.sock's whole surface as one table: each verb and what answers it."""

import asyncio
import functools
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import UNSET

import hyperhive
from hyperhive.api.batches import in_batches, newest_within
from hyperhive.broker.mailbox import Mailbox
from hyperhive.hub.desk import Desk
from hyperhive.hub.fleet import Fleet
from hyperhive.hub.status import status_row
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import LifecycleScope, Response

Answer = Awaitable[Response] | AsyncIterator[Response]
DONE: Final = Response()


@dataclass(frozen=True, kw_only=True)
class Hive:
    """What the handlers ask."""

    fleet: Fleet
    desk: Desk
    mailbox: Mailbox


# the roster


async def list_agents(hive: Hive, _: host.List) -> Response:
    return Response(agents=[str(name) for name in hive.fleet.names()])


async def agent_status(hive: Hive, _: host.AgentStatus) -> Response:
    unread = await hive.mailbox.unread_counts()
    return Response(agent_statuses=[status_row(agent, unread.get(agent.name, 0)) for agent in hive.fleet.agents()])


async def subscribe_agent_status(hive: Hive, _: host.SubscribeAgentStatus) -> AsyncIterator[Response]:
    changes = hive.fleet.chronicle.changes.subscribe()
    yield DONE
    async for names in changes:
        for name in names:
            if name in hive.fleet.names():
                yield Response(agent_statuses=[await _row(hive, name)])


async def _row(hive: Hive, name: str) -> host.AgentStatusRow:
    return status_row(hive.fleet.get(name), await hive.mailbox.unread(name))


async def hello(hive: Hive, _: host.Hello) -> Response:
    house = hive.fleet.house
    return Response(
        hive=host.HiveInfo(
            version=hyperhive.__version__,
            pid=os.getpid(),
            backend=house.runtime.backend.kind,
            state_dir=str(house.paths.state_dir),
            runtime_dir=str(house.paths.runtime_dir),
            agents=len(hive.fleet.names()),
            rehearsal=house.rehearsal is not None,
        )
    )


async def urls(_hive: Hive, _: host.Urls) -> Response:
    return Response(urls=host.HiveUrls())


async def tombstones(hive: Hive, _: host.Tombstones) -> Response:
    return Response(tombstones=await hive.fleet.tombstones())


# the agents' lives


async def spawn(hive: Hive, ask: host.Spawn) -> Response:
    await hive.fleet.spawn(ask.name, model=ask.model, description=ask.description)
    return DONE


async def destroy(hive: Hive, ask: host.Destroy) -> Response:
    await hive.desk.destroy(ask.name, purge=ask.purge)
    return DONE


async def rebuild(hive: Hive, ask: host.Rebuild) -> Response:
    await hive.fleet.rebuild(ask.name)
    return DONE


async def start(hive: Hive, ask: host.Start) -> Response:
    return await _to_each(_in_scope(hive, ask.scope, "start"), hive.fleet.start)


async def stop(hive: Hive, ask: host.Stop) -> Response:
    return await _to_each(
        _in_scope(hive, ask.scope, "stop"), functools.partial(hive.fleet.stop, graceful=ask.graceful)
    )


async def kill(hive: Hive, ask: host.Kill) -> Response:
    await hive.fleet.stop(ask.name)
    return DONE


async def restart(hive: Hive, ask: host.Restart) -> Response:
    await hive.fleet.restart(ask.name)
    return DONE


async def set_paused(hive: Hive, ask: host.SetPaused) -> Response:
    await hive.fleet.set_paused(ask.name, ask.paused)
    return DONE


async def _to_each(names: list[str], act: Callable[[str], Awaitable[None]]) -> Response:
    """Do it to all of them, also when it fails for some; those are what is raised."""
    done = await asyncio.gather(*map(act, names), return_exceptions=True)
    failed = [error for error in done if isinstance(error, BaseException)]
    faults = [error for error in failed if isinstance(error, FaultError)]
    if failed and len(failed) == len(faults):
        raise FaultError(faults[0].kind, "\n".join(fault.message for fault in faults))
    if failed:
        raise failed[0]
    return DONE


def _in_scope(hive: Hive, scope: LifecycleScope, verb: str) -> list[str]:
    """Whom the scope means; nobody is meant by an empty one."""
    if scope.all or scope.agents:
        return [str(name) for name in hive.fleet.names()]
    if scope.agent_names:
        return [hive.fleet.get(name).name for name in scope.agent_names]
    raise FaultError(
        FaultKind.INVALID_PARAMS,
        f"cannot {verb} an empty scope: name the agents in agent_names, or pass all: true to mean every one",
    )


# approvals


async def request_spawn(hive: Hive, ask: host.RequestSpawn) -> Response:
    return Response(ids=[await hive.desk.request_spawn(ask.name, ask.description)])


async def pending(hive: Hive, _: host.Pending) -> Response:
    rows = await hive.desk.approvals.newest()
    return Response(approvals=[row.on_wire() for row in rows])


async def approve(hive: Hive, ask: host.Approve) -> Response:
    await hive.desk.approve(ask.id)
    return DONE


async def deny(hive: Hive, ask: host.Deny) -> Response:
    await hive.desk.deny(ask.id, ask.reason)
    return DONE


# mail


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
    shown = newest_within(rows, _encoded_size)
    left_out = len(rows) - len(shown)
    warning = f"{left_out} older messages do not fit into this answer; mark these as read to see them"
    return Response(inbox=shown, warning=warning if left_out else UNSET)


def _encoded_size(row: object) -> int:
    return len(msgspec.json.encode(row))


async def requeue(hive: Hive, ask: host.Requeue) -> Response:
    await hive.mailbox.requeue(ask.id)
    return DONE


async def drop(hive: Hive, ask: host.Drop) -> Response:
    await hive.mailbox.drop(ask.id)
    return DONE


# watching


async def watch(hive: Hive, ask: host.Watch) -> AsyncIterator[Response]:
    """First what was kept, then what happens; without a gap between the two."""
    if ask.name is not None:
        hive.fleet.get(ask.name)
    async for batch in hive.desk.watch(ask.name, since=ask.since, history=ask.history, follow=ask.follow):
        for events in in_batches(batch, _event_size) if batch else [[]]:
            yield Response(events=events)


async def logs(hive: Hive, ask: host.Logs) -> AsyncIterator[Response]:
    async for batch in hive.fleet.logs(ask.name, lines=ask.lines, follow=ask.follow):
        for lines in in_batches(batch, _encoded_size) if batch else [[]]:
            yield Response(messages=lines)


def _event_size(event: HiveEvent) -> int:
    return len(memoryview(event.payload)) + 200


# a harness at work


async def set_model(hive: Hive, ask: host.SetModel) -> Response:
    chosen = await hive.desk.set_model(ask.name, ask.model)
    return Response(model=chosen.model, warning=chosen.warning or UNSET)


async def cancel(hive: Hive, ask: host.Cancel) -> Response:
    return Response(done=await hive.desk.cancel(ask.name))


async def new_session(hive: Hive, ask: host.NewSession) -> Response:
    return Response(done=await hive.desk.new_session(ask.name))


async def shell(hive: Hive, ask: host.Shell) -> Response:
    return Response(shell=hive.fleet.shell(ask.name))


ENDPOINTS: Final[dict[type[Any], Callable[[Hive, Any], Answer]]] = {
    host.List: list_agents,
    host.AgentStatus: agent_status,
    host.SubscribeAgentStatus: subscribe_agent_status,
    host.Hello: hello,
    host.Urls: urls,
    host.Tombstones: tombstones,
    host.Spawn: spawn,
    host.Destroy: destroy,
    host.Rebuild: rebuild,
    host.Start: start,
    host.Stop: stop,
    host.Kill: kill,
    host.Restart: restart,
    host.SetPaused: set_paused,
    host.RequestSpawn: request_spawn,
    host.Pending: pending,
    host.Approve: approve,
    host.Deny: deny,
    host.Send: send,
    host.WaitReply: wait_reply,
    host.Inbox: inbox,
    host.InboxHandled: inbox_handled,
    host.ReceiptFor: receipt,
    host.DeadLetters: dead_letters,
    host.Requeue: requeue,
    host.Drop: drop,
    host.Watch: watch,
    host.Logs: logs,
    host.SetModel: set_model,
    host.Cancel: cancel,
    host.NewSession: new_session,
    host.Shell: shell,
}
