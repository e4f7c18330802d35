"""A hive for the harness's tests: one agent's socket, in memory.

It keeps epochs, leases, reads, acks, releases, attempts, deduplication by `mid` and the order of events as the real
one promises; questions, reminders, requests and jobs are on its `desk`. Limits: one agent; nobody else's inbox is
kept, what is sent is only recorded; no deadlines (a lease ends with its epoch), no back-off, no dead letters, no rate
or size limits; nothing survives the object, but everything survives `down` and `up`.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from hyperhive.protocol import agent
from hyperhive.protocol.agent import (
    Ack,
    Colleague,
    Colleagues,
    Credential,
    Envelope,
    Events,
    EventsSeen,
    Heartbeat,
    Hello,
    MessageKind,
    Read,
    Receipt,
    ReceiptOf,
    Received,
    Recv,
    Release,
    Report,
    Send,
    Sent,
    SetStatus,
    Settled,
    Welcome,
    Whoami,
)
from hyperhive.protocol.events import AnyLiveEvent, EventRecord, live_event
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.rpc import Handler, Method, Nothing, Peer
from hyperhive.testing.fake_desk import FakeDesk

T = TypeVar("T")
E = TypeVar("E")

PATIENCE_S: Final = 45.0


@dataclass
class Mailed:
    """A message of the agent's inbox and how far it has come: queued, leased, read, acked."""

    envelope: Envelope
    state: str = "queued"
    reasons: list[str] = field(default_factory=list)  #: of its releases


