"""When a target is told what: with a clock that is moved by hand and a service that the test plays."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from hand_clock import HandClock
from hyperhive.config.notify import Target
from hyperhive.hub.notify.outlet import AGAIN_S, BURST, COLLECT_S, MAX_WAITING, Outlet
from hyperhive.hub.notify.words import MAX_LINES, News
from hyperhive.protocol.notify import NotifyKind

TARGET = Target(name="phone", url="json://127.0.0.1/x")


def approval(number: int) -> News:
    return News(kind=NotifyKind.APPROVAL, text=f"#{number} spawn of scout")


class House:
    def __init__(self, target: Target = TARGET) -> None:
        self.clock = HandClock()
        self.told: list[tuple[str, str]] = []
        self.error = ""  #: what goes wrong with the service
        self.outlet = Outlet(target, self._send, lambda: "https://hive.example", self.clock)

    async def _send(self, _: Target, title: str, body: str) -> str:
        self.told.append((title, body))
        return self.error

    async def rests(self) -> None:
        """Until everybody waits for the clock or for news."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def pass_(self, seconds: float) -> None:
        await self.rests()
        self.clock.advance(seconds)
        await self.rests()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.outlet.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def play(scene: Callable[[House], Awaitable[None]], house: House | None = None) -> None:
    async def run() -> None:
        at = house or House()
        async with at.running():
            await scene(at)

    asyncio.run(run())


def test_what_comes_within_a_few_seconds_is_one_message() -> None:
    async def scene(house: House) -> None:
        house.outlet.tell(approval(1))
        await house.pass_(COLLECT_S / 2)
        house.outlet.tell(approval(2))
        assert house.told == []
        await house.pass_(COLLECT_S)
        (told,) = house.told
        assert told[0] == "hyperhive: 2 things happened in the hive"
        assert told[1].splitlines() == [
            "- An approval waits: #1 spawn of scout",
            "- An approval waits: #2 spawn of scout",
            "The dashboard: https://hive.example",
        ]

    play(scene)


def test_a_target_is_told_only_what_it_is_for() -> None:
    async def scene(house: House) -> None:
        house.outlet.tell(approval(1))
        await house.pass_(COLLECT_S)
        assert house.told == []
        assert house.outlet.on_wire().waiting == 0

    play(scene, House(Target(name="phone", url="json://x/y", kinds=[NotifyKind.QUESTION])))


def test_after_a_burst_a_target_is_told_once_a_minute_and_of_what_came_meanwhile_by_number() -> None:
    async def scene(house: House) -> None:
        for number in range(BURST):
            house.outlet.tell(approval(number))
            await house.pass_(COLLECT_S)
        assert len(house.told) == BURST
        for number in range(MAX_WAITING + 100):
            house.outlet.tell(approval(number))
        await house.pass_(COLLECT_S)
        assert len(house.told) == BURST
        assert house.outlet.on_wire().waiting == MAX_WAITING + 100
        await house.pass_(60)
        title, body = house.told[BURST]
        assert title == "hyperhive: 150 things happened in the hive"
        assert body.splitlines()[MAX_LINES] == f"and {150 - MAX_LINES} more"
        await house.pass_(3600)
        assert len(house.told) == BURST + 1

    play(scene)


def test_a_target_that_fails_is_tried_again_ever_later_and_then_given_up() -> None:
    async def scene(house: House) -> None:
        house.error = "it cannot be reached"
        house.outlet.tell(approval(1))
        await house.pass_(COLLECT_S)
        for tries, wait in enumerate(AGAIN_S, 1):
            assert len(house.told) == tries
            assert house.outlet.on_wire().waiting == 1
            await house.pass_(wait - 0.5)
            assert len(house.told) == tries
            await house.pass_(0.5)
        await house.pass_(86400)
        assert len(house.told) == 1 + len(AGAIN_S)
        row = house.outlet.on_wire()
        assert (row.waiting, row.sent, row.given_up, row.error) == (0, 0, 1, "it cannot be reached")

    play(scene)


def test_a_target_that_comes_back_gets_what_it_missed_and_then_the_rest() -> None:
    async def scene(house: House) -> None:
        house.error = "it cannot be reached"
        house.outlet.tell(approval(1))
        await house.pass_(COLLECT_S)
        house.outlet.tell(approval(2))
        house.error = ""
        await house.pass_(AGAIN_S[0])
        await house.pass_(COLLECT_S)
        assert [body.splitlines()[0] for _, body in house.told] == [
            "#1 spawn of scout",
            "#1 spawn of scout",
            "#2 spawn of scout",
        ]
        row = house.outlet.on_wire()
        assert (row.waiting, row.sent, row.given_up, row.error) == (0, 2, 0, row.error)
        assert not row.error

    play(scene)
