"""A disk that an agent fills: the guard with a hand's clock and rooms that a test makes, and a whole hive."""

import asyncio
import contextlib
import dataclasses
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

import needs
from hand_clock import HandClock
from hyperhive.config.paths import Paths
from hyperhive.config.room import Room, size_words
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.agents import Phase
from hyperhive.hub.disk import LATEST_S
from hyperhive.hub.disk_guard import CALM_S, DiskGuard, Tenant
from hyperhive.hub.hive import Hive
from hyperhive.hub.notify.newsroom import Newsroom
from hyperhive.hub.notify.words import News
from hyperhive.hub.status import status_row
from hyperhive.process import CommandFailed, run
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.ids import AgentName, container_name
from hyperhive.protocol.notify import NotifyKind
from hyperhive.rehearsal.script import Say, on
from hyperhive.testing.model import ScriptedModel

MIB = 1 << 20
PATIENCE_S = 120.0


class Block:
    """A landlord of agents that are directories."""

    def __init__(self, root: Path, *names: str) -> None:
        self.root = root
        self.most: dict[str, int] = {}
        self.written: dict[str, int] = dict.fromkeys(names, 0)
        self.down: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.told: list[str] = []
        self.at_once: list[bool] = []
        self.does_not_die = False
        self.while_ending: Callable[[], None] = lambda: None
        for name in (*names, "shared"):
            (root / name).mkdir()

    def tenants(self) -> Sequence[Tenant]:
        return [self._tenant(name) for name in self.written]

    def _tenant(self, name: str) -> Tenant:
        async def written() -> int:
            return self.written[name]

        return Tenant(
            name=name, runs=name not in self.down, is_kept_down=name in self.down, places=(self.root / name,),
            most=self.most.get(name), written=written,
        )  # fmt: skip

    async def keep_down(self, name: str, why: str, *, at_once: bool) -> None:
        self.down[name] = why
        self.at_once.append(at_once)
        await asyncio.to_thread(self.while_ending)
        if self.does_not_die:
            raise FaultError(FaultKind.BACKEND, "it waits for the disk")

    async def let_up(self, name: str) -> bool:
        return self.down.pop(name, None) is not None

    def counted(self, name: str, size: int) -> None:
        self.sizes[name] = size

    def tell_of_stop(self, name: str, why: str) -> None:
        self.told.append(f"{name}: {why}")

    def tell_short(self, text: str) -> None:
        self.told.append(text)

    def writes(self, name: str, mib: int) -> None:
        (self.root / name / f"file-{mib}").write_bytes(b"x" * (mib * MIB))


@dataclasses.dataclass
class Scene:
    guard: DiskGuard
    block: Block
    clock: HandClock
    room: Room

    async def look(self, *, free: int | None = None, after_s: float = LATEST_S) -> None:
        """Time passes, and all that it brings has come."""
        if free is not None:
            self.room = dataclasses.replace(self.room, free=free * MIB)
        self.clock.advance(after_s)
        await self.guard.settled()


@contextlib.asynccontextmanager
async def guarded(root: Path, *names: str) -> AsyncIterator[Scene]:
    """A disk of 100 MiB of which 50 are free; its floor is at 10, and there is room again at 12.5."""
    block, clock = Block(root, *names), HandClock()
    guard = DiskGuard(place=root, commons=root / "shared", landlord=block, clock=clock, room_at=lambda _: scene.room)
    scene = Scene(guard, block, clock, Room(free=50 * MIB, total=100 * MIB))
    async with asyncio.timeout(PATIENCE_S):
        await guard.open()
        await scene.look(after_s=0)
        try:
            yield scene
        finally:
            await guard.close()


def test_who_fills_the_disk_is_stopped_at_once_told_of_once_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    async def main() -> None:
        async with guarded(tmp_path, "a", "b") as s:
            assert s.guard.reserve.stat().st_size > 0
            s.block.writes("a", 41)
            await s.look(free=9)
            assert list(s.block.down) == ["a"]
            assert s.block.at_once == [True]
            assert "9.0 MiB of 100.0 MiB are left" in s.block.down["a"]
            assert "`hive resume a`" in s.block.down["a"]
            assert not s.guard.reserve.exists()
            await s.look()
            assert len(s.block.told) == 1
            await s.look(free=12)  # that is above the floor, and not enough to begin again
            assert s.block.down
            await s.look(free=40)
            assert not s.block.down
            assert s.guard.reserve.stat().st_size > 0

    asyncio.run(main())