class FakeHive:
    """Made inside the loop. `up` serves; everything is there to be looked at, and `until` waits for it."""

    def __init__(
        self,
        socket: Path,
        *,
        name: str = "a",
        role: str = "agent",
        tool_groups: Iterable[str] = (),
        colleagues: Iterable[Colleague] = (),
    ) -> None:
        self.name = name
        self.role = role
        self.desk = FakeDesk(name, self._tell, tuple(tool_groups))
        self.socket = socket
        self.colleagues = list(colleagues)
        self.inbox: dict[int, Mailed] = {}
        self.sent: list[Send] = []
        self.records: list[EventRecord] = []
        self.reported: dict[str, Any] = {}
        self.reports: list[Report] = []
        self.status = ""
        self.hellos: list[Hello] = []
        self.epoch = 0
        self.paused = False
        self.asked_who = 0  #: how often the runner asked
        self.held = False  #: as for a budget that is spent: said to who asks, and no mail is given
        self.events_seen = 0
        self.silent: set[Method[Any, Any]] = set()  #: not answered until they are taken out by `speak`
        self.unanswered: list[Any] = []  #: the parameters of calls that wait for that
        self.refused: set[Method[Any, Any]] = set()  #: answered with a fault that may pass
        self.refusals = 0
        self.canary = ""  #: the mark of one, for the next who leases
        self.canaries: list[str] = []  #: the marks of those that came back
        self.credential = Credential()  #: the hive's own, as this agent gets it
        self.lost: set[Method[Any, Any]] = set()  #: carried out once more, and the connection ends before the answer
        self._boot_id = ""
        self._mids: dict[str, Sent] = {}
        self._next_id = 1
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None
        self._peers: list[Peer] = []

    # serving

    async def up(self) -> None:
        await asyncio.to_thread(self.socket.unlink, missing_ok=True)
        self._server = await asyncio.get_running_loop().create_unix_server(self._peer, str(self.socket))

    async def down(self) -> None:
        """End every connection in the middle of whatever it carries."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for peer in self._peers:
            peer.close()
        await asyncio.gather(*(peer.closed for peer in self._peers))
        self._peers.clear()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeHive"]:
        await self.up()
        try:
            yield self
        finally:
            await self.down()

    # what a test does

    def speak(self) -> None:
        """Answer all that `silent` held back."""
        self.silent.clear()
        self._tell()

    def mail(self, body: str, *, sender: str = "operator", kind: str = MessageKind.OPERATOR) -> int:
        """A message comes in; gives its id. A runner in mid-turn hears of it from `announce`."""
        id_ = self._next_id
        self._next_id += 1
        envelope = Envelope(id=id_, sender=sender, to=self.name, kind=kind, body=body, sent_at=time.time(), thread=id_)
        self.inbox[id_] = Mailed(envelope)
        self._tell()
        return id_

    def probe(self, canary: str) -> None:
        """Give out a canary of this mark."""
        self.canary = canary
        self._tell()

    async def announce(self) -> None:
        """Tell the runner what waits."""
        queued = [m for m in self.inbox.values() if m.state == "queued"]
        await self.call(agent.ARRIVED, agent.Arrived(unread=len(queued), senders=[m.envelope.sender for m in queued]))

    async def call(self, method: Method[Any, T], params: Any) -> T:
        """Call the runner, over its newest connection."""
        await self.until(lambda: self._peers and not self._peers[-1].closed.done())
        return await self._peers[-1].call(method, params)

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something holds; gives what the condition gave. Raises TimeoutError with all events seen."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not (found := condition()):
            if not await self._change(deadline - asyncio.get_running_loop().time()):
                seen = "\n".join(f"{r.seq} {r.kind} {bytes(r.payload)[:300]!r}" for r in self.records[-60:])
                raise TimeoutError(f"it never came to that; the last events were:\n{seen}")
        return found

    def events(self, kind: type[E]) -> list[E]:
        """The events of one kind that have come in."""
        return [event for event in map(_event, self.records) if isinstance(event, kind)]

    def state_of(self, message: int) -> str:
        return self.inbox[message].state

    # the hive's side of the socket

    def _peer(self) -> Peer:
        peer = Peer(on_connect=self._peers.append)
        for method, handler in self._methods():
            peer.serve(method, self._as_told(peer, method, handler))
        return peer

    def _as_told(self, peer: Peer, method: Method[Any, Any], handler: Handler) -> Handler:
        async def later(params: Any) -> Any:
            self.unanswered.append(params)
            self._tell()
            await self.until(lambda: method not in self.silent)
            self.unanswered.remove(params)
            self._tell()
            result = handler(params)
            return await result if inspect.isawaitable(result) else result

        def handle(params: Any) -> Any:
            if method in self.refused:
                self.refusals += 1
                self._tell()
                raise FaultError(FaultKind.INTERNAL, "not now")
            if method in self.lost:
                self.lost.remove(method)
                peer.close()
            return later(params) if method in self.silent else handler(params)

        return handle

    def _methods(self) -> tuple[tuple[Method[Any, Any], Handler], ...]:
        return (
            (agent.HELLO, self._hello),
            (agent.RECV, self._recv),
            (agent.READ, self._read),
            (agent.ACK, self._ack),
            (agent.RELEASE, self._release),
            (agent.HEARTBEAT, self._heartbeat),
            (agent.SEND, self._send),
            (agent.RECEIPT, self._receipt),
            (agent.SET_STATUS, self._set_status),
            (agent.LIST_AGENTS, lambda _: Colleagues(agents=self.colleagues)),
            (agent.WHOAMI, self._whoami),
            (agent.CREDENTIAL, lambda _: self.credential),
            (agent.REPORT, self._report),
            (agent.EVENTS, self._events),
            *self.desk.methods(),
        )

    def _hello(self, hello: Hello) -> Welcome:
        self.hellos.append(hello)
        if hello.boot_id != self._boot_id:
            self._boot_id = hello.boot_id
            self.epoch += 1
            for mailed in self._held():
                self._requeue(mailed, failed=True)
        self._tell()
        return Welcome(
            agent=self.name,
            role=self.role,
            epoch=self.epoch,
            paused=self.paused,
            events_seen=self.events_seen,
            held=[m.envelope.id for m in self._held()],
            credential=self.credential.mark,
        )

    async def _recv(self, recv: Recv) -> Received:
        self._check(recv.epoch)
        self._settle(recv.ack, "acked")
        deadline = time.monotonic() + recv.wait_seconds
        while (not (self._queued() or self.canary) or self.paused or self.held) and (
            left := deadline - time.monotonic()
        ) > 0:
            await self._change(left)
            self._check(recv.epoch)
        leased = [] if self.paused or self.held or recv.wait_seconds == 0 else self._queued()[: recv.max]
        for mailed in leased:
            mailed.state = "leased"
        canary, self.canary = ("", self.canary) if self.paused or recv.wait_seconds == 0 else (self.canary, "")
        self._tell()
        return Received(messages=[m.envelope for m in leased], unread=len(self._queued()), canary=canary)

    def _read(self, read: Read) -> Settled:
        self._check(read.epoch)
        return self._settle(read.ids, "read")

    def _ack(self, ack: Ack) -> Settled:
        self._check(ack.epoch)
        self.canaries += [ack.canary] if ack.canary else []
        return self._settle(ack.ids, "acked")

    def _release(self, release: Release) -> Settled:
        self._check(release.epoch)
        held = [self.inbox[i] for i in release.ids if i in self.inbox and self.inbox[i].state in ("leased", "read")]
        for mailed in held:
            mailed.reasons.append(release.reason)
            self._requeue(mailed, failed=release.failed)
        self._tell()
        return Settled(done=len(held))

    def _heartbeat(self, beat: Heartbeat) -> Nothing:
        self._check(beat.epoch)
        return Nothing()

    def _send(self, send: Send) -> Sent:
        if send.mid in self._mids:
            return msgspec.structs.replace(self._mids[send.mid], duplicate=True)
        if send.to == "nobody":
            raise FaultError(FaultKind.UNKNOWN_RECIPIENT, "there is no agent 'nobody'; there are: 'b'")
        sent = self._mids[send.mid] = Sent(ids=[self._next_id], recipients=[send.to])
        self._next_id += 1
        self.sent.append(send)
        self._tell()
        return sent

    def _receipt(self, of: ReceiptOf) -> Receipt:
        raise FaultError(FaultKind.UNKNOWN_MESSAGE, f"there is no message {of.id} of yours")

    def _set_status(self, status: SetStatus) -> Nothing:
        self.status = status.text
        self._tell()
        return Nothing()

    def _whoami(self, _: Nothing) -> Whoami:
        self.asked_who += 1
        self._tell()
        groups = list(self.desk.groups)
        return Whoami(agent=self.name, role=self.role, unread=len(self._queued()), tool_groups=groups, held=self.held)

    def _report(self, report: Report) -> Nothing:
        self.reports.append(report)
        said = {k: v for k, v in msgspec.structs.asdict(report).items() if v is not msgspec.UNSET}
        self.reported.update(said)
        self._tell()
        return Nothing()

    def _events(self, events: Events) -> EventsSeen:
        for record in events.records:
            if record.seq > self.events_seen:
                self.records.append(record)
                self.events_seen = record.seq
        self._tell()
        return EventsSeen(seq=self.events_seen)

    # the inbox

    def _queued(self) -> list[Mailed]:
        return [m for m in self.inbox.values() if m.state == "queued"]

    def _held(self) -> list[Mailed]:
        return [m for m in self.inbox.values() if m.state in ("leased", "read")]

    def _requeue(self, mailed: Mailed, *, failed: bool) -> None:
        mailed.state = "queued"
        if failed:
            attempt = mailed.envelope.attempt + 1
            mailed.envelope = msgspec.structs.replace(mailed.envelope, attempt=attempt)

    def _settle(self, ids: Iterable[int], state: str) -> Settled:
        known = [i for i in ids if i in self.inbox]
        held = [i for i in known if self.inbox[i].state in ("leased", "read")]
        for i in held:
            self.inbox[i].state = state
        self._tell()
        return Settled(done=len(held), stale=[i for i in known if i not in held])

    def _check(self, epoch: int) -> None:
        if epoch != self.epoch:
            raise FaultError(FaultKind.STALE_EPOCH, "a newer harness of this agent has taken over")

    def _tell(self) -> None:
        self._changed.set_result(None)
        self._changed = asyncio.get_running_loop().create_future()

    async def _change(self, seconds: float) -> bool:
        """Wait for the next change of anything; false when none came in time."""
        done, _ = await asyncio.wait([self._changed], timeout=max(0.0, seconds))
        return bool(done)


def _event(record: EventRecord) -> AnyLiveEvent | None:
    return live_event(record.payload)
