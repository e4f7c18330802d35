"""A process that sends, receives and acks as fast as it can and says what it was told: to be killed by its test.

Lines on stdout, each written at once: `ready`, `sent <mid> <id>`, `got <id> <begun>`, `acked <id>`, `drained`.
"""

import asyncio
import os
import sys
from pathlib import Path

from hyperhive.broker.database import Database
from hyperhive.broker.letters import Draft, Limits
from hyperhive.broker.mailbox import Mailbox

SENDERS = 8


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def send(mailbox: Mailbox, sender: int, first: int, count: int) -> None:
    """The first is the one whose answer was not seen: it is sent again under its old mid."""
    for number in range(first, first + count):
        mid = f"{sender}:{number}"
        sent = await mailbox.send(Draft(sender="alice", kind="agent", to="bob", body=f"body of {mid}", mid=mid))
        say("sent", mid, sent.ids[0])


async def receive(mailbox: Mailbox, boot: str, wait: float) -> None:
    """Until nothing comes for so long."""
    epoch = await mailbox.begin_epoch("bob", boot)
    while messages := (await mailbox.recv("bob", epoch.number, wait, 5)).messages:
        for message in messages:
            say("got", message.id, message.begun)
        ids = [message.id for message in messages]
        await mailbox.ack("bob", epoch.number, ids)
        for number in ids:
            say("acked", number)


async def main(path: str, boot: str, drain: bool, firsts: list[int]) -> None:
    database = await Database.open(Path(path))
    mailbox = await Mailbox.open(database, limits=Limits(burst=1_000_000, inbox=1_000_000, max_attempts=1_000))
    await mailbox.register("alice", 1)
    await mailbox.register("bob", 2)
    say("ready")
    count = 1 if drain else 1_000_000
    traffic = asyncio.gather(*(send(mailbox, sender, first, count) for sender, first in enumerate(firsts)))
    await receive(mailbox, boot, 1)
    await traffic
    mailbox.close()
    await database.close()
    say("drained")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] == "drain", [int(word) for word in sys.argv[4:]]))