def test_who_does_it_again_within_an_hour_waits_for_the_operator(tmp_path: Path) -> None:
    async def main() -> None:
        async with guarded(tmp_path, "a") as s:
            for mib in (41, 42):
                s.block.writes("a", mib)
                await s.look(free=9)
                assert s.block.down
                await s.look(free=40)
                await s.look(after_s=20 * LATEST_S)  # what there is now is what it had before
            assert "by itself" not in s.block.down["a"]
            await s.block.let_up("a")  # by the operator
            await s.look(after_s=CALM_S)
            s.block.writes("a", 43)
            await s.look(free=9)
            assert "by itself" in s.block.down["a"]

    asyncio.run(main())


def test_what_an_agent_writes_until_it_has_ended_is_not_laid_at_another_s_door(tmp_path: Path) -> None:
    async def main() -> None:
        async with guarded(tmp_path, "a", "b") as s:

            def takes_more() -> None:
                s.room = dataclasses.replace(s.room, free=6 * MIB)
                (tmp_path / "b" / ("d/" * 101)).mkdir(parents=True)  # too deep to be counted

            s.block.while_ending = takes_more
            s.block.writes("a", 41)
            await s.look(free=9)
            assert list(s.block.down) == ["a"]
            await s.look()
            assert list(s.block.down) == ["a"]

    asyncio.run(main())


def test_who_did_not_end_in_time_goes_on_by_itself_all_the_same_when_there_is_room(tmp_path: Path) -> None:
    async def main() -> None:
        async with guarded(tmp_path, "a") as s:
            s.block.does_not_die = True
            s.block.writes("a", 41)
            await s.look(free=9)
            assert s.block.down
            assert not s.block.told
            await s.look(free=40)
            assert not s.block.down

    asyncio.run(main())


def test_room_that_others_of_the_host_took_is_told_of_once_and_costs_no_agent_anything(tmp_path: Path) -> None:
    async def main() -> None:
        async with guarded(tmp_path, "a", "b") as s:
            for free in (9, 8, 7):
                await s.look(free=free)
            assert not s.block.down
            assert [text.endswith("make room") for text in s.block.told] == [True]
            await s.look(free=40)
            await s.look(free=9)
            assert len(s.block.told) == 2

    asyncio.run(main())


def test_what_an_agent_has_deleted_and_keeps_open_is_seen_in_what_it_wrote(tmp_path: Path) -> None:
    async def main() -> None:
        async with guarded(tmp_path, "a", "b") as s:
            s.block.written["b"] = 40 * MIB
            await s.look(free=9)
            assert list(s.block.down) == ["b"]

    asyncio.run(main())


