"""Keeps the hive's disk from being filled by an agent: looks how much room is left, often only where it is little, and
stops the container that takes it. `disk` decides who that is.

While a disk is full the hive answers, and keeps what it has; it can take nothing new. So whoever fills it is stopped
first and told about afterwards, when a little room that was held in reserve makes that possible.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import structlog

from hyperhive.broker.clock import Clock, SystemClock
from hyperhive.broker.deadlines import Alarm
from hyperhive.config import trees
from hyperhive.config.room import Floor, Room, size_words
from hyperhive.hub.background import Background
from hyperhive.hub.disk import LATEST_S, Part, Use, culprit, look_again_s
from hyperhive.protocol.faults import FaultError

RESERVE: Final = 8 << 20
COUNT_S: Final = 60.0
"""Between two countings of what agents have while there is room, where one of them has a bound; else ten times it."""
PAUSE_S: Final = 0.01
"""Given to others again and again while counting without need for haste."""
BELOW: Final = 0.95
"""Times its bound: what an agent that had more may have to go on by itself."""
CALM_S: Final = 3600.0
"""Within it an agent that was stopped for filling the disk goes on by itself once; and so long has one that is over
its bound for making room, when the operator lets it go on."""

WORTH_BYTES: Final = 1 << 20
WORTH_FILES: Final = 1000
"""What must be lost of a short disk's room until it is counted who took it."""
HURRY_S: Final = 0.5
LEISURE_S: Final = 10.0
"""What the counting of one tree may take: where the disk is short, and else."""
Count = Callable[[Path], Awaitable[trees.Usage]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """One who has part of the disk."""

    name: str
    runs: bool  #: it can write now
    is_kept_down: bool  #: by this guard, and by nobody meanwhile let go
    places: tuple[Path, ...]  #: that are its own
    owners: range = range(0)  #: uids that are its own, where others write, too
    most: int | None = None  #: bytes that it may have
    written: Callable[[], Awaitable[int]]  #: by its container so far


class Landlord(Protocol):
    """Whose disk it is."""

    def tenants(self) -> Sequence[Tenant]: ...

    async def keep_down(self, name: str, why: str, *, at_once: bool) -> None:
        """End its container, and start none until `let_up` or until the operator wants it. Raises FaultError."""

    async def let_up(self, name: str) -> bool: ...

    def counted(self, name: str, size: int) -> None:
        """So many bytes are its own, or more."""

    def tell_of_stop(self, name: str, why: str) -> None:
        """Its container is down now; whoever should know is told."""

    def tell_short(self, text: str) -> None:
        """There is little room, and no agent that it could be taken from."""


@dataclass(kw_only=True)
class _Kept:
    """An agent that was stopped."""

    why: str
    over: bool  #: it has more than it may, rather than that it filled the disk
    goes_on_itself: bool


@dataclass(kw_only=True)
class DiskGuard:
    """`open` when the fleet is there, `close` at the end."""

    place: Path  #: on the file system in question, the hive's own
    commons: Path  #: where all agents write
    landlord: Landlord
    clock: Clock = field(default_factory=SystemClock)
    room_at: Callable[[Path], Room] = Room.at  #: called off the loop
    wanted_floor: int | None = None  #: in bytes; 0: only the bounds of agents are looked after
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _let_go_at: dict[str, float] = field(default_factory=dict)  #: by itself, after the disk was short
    _excused_until: dict[str, float] = field(default_factory=dict)
    _before: dict[str, Use] = field(default_factory=dict)
    _free_before: tuple[int, int] | None = None
    _counted_at: float = -float("inf")
    _is_told: bool = False
    _was_short: bool = False
    _alarm: Alarm | None = None
    _looking: bool = False
    _counting: bool = False
    _background: Background = field(default_factory=Background)

    @property
    def reserve(self) -> Path:
        return self.place / "reserve"

    async def open(self) -> None:
        self._alarm = Alarm(self.clock, self.look)
        self.look()

    async def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        await self._background.close()

    def look(self) -> None:
        """Now, unless it is being looked already."""
        if self._alarm is not None and not self._looking and not self._background.closed:
            self._looking = True
            self._background.begin(self._look())

    async def settled(self) -> None:
        """Until nothing is being looked at or counted."""
        await self._background.settled()

    async def _look(self) -> None:
        again_s = LATEST_S
        try:
            again_s = await self._look_once()
        except OSError as error:
            log.error("cannot see how much room the disk has", error=str(error))
        finally:
            self._looking = False
            if self._alarm is not None:
                self._alarm.set(self.clock.monotonic() + again_s)

    async def _look_once(self) -> float:
        room = await asyncio.to_thread(self.room_at, self.place)
        floor = Floor.of(room, self.wanted_floor)
        self._see_who_was_let_go()
        if floor.is_short(room):
            await self._short(room, floor)
        else:
            await self._enough(room, floor)
        return look_again_s(room, floor)

    # there is little room

    async def _short(self, room: Room, floor: Floor) -> None:
        self._was_short = True
        files = not floor.lacks_bytes(room)
        lost = self._lost(room, files=files)
        if lost < (WORTH_FILES if files else WORTH_BYTES) and self._free_before is not None:
            return  # a disk may be short for days: counting costs more than looking
        # The first time, everybody: who starts later has not taken then what it has now.
        looked_at = self.landlord.tenants() if self._free_before is None else self._running()
        uses = await self._count(looked_at, within_s=HURRY_S)
        who = culprit(self._before, uses, lost=lost, files=files)
        if who is not None:
            await self._stop(who, self._why(room, files=files), over=False)
            room = await asyncio.to_thread(self.room_at, self.place)  # what it took until it had ended was its doing
        elif (lost > 0 or self._free_before is None) and not self._is_told:
            self._is_told = True
            await asyncio.to_thread(self._use_reserve)
            self.landlord.tell_short(f"{_left(room, files=files)}, and no agent is seen to have taken it: make room")
        self._remember(room, uses)

    def _lost(self, room: Room, *, files: bool) -> int:
        """Since it was last counted who has what; nothing the first time."""
        free, files_free = self._free_before or (room.free, room.files_free)
        return files_free - room.files_free if files else free - room.free

    def _why(self, room: Room, *, files: bool) -> str:
        return f"the disk was being filled by it: {_left(room, files=files)}"

    # there is enough

    async def _enough(self, room: Room, floor: Floor) -> None:
        if floor.is_clear_of(room):
            if self._was_short:
                self._is_told = self._was_short = False
                self._counted_at = -float("inf")  # what was remembered is how things were when there was no room
            await asyncio.to_thread(self._fill_reserve, min(RESERVE, room.total // 64))
            for name, kept in list(self._kept.items()):
                if not kept.over and kept.goes_on_itself:
                    self._let_go_at[name] = self.clock.monotonic()
                    await self._let_up(name)
        if self._count_is_due(room, floor) and not self._counting and not self._background.closed:
            self._counting = True
            self._background.begin(self._count_all())

    def _count_is_due(self, room: Room, floor: Floor) -> bool:
        tenants = self.landlord.tenants()
        often = bool(self._kept) or room.free < floor.free * 2 or any(one.most is not None for one in tenants)
        is_old = self.clock.monotonic() >= self._counted_at + (COUNT_S if often else 10 * COUNT_S)
        return is_old or any(one.name not in self._before for one in tenants)

    async def _count_all(self) -> None:
        """At leisure, while it is looked on: agents can have so much that it takes long."""
        try:
            uses = await self._count(self.landlord.tenants(), pause_s=PAUSE_S)
            room = await asyncio.to_thread(self.room_at, self.place)
            if not Floor.of(room, self.wanted_floor).is_short(room):  # else what it had before that is what matters
                self._remember(room, uses)
            await self._hold_to_bounds(uses)
        finally:
            self._counting = False

    async def _hold_to_bounds(self, uses: Mapping[str, Use]) -> None:
        for tenant in self.landlord.tenants():
            kept, size = self._kept.get(tenant.name), uses.get(tenant.name, Use()).all_of_it
            if kept is not None and kept.over and (tenant.most is None or size <= tenant.most * BELOW):
                await self._let_up(tenant.name)
            elif kept is None and tenant.most is not None and size > tenant.most and not self._is_excused(tenant.name):
                bound = size_words(tenant.most)
                why = f"it has {size_words(size)} of the disk, and limits.disk_max is {bound}"
                await self._stop(tenant.name, why, over=True)

    def _is_excused(self, name: str) -> bool:
        return self._excused_until.get(name, 0.0) > self.clock.monotonic()

    # who has what

    def _running(self) -> list[Tenant]:
        return [tenant for tenant in self.landlord.tenants() if tenant.runs]

    async def _count(
        self, tenants: Sequence[Tenant], *, within_s: float = LEISURE_S, pause_s: float = 0.0
    ) -> dict[str, Use]:
        def count(place: Path) -> Awaitable[trees.Usage]:
            return asyncio.to_thread(trees.usage, place, within_s=within_s, pause_s=pause_s)

        commons = await count(self.commons)
        return {tenant.name: await self._count_one(tenant, commons, count) for tenant in tenants}

    async def _count_one(self, tenant: Tenant, commons: trees.Usage, count: Count) -> Use:
        own = [await count(place) for place in tenant.places]
        shares = [holding for uid, holding in commons.by_owner.items() if uid in tenant.owners]
        return Use(
            size=sum(part.size for part in own),
            files=sum(part.files for part in own),
            whole=all(part.whole for part in own),
            common=Part(
                size=sum(part.size for part in shares), files=sum(part.files for part in shares), whole=commons.whole
            ),
            written=await tenant.written(),
        )

    def _remember(self, room: Room, uses: Mapping[str, Use]) -> None:
        for name, use in uses.items():
            self.landlord.counted(name, use.all_of_it)
        there = {tenant.name for tenant in self.landlord.tenants()}
        self._before = {name: use for name, use in {**self._before, **uses}.items() if name in there}
        self._free_before = (room.free, room.files_free)
        self._counted_at = self.clock.monotonic()

    # stopping and letting go

    async def _stop(self, name: str, why: str, *, over: bool) -> None:
        now = self.clock.monotonic()
        again = not over and self._let_go_at.get(name, -CALM_S) + CALM_S > now
        by_itself = "by itself with less, or with a higher bound" if over else "by itself when there is room"
        how_on = f"`hive resume {name}` lets it go on" + ("" if again else f"; {by_itself}")
        text = f"{why}; {how_on}"
        log.warning("an agent is stopped for the disk's sake", agent=name, why=why)
        self._kept[name] = _Kept(why=text, over=over, goes_on_itself=not again)
        try:
            await self.landlord.keep_down(name, text, at_once=not over)
        except FaultError as fault:  # where the kernel takes its time it ends later, and stays down then
            log.error("an agent could not be stopped", agent=name, error=fault.message)
            return
        if not over:
            await asyncio.to_thread(self._use_reserve)
        self.landlord.tell_of_stop(name, text)

    async def _let_up(self, name: str) -> None:
        self._kept.pop(name, None)
        try:
            await self.landlord.let_up(name)
        except FaultError as fault:
            log.error("an agent that may go on could not be started", agent=name, error=fault.message)

    def _see_who_was_let_go(self) -> None:
        """By the operator, who has their reasons: it has time to make room."""
        down = {tenant.name for tenant in self.landlord.tenants() if tenant.is_kept_down}
        for name in self._kept.keys() - down:
            self._excused_until[name] = self.clock.monotonic() + CALM_S
            del self._kept[name]

    # the reserve

    def _fill_reserve(self, size: int) -> None:
        with contextlib.suppress(OSError):  # a disk without room for it is looked at again
            fd = os.open(self.reserve, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(fd).st_size < size:
                    os.posix_fallocate(fd, 0, size)
            finally:
                os.close(fd)

    def _use_reserve(self) -> None:
        with contextlib.suppress(OSError):
            self.reserve.unlink()


def _left(room: Room, *, files: bool) -> str:
    if files:
        return f"room for {room.files_free} more files is left"
    return f"{size_words(room.free)} of {size_words(room.total)} are left"
