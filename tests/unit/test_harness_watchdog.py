"""A service manager that asks is told that the harness lives."""

import asyncio
import socket
from pathlib import Path

from hyperhive.harness import watchdog


def test_who_asks_is_told_over_and_over(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.setblocking(False)
            told = asyncio.create_task(
                watchdog.run({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000"})
            )
            for _ in range(2):
                assert await asyncio.get_running_loop().sock_recv(manager, 100) == b"WATCHDOG=1"
            told.cancel()

    asyncio.run(main())


def test_where_nobody_asks_nothing_is_told(tmp_path: Path) -> None:
    asyncio.run(watchdog.run({}))
    asyncio.run(watchdog.run({"NOTIFY_SOCKET": str(tmp_path / "notify")}))
