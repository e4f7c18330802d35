import asyncio
from pathlib import Path

import pytest

from broker_house import House, failing_at, healed, play
from hand_clock import HandClock
from hyperhive.broker.due import Due
from hyperhive.broker.questions import BURST, Party
from hyperhive.broker.reminders import MAX_AHEAD_S, ReminderRow
from hyperhive.protocol.agent import MAX_REMINDER, MAX_REMINDERS
from hyperhive.protocol.faults import FaultError, FaultKind

SCOUT = Party(name="scout", incarnation=1)


async def remind(house: House, delay: float = 10, message: str = "look", **more: str) -> ReminderRow:
    return await house.reminders.remind(SCOUT, message, house.clock.now() + delay, **more)


async def pending(house: House, count: int) -> list[ReminderRow]:
    """What is pending, once it is so many."""
    async with asyncio.timeout(20):
        while len(rows := await house.reminders.pending()) != count:
            await house.settled()
            house.clock.advance(0)
        return rows


def test_a_reminder_comes_when_it_is_due(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.mailbox.register("scout", 1)
        changes: list[ReminderRow] = []
        house.reminders.on_change = changes.append
        late, early = await remind(house, 20, "later"), await remind(house, 10, "sooner")
        assert [row.id for row in await house.reminders.pending()] == [early.id, late.id]
        assert house.clock.waits == 1
        async with house.delivering():
            house.clock.advance(9.9)
            await house.settled()
            assert await house.owed() == []
            house.clock.advance(0.1)
            (mail,) = await house.inbox("scout", 1)
            assert (mail.sender, mail.body) == ("reminder", "sooner")
            house.clock.advance(10)
            assert [row.body for row in await house.inbox("scout", 2)] == ["sooner", "later"]
        assert [row.outcome for row in changes] == ["", "", "sent", "sent"]
        assert await house.reminders.pending() == []

    play(tmp_path, scene)


def test_a_reminder_for_a_time_that_has_passed_comes_at_once(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await remind(house, -1_000)
        house.clock.advance(0)
        await pending(house, 0)
        assert await house.owed() == [("scout", "look")]

    play(tmp_path, scene)


def test_what_fell_due_while_the_hive_was_away_comes_at_its_start_and_once(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await remind(house, 10)
        await remind(house, 100, "not yet")
        house.reminders.close()
        house.clock.advance(50)
        assert await house.owed() == []

    async def after(house: House) -> None:
        await pending(house, 1)
        assert await house.owed() == [("scout", "look")]

    async def much_later(house: House) -> None:
        house.clock.advance(0)
        await house.settled()
        assert await house.owed() == [("scout", "look")]
        house.clock.advance(50)
        await pending(house, 0)
        assert await house.owed() == [("scout", "look"), ("scout", "not yet")]

    play(tmp_path, before, after, much_later)


@pytest.mark.parametrize(("table", "event"), [("notices", "INSERT"), ("reminders", "UPDATE")])
def test_a_reminder_is_settled_with_its_message_or_tried_again(tmp_path: Path, table: str, event: str) -> None:
    async def broken(house: House) -> None:
        mistakes: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: mistakes.append(context))
        await remind(house)
        await house.database.write(failing_at(table, event))
        house.clock.advance(10)
        async with asyncio.timeout(20):
            while not mistakes:
                await house.settled()
        assert len(await house.reminders.pending()) == 1
        assert await house.owed() == []
        await house.database.write(healed)
        house.clock.advance(5)
        await pending(house, 0)
        assert await house.owed() == [("scout", "look")]

    play(tmp_path, broken)


def test_many_that_are_due_at_once_all_come_in_order(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for number in range(130):
            agent = Party(name=f"scout-{number % 5}", incarnation=1)
            await house.reminders.remind(agent, f"{number:03}", house.clock.now() + 5)
        house.clock.advance(5)
        await pending(house, 0)
        assert [body for _, body in await house.owed()] == [f"{number:03}" for number in range(130)]

    play(tmp_path, scene)


def test_so_many_are_pending_of_one_agent(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for number in range(MAX_REMINDERS):
            await remind(house, mid=f"{number}")
        with pytest.raises(FaultError, match=f"{MAX_REMINDERS} are pending") as refused:
            await remind(house)
        assert refused.value.kind is FaultKind.WRONG_STATE
        assert (await remind(house, mid="0")).id == 1
        await house.reminders.remind(Party(name="guard", incarnation=2), "mine", house.clock.now() + 1)
        assert await house.reminders.counts() == {"guard": 1, "scout": MAX_REMINDERS}

    play(tmp_path, scene)


def test_a_reminder_has_a_size_and_a_horizon(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await remind(house, message="é" * (MAX_REMINDER // 2))
        with pytest.raises(FaultError) as long:
            await remind(house, message="é" * (MAX_REMINDER // 2) + "x")
        assert long.value.kind is FaultKind.BODY_TOO_LONG
        for delay in (MAX_AHEAD_S + 1, float("nan"), float("inf")):
            with pytest.raises(FaultError) as far:
                await remind(house, delay)
            assert far.value.kind is FaultKind.INVALID_PARAMS
        assert len(await house.reminders.pending("scout")) == 1

    play(tmp_path, scene)


def test_one_cancels_ones_own_and_the_operator_anyones(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first, second = await remind(house), await remind(house)
        with pytest.raises(FaultError, match="you have none") as stranger:
            await house.reminders.cancel(first.id, agent="guard")
        assert stranger.value.kind is FaultKind.UNKNOWN_REMINDER
        assert (await house.reminders.cancel(first.id, agent="scout")).outcome == "cancelled"
        await house.reminders.cancel(second.id, agent=None)
        with pytest.raises(FaultError, match="it was cancelled already") as late:
            await house.reminders.cancel(first.id, agent="scout")
        assert late.value.kind is FaultKind.WRONG_STATE
        house.clock.advance(20)
        await house.settled()
        assert await house.owed() == []

    play(tmp_path, scene)


def test_what_a_destroyed_agent_had_set_never_comes(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await remind(house)
        await house.reminders.remind(Party(name="scout", incarnation=4), "of another life", house.clock.now() + 10)
        (gone,) = await house.reminders.forget("scout", 1)
        assert gone.outcome == "forgotten"
        house.clock.advance(10)
        await pending(house, 0)
        assert await house.owed() == [("scout", "of another life")]

    play(tmp_path, scene)


def test_a_reminder_reaches_the_life_that_set_it_and_no_later_one(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.mailbox.register("scout", 4)
        await remind(house, 10, "of the first life")
        await house.reminders.remind(Party(name="scout", incarnation=4), "of this life", house.clock.now() + 10)
        house.clock.advance(10)
        await pending(house, 0)
        async with house.delivering():
            await house.nothing_owed()
        assert [row.body for row in await house.mailbox.inbox("scout")] == ["of this life"]

    play(tmp_path, scene)


def test_old_reminders_go_and_pending_ones_stay(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first, second = await remind(house), await remind(house, 100)
        await house.reminders.cancel(first.id, agent=None)
        house.clock.advance(1)
        assert await house.reminders.vacuum(house.clock.now()) == 1
        assert await house.reminders.pending() == [second]

    play(tmp_path, scene)


def test_an_agent_that_sets_reminders_without_end_is_slowed_down(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for _ in range(BURST):
            await house.reminders.cancel((await remind(house)).id, agent="scout")
        with pytest.raises(FaultError, match="try again in") as refused:
            await remind(house)
        assert refused.value.kind is FaultKind.TOO_FAST
        house.clock.advance(1)
        await remind(house)

    play(tmp_path, scene)


class JumpingClock(HandClock):
    """Its wall clock can be set."""

    jump = 0.0

    def now(self) -> float:
        return super().now() + self.jump


def test_a_wall_clock_that_was_set_is_noticed() -> None:
    async def scene() -> None:
        clock = JumpingClock()
        rung: list[float] = []

        def settle(now: float) -> "asyncio.Future[float]":
            rung.append(now)
            future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            future.set_result(float("inf"))
            return future

        due = Due(clock, settle)
        due.expect(clock.now() + 86_400)
        clock.jump = 90_000
        clock.advance(600)
        assert rung == [clock.now()]
        due.close()

    asyncio.run(scene())
