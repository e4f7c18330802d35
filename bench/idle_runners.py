"""The connections of many idle agents in one process: `python -m bench.idle_runners DIRECTORY COUNT`.

DIRECTORY holds `a<n>/mcp.sock`. It prints `ready` when all wait for mail, and ends with status 1 when one is lost.
"""

import asyncio
import sys
import uuid
from pathlib import Path

import uvloop

from hyperhive.harness.link import Link
from hyperhive.harness.mail import Mail
from hyperhive.protocol import agent
from hyperhive.protocol.agent import MAX_WAIT_S, Hello, Welcome
from hyperhive.protocol.rpc import Nothing


class Runner:
    """A runner's link and mail, and nothing behind them."""

    def __init__(self, socket: Path) -> None:
        self.link = Link(socket, Hello(boot_id=uuid.uuid4().hex))
        self.mail = Mail(self.link)
        self.welcomes = 0
        self.link.on_welcome.append(self._welcomed)

    def _welcomed(self, _: Welcome) -> None:
        self.welcomes += 1
        if self.welcomes > 1:
            raise RuntimeError("the connection was lost")

    async def wait_for_mail(self) -> None:
        while True:
            await self.mail.receive(MAX_WAIT_S)


async def main(directory: Path, count: int) -> None:
    runners = [Runner(directory / f"a{number}" / "mcp.sock") for number in range(count)]
    async with asyncio.TaskGroup() as group:
        for runner in runners:
            group.create_task(runner.link.run())
            group.create_task(runner.wait_for_mail())
        for runner in runners:  # an answer says that the call before it, which waits for mail, has arrived
            await runner.link.call(agent.WHOAMI, lambda _: Nothing())
        print("ready", flush=True)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