def test_a_disk_that_is_short_when_the_hive_begins_is_told_of_and_who_goes_on_filling_it_is_stopped(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with guarded(tmp_path, "a", "b") as s:
            await s.guard.close()
            s.block.writes("a", 20)
            s.room = dataclasses.replace(s.room, free=5 * MIB)
            s.guard = dataclasses.replace(
                s.guard, _background=type(s.guard._background)(), _free_before=None, _before={}
            )
            await s.guard.open()
            await s.look(after_s=0)
            assert not s.block.down
            assert len(s.block.told) == 1
            s.block.writes("b", 21)
            await s.look(free=4)
            assert list(s.block.down) == ["b"]
            await s.guard.close()

    asyncio.run(main())


def test_who_starts_while_the_disk_is_short_has_not_taken_what_it_has_had_all_along(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "a").mkdir()
        block, clock = Block(tmp_path / "a", "big", "small"), HandClock()
        block.writes("big", 20)
        block.down |= dict.fromkeys(("big", "small"), "not started yet")
        guard = DiskGuard(
            place=tmp_path, commons=tmp_path / "a/shared", landlord=block, clock=clock, room_at=lambda _: scene.room
        )
        scene = Scene(guard, block, clock, Room(free=8 * MIB, total=100 * MIB))
        await guard.open()
        await scene.look(after_s=0)
        block.down.clear()
        await scene.look(free=6)  # the host's doing
        assert not block.down
        block.writes("small", 3)
        await scene.look(free=3)
        assert list(block.down) == ["small"]
        await guard.close()

    asyncio.run(main())


def test_who_has_more_than_it_may_is_stopped_gently_and_goes_on_with_less_or_by_the_operators_word(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with guarded(tmp_path, "a", "b") as s:
            s.block.most["a"] = 10 * MIB
            s.block.writes("a", 20)
            await s.look()
            assert s.block.sizes["a"] >= 20 * MIB
            assert s.block.at_once == [False]
            assert f"limits.disk_max is {size_words(10 * MIB)}" in s.block.down["a"]
            await s.look()
            assert len(s.block.told) == 1
            (tmp_path / "a" / "file-20").unlink()
            await s.look()
            assert not s.block.down
            s.block.writes("a", 21)
            await s.look()
            assert s.block.down
            await s.block.let_up("a")
            for _ in range(3):
                await s.look()
            assert not s.block.down  # it has time to make room
            await s.look(after_s=CALM_S)
            assert s.block.down
            s.block.most.clear()
            await s.look()
            assert not s.block.down

    asyncio.run(main())


# a whole hive


@contextlib.contextmanager
def small_disk(mib: int) -> Iterator[Path]:
    """A directory whose `state` is a file system of its own."""
    with tempfile.TemporaryDirectory(prefix="hh-", ignore_cleanup_errors=True) as name:
        state = Path(name) / "state"
        state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(state)], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", str(state)], check=True)


async def until(hive: Hive, condition: Callable[[], object]) -> None:
    with hive.fleet.chronicle.changes.subscribe() as changes:
        while not condition():
            await changes.batch()


@pytest.mark.claude
@pytest.mark.container
@pytest.mark.timeout(180)
def test_an_agent_that_fills_the_disk_through_its_state_is_stopped_and_the_hive_and_the_others_go_on() -> None:
    needs.root()
    needs.bwrap()
    needs.claude()

    async def main(root: Path) -> None:
        paths = Paths(state_dir=root / "state", runtime_dir=root / "run")
        paths.rehearsal.mkdir(parents=True)
        async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=paths.rehearsal) as hive:
            model = ScriptedModel(paths.rehearsal_socket)
            await asyncio.to_thread(model.__enter__)
            try:
                await attacked(hive, model)
            finally:
                for name in hive.fleet.names():
                    await hive.fleet.stop(name)
                await asyncio.to_thread(model.__exit__, None, None, None)

    async def attacked(hive: Hive, model: ScriptedModel) -> None:
        fleet, filler = hive.fleet, AgentName("filler")
        for name in ("filler", "other"):
            await fleet.make(AgentName(name), {"agent.toml": ""})
            await fleet.start(name)
        model.script("*", on("", Say("Yes.")))
        agent = fleet.get(filler)
        await until(hive, lambda: agent.disk_bytes is not None and all(each.peer for each in fleet.agents()))
        news: list[News] = []
        room = Newsroom(fleet=fleet, mailbox=hive.mailbox, asking=hive.asking)
        following = asyncio.create_task(room.follow(news.append, lambda kind: kind is NotifyKind.DISK))
        keeper = fleet.house.keeper(agent)
        argv = keeper.enter_argv(
            container_name(filler), ["sh", "-c", "cat /dev/zero > /state/fill; exec cat /dev/zero >> /state/fill-2"],
            env={"PATH": "/usr/bin:/bin"}, cwd="/state",
        )  # fmt: skip
        filling = asyncio.create_task(run(argv, timeout=PATIENCE_S))
        await until(hive, lambda: agent.no_room and agent.phase is Phase.STOPPED)
        with pytest.raises(CommandFailed):
            await filling
        row = status_row(agent, 0)
        assert (row.state, row.running) == ("no_room", False)
        assert "`hive resume filler`" in str(row.no_room)
        await until(hive, lambda: news)
        assert [(each.kind, each.text.startswith("filler: ")) for each in news] == [(NotifyKind.DISK, True)]

        (fleet.house.paths.agent_state(filler) / "fill").write_bytes(b"")  # the operator makes room
        answered = (await hive.desk.send("other", "are you there?", mid=os.urandom(4).hex())).ids[0]
        with fleet.chronicle.mail_changes.subscribe() as moved:
            while (await hive.mailbox.receipt(answered)).state != "handled":
                await moved.batch()
        await until(hive, lambda: agent.peer)  # by itself
        assert not agent.no_room
        following.cancel()

    with small_disk(192) as root:
        asyncio.run(main(root))
