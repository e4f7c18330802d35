import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from broker_house import House, failing_at, healed, play
from hyperhive.broker.decisions import Ending
from hyperhive.broker.jobs import JobDraft, JobKind, JobState
from hyperhive.broker.schedules import ScheduleRow
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import Schedule

HOURLY = Schedule(message="look at the build", every=3600)
NIGHTLY = Schedule(message="tidy up", cron="0 3 * * *", timezone="Europe/Berlin")


async def born(house: House, name: str = "scout") -> int:
    row = await house.roster.add(name)
    await house.mailbox.register(name, row.incarnation)
    return row.incarnation


async def planned(house: House, plan: Mapping[str, Schedule] | None, name: str = "scout") -> None:
    """By the end of a job that deployed it."""
    job = await house.jobs.add(JobDraft(agent=name, kind=JobKind.DEPLOY, source="operator"))
    await house.jobs.begin(job.id)
    await house.decisions.end(job.id, Ending(state=JobState.DONE, schedules=plan))
    await house.schedules.expect()


async def moved(house: House, name: str, last: ScheduleRow) -> ScheduleRow:
    """The schedule once its next time is another."""
    async with asyncio.timeout(20):
        while (row := await only(house, name)).next_at == last.next_at:
            await house.settled()
            house.clock.advance(0)
        return row


async def only(house: House, name: str) -> ScheduleRow:
    (row,) = [row for row in await house.schedules.all() if row.name == name]
    return row


async def passes(house: House, seconds: float, name: str = "hourly") -> ScheduleRow:
    before = await only(house, name)
    house.clock.advance(seconds)
    return await moved(house, name, before)


async def handled(house: House, name: str = "scout") -> None:
    """Its harness reads and handles all it has."""
    number = (await house.mailbox.begin_epoch(name, "boot-of-scout")).number
    ids = [message.id for message in (await house.mailbox.recv(name, number, 1)).messages]
    await house.mailbox.read(name, number, ids, "turn-1")
    await house.mailbox.ack(name, number, ids)


