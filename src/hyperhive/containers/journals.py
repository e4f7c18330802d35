"""Reading the journal of a container: hostile files, so a process in a container of its own reads them.

It has nothing but these files, which it can't write, and the uid that owns them. What it says is as hostile as they
are.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from hyperhive.containers import logs
from hyperhive.containers.keeper import Keeper
from hyperhive.containers.spec import ContainerSpec, Limits, Mount
from hyperhive.protocol.faults import FaultError, FaultKind

READ_S: Final = 20.0
_LIMITS: Final = Limits(memory_bytes=256 << 20, cpu_percent=100, pids=16, tmp_bytes=1 << 20)
_INSIDE: Final = "/journal"


@dataclass(frozen=True, kw_only=True)
class Journals:
    """`keeper` makes the readers' containers."""

    keeper: Keeper
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def tail(self, journal: Path, *, lines: int, boot: bool) -> list[str]:
        """Raises FaultError (`backend`)."""
        spec = await asyncio.to_thread(self._spec, journal, lines, boot, follow=False)
        try:
            async with asyncio.timeout(READ_S):
                await (await self.keeper.start(spec)).wait()
                # Its own words alone: a hive that was killed may have left those of another reader.
                return await self.keeper.logs(spec.name, lines=lines, boot=True)
        except TimeoutError:
            raise FaultError(FaultKind.BACKEND, f"reading the journal took longer than {READ_S:g} seconds") from None
        finally:
            await asyncio.shield(self._end(spec.name))

    async def follow(self, journal: Path, *, lines: int, boot: bool) -> AsyncGenerator[str]:
        spec = await asyncio.to_thread(self._spec, journal, lines, boot, follow=True)
        try:
            await self.keeper.start(spec)
            async for line in self.keeper.follow_logs(spec.name, lines=logs.MAX_LINES, boot=True):
                yield line
        finally:
            await asyncio.shield(self._end(spec.name))

    def _spec(self, journal: Path, lines: int, boot: bool, *, follow: bool) -> ContainerSpec:
        options = ["--no-pager", "--quiet", "--output=short-iso", f"--lines={max(1, min(lines, logs.MAX_LINES))}"]
        options += ["--boot"] * boot + ["--follow"] * follow
        return ContainerSpec(
            name=f"journal-{next(self._numbers)}",
            argv=("journalctl", f"--directory={_INSIDE}", *options),
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            limits=_LIMITS,
            mounts=(Mount(source=journal, target=PurePosixPath(_INSIDE)),),
            uid=journal.lstat().st_uid,
            cwd=PurePosixPath("/"),
        )

    async def _end(self, name: str) -> None:
        await self.keeper.kill(name)
        await self.keeper.erase(name)
