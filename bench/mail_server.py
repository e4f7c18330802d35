"""The hive's side of the mail bench, in a process of its own: agent sockets in front of a Mailbox, and nothing else.

`python -m bench.mail_server FOLDER AGENTS` prints `ready` and serves `FOLDER/a<n>.sock` until it is ended. Another
implementation with the same arguments can be put in its place (`bench.mailbox.SERVER`).
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

import uvloop

from hyperhive.broker.database import Database
from hyperhive.broker.events import EventLog, Subscription
from hyperhive.broker.letters import Draft, Limits
from hyperhive.broker.mailbox import Mailbox
from hyperhive.protocol import agent as wire
from hyperhive.protocol.rpc import Nothing, Peer

UNLIMITED = Limits(burst=10**9, inbox=10**9)
"""What is measured is the store, not how well it refuses."""


class Hive:
    """Serves one connection like the daemon does. `whoami` answers with the events that a subscriber has seen."""

    def __init__(self, mailbox: Mailbox, events: EventLog) -> None:
        self.mailbox = mailbox
        self.events = events
        self.seen = 0

    async def follow(self, live: Subscription) -> None:
        async for _ in live:
            self.seen += 1

    def accept(self, name: str) -> Peer:
        peer = Peer()
        mailbox = self.mailbox

        async def hello(ask: wire.Hello) -> wire.Welcome:
            epoch = await mailbox.begin_epoch(name, ask.boot_id)
            return wire.Welcome(agent=name, role="agent", epoch=epoch.number, paused=False, events_seen=0)

        async def events(ask: wire.Events) -> wire.EventsSeen:
            return wire.EventsSeen(seq=await self.events.append(name, 1, ask.records))

        def send(ask: wire.Send) -> "asyncio.Future[wire.Sent]":
            return mailbox.send(
                Draft(
                    sender=name, kind="agent", to=ask.to, body=ask.body, mid=ask.mid, in_reply_to=ask.in_reply_to,
                    turn=ask.turn,
                )
            )  # fmt: skip

        def heartbeat(ask: wire.Heartbeat) -> Nothing:
            mailbox.heartbeat(name, ask.epoch)
            return Nothing()

        peer.serve(wire.HELLO, hello)
        peer.serve(wire.SEND, send)
        peer.serve(wire.EVENTS, events)
        peer.serve(wire.HEARTBEAT, heartbeat)
        peer.serve(wire.RECV, lambda ask: mailbox.recv(name, ask.epoch, ask.wait_seconds, ask.max, ask.ack))
        peer.serve(wire.ACK, lambda ask: mailbox.ack(name, ask.epoch, ask.ids))
        peer.serve(wire.WHOAMI, lambda _ask: wire.Whoami(agent=name, role="agent", unread=self.seen))
        return peer


async def serve(folder: Path, agents: int) -> None:
    database = await Database.open(folder / "hive.sqlite")
    mailbox = await Mailbox.open(database, limits=UNLIMITED)
    events = await EventLog.open(database)
    hive = Hive(mailbox, events)
    servers = []
    for number in range(agents):
        await mailbox.register(f"a{number}", number + 1)
        path = str(folder / f"a{number}.sock")
        servers.append(await asyncio.get_running_loop().create_unix_server(partial(hive.accept, f"a{number}"), path))
    print("ready", flush=True)
    await hive.follow(events.subscribe(limit=10**9))


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