def test_each_time_brings_one_message_that_says_which_and_when(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await born(house)
        await planned(house, {"hourly": HOURLY})
        assert house.clock.waits == 1
        async with house.delivering():
            row = await passes(house, 3600)
            (mail,) = await house.inbox("scout", 1)
        assert (mail.sender, mail.kind) == ("system", "system")
        assert mail.body == "[schedule hourly, due 2023-11-14T23:13:20+00:00]\nlook at the build"
        assert (row.last_at, row.next_at, row.waits) == (house.clock.now(), house.clock.now() + 3600, True)

    play(tmp_path, scene)


def test_the_messages_that_a_sleeping_hive_missed_come_as_one_that_says_how_many(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await born(house)
        await planned(house, {"hourly": HOURLY, "nightly": NIGHTLY})
        house.schedules.close()
        house.clock.advance(5 * 3600 + 60)

    async def after(house: House) -> None:
        last = await only(house, "hourly")
        await house.schedules.open({"scout": {"hourly": HOURLY, "nightly": NIGHTLY}})
        house.clock.advance(0)
        row = await moved(house, "hourly", last)
        assert row.next_at == house.clock.now() + 3600 - 60
        bodies = [body for _, body in await house.owed()]
        assert len(bodies) == 2
        assert "due 2023-11-14T23:13:20+00:00; 4 more times passed without a message]" in bodies[0]
        assert bodies[1] == "[schedule nightly, due 2023-11-15T03:00:00+01:00]\ntidy up"

    play(tmp_path, before, after)


def test_while_its_message_is_unread_no_other_is_sent_and_the_next_says_how_many(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await born(house)
        await planned(house, {"hourly": HOURLY})
        async with house.delivering():
            await passes(house, 3600)
            await house.inbox("scout", 1)
            for times in (1, 2):
                row = await passes(house, 3600)
                assert (row.waits, row.passed) == (True, times)
            assert len(await house.mailbox.inbox("scout")) == 1
            await handled(house)
            assert not (await only(house, "hourly")).waits
            row = await passes(house, 3600)
            assert "; 2 more times passed without a message]" in (await house.inbox("scout", 2))[-1].body
            assert row.passed == 0

    play(tmp_path, scene)


@pytest.mark.parametrize(("table", "event"), [("notices", "INSERT"), ("schedules", "UPDATE")])
def test_a_schedule_moves_on_with_its_message_or_is_tried_again(tmp_path: Path, table: str, event: str) -> None:
    async def broken(house: House) -> None:
        mistakes: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: mistakes.append(context))
        await born(house)
        await planned(house, {"hourly": HOURLY})
        await house.database.write(failing_at(table, event))
        before = await only(house, "hourly")
        house.clock.advance(3600)
        async with asyncio.timeout(20):
            while not mistakes:
                await house.settled()
        assert await only(house, "hourly") == before
        assert await house.owed() == []

    async def after(house: House) -> None:
        await house.database.write(healed)
        last = await only(house, "hourly")
        await house.schedules.open({"scout": {"hourly": HOURLY}})
        house.clock.advance(0)
        await moved(house, "hourly", last)
        assert len(await house.owed()) == 1

    async def again(house: House) -> None:
        await house.schedules.open({"scout": {"hourly": HOURLY}})
        house.clock.advance(0)
        await house.settled()
        assert len(await house.owed()) == 1

    play(tmp_path, broken, after, again)


def test_a_message_that_is_owed_when_the_hive_dies_is_delivered_once_and_not_doubled(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await born(house)
        await planned(house, {"hourly": HOURLY})
        assert (await passes(house, 3600)).waits

    async def after(house: House) -> None:
        await house.schedules.open({"scout": {"hourly": HOURLY}})
        assert (await passes(house, 3600)).passed == 1
        async with house.delivering():
            await house.inbox("scout", 1)
            await house.nothing_owed()
        assert len(await house.mailbox.inbox("scout")) == 1

    play(tmp_path, before, after)


def test_a_paused_schedule_sends_nothing_and_goes_on_without_catching_up(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await born(house)
        await planned(house, {"hourly": HOURLY})
        changed: list[bool] = []
        house.schedules.on_change = lambda row: changed.append(row.paused)
        await house.schedules.set_paused("scout", "hourly", True)
        house.clock.advance(2.5 * 3600)
        await house.settled()
        assert await house.owed() == []
        row = await house.schedules.set_paused("scout", "hourly", False)
        assert row.next_at == house.clock.now() + 1800
        assert changed == [True, False]
        await passes(house, 1800)
        assert [body.count("more times") for _, body in await house.owed()] == [0]

    play(tmp_path, scene)


def test_fired_by_hand_it_comes_now_once_and_its_next_time_stays(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await born(house)
        await planned(house, {"hourly": HOURLY})
        before = await house.schedules.set_paused("scout", "hourly", True)
        row = await house.schedules.fire("scout", "hourly")
        assert (row.next_at, row.last_at) == (before.next_at, house.clock.now())
        assert await house.owed() == [("scout", "[schedule hourly, sent now by the operator]\nlook at the build")]
        with pytest.raises(FaultError, match="still unread") as caught:
            await house.schedules.fire("scout", "hourly")
        assert caught.value.kind is FaultKind.WRONG_STATE
        with pytest.raises(FaultError, match="in effect: hourly") as caught:
            await house.schedules.fire("scout", "daily")
        assert caught.value.kind is FaultKind.UNKNOWN_SCHEDULE

    play(tmp_path, scene)


def test_a_deployment_changes_the_plan_and_keeps_what_is_the_same_in_it(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await born(house)
        await planned(house, {"hourly": HOURLY, "nightly": NIGHTLY})
        await house.schedules.set_paused("scout", "nightly", True)
        first = await only(house, "hourly")
        house.clock.advance(600)
        reworded = Schedule(message="look again", every=3600)
        later = Schedule(message="tidy up", cron="0 4 * * *", timezone="Europe/Berlin")
        await planned(house, {"hourly": reworded, "nightly": later})
        row = await only(house, "hourly")
        assert (row.message, row.next_at) == ("look again", first.next_at)
        assert (await only(house, "nightly")).paused
        await planned(house, None)
        assert len(await house.schedules.all("scout")) == 2
        await planned(house, {"weekly": NIGHTLY})
        assert [row.name for row in await house.schedules.all("scout")] == ["weekly"]
        await planned(house, {})
        house.clock.advance(10 * 86400)
        await house.settled()
        assert await house.owed() == []

    play(tmp_path, scene)


def test_what_a_destroyed_agent_had_is_gone_and_nobody_of_its_name_gets_it(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        life = await born(house)
        await planned(house, {"hourly": HOURLY})
        await house.roster.destroy("scout")
        await house.schedules.forget("scout", life)
        assert await house.schedules.all() == []
        await born(house)
        await planned(house, {"hourly": HOURLY})
        await house.roster.destroy("scout")  # and the hive dies before it has forgotten

    async def after(house: House) -> None:
        await house.schedules.open({})
        assert await house.schedules.all() == []
        await planned(house, {"hourly": HOURLY})
        assert await house.schedules.all() == [], "there is nobody of that name"

    play(tmp_path, before, after)


def test_after_a_wall_clock_that_was_set_back_it_is_not_silent_until_then(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await born(house)
        await planned(house, {"hourly": HOURLY})
        ahead = {"at": house.clock.now() + 10**8}
        await house.database.write(
            lambda connection: (
                connection.execute("UPDATE schedules SET last_at = :at, next_at = :at + 3600", ahead).rowcount
            )
        )

    async def after(house: House) -> None:
        await house.schedules.open({"scout": {"hourly": HOURLY}})
        assert (await only(house, "hourly")).next_at == house.clock.now() + 3600

    play(tmp_path, before, after)


def test_many_that_are_due_at_once_all_come(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for number in range(3):
            await born(house, f"scout-{number}")
            plan = {f"s{each}": HOURLY for each in range(60)}
            await planned(house, plan, f"scout-{number}")
        assert house.clock.waits == 1
        house.clock.advance(3600)
        async with asyncio.timeout(20):
            while len(await house.owed()) < 180:
                await house.settled()
                house.clock.advance(0)
        await house.settled()
        assert len(set(await house.owed())) == 180

    play(tmp_path, scene)
