import asyncio
from pathlib import Path

from broker_house import House, play
from hyperhive.broker.letters import Draft, Limits
from hyperhive.broker.notices import Notice

SMALL = Limits(inbox=2)


def to(recipient: str, body: str, **more: int) -> Notice:
    return Notice(recipient=recipient, body=body, incarnation=more.get("incarnation"))


async def idle(house: House) -> None:
    """Wait until what cannot be delivered now waits for its timer."""
    async with asyncio.timeout(20):
        while not house.clock.waits:
            await house.settled()


def test_notices_are_delivered_in_order_and_are_gone_then(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.mailbox.register("manager", 1)
        for number in range(3):
            await house.notices.add(to("manager", f"note {number}"))
        async with house.delivering():
            mail = await house.inbox("manager", 3)
            assert [(row.sender, row.kind, row.body) for row in mail] == [
                ("system", "system", f"note {number}") for number in range(3)
            ]
            await house.notices.add(to("operator", "one more"))
            assert [row.body for row in await house.inbox("operator", 1)] == ["one more"]
            await house.nothing_owed()

    play(tmp_path, scene)


def test_what_was_owed_before_the_hive_ended_is_delivered_after_it(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await house.mailbox.register("manager", 1)
        await house.notices.add(to("manager", "still owed"))

    async def after(house: House) -> None:
        async with house.delivering():
            assert [row.body for row in await house.inbox("manager", 1)] == ["still owed"]

    play(tmp_path, before, after)


def test_what_was_delivered_but_not_settled_is_not_delivered_twice(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await house.mailbox.register("manager", 1)
        await house.notices.add(to("manager", "once"))
        draft = Draft(sender="system", kind="system", to="manager", body="once", mid="notice-1")
        await house.mailbox.send(draft)

    async def after(house: House) -> None:
        async with house.delivering():
            await house.nothing_owed()
        assert [row.body for row in await house.mailbox.inbox("manager")] == ["once"]

    play(tmp_path, before, after)


def test_numbers_of_notices_are_never_used_again(tmp_path: Path) -> None:
    async def day(house: House) -> None:
        await house.mailbox.register("manager", 1)
        await house.notices.add(to("manager", "the same words"))
        async with house.delivering():
            await house.nothing_owed()

    async def evening(house: House) -> None:
        assert len(await house.mailbox.inbox("manager")) == 2

    play(tmp_path, day, day, evening)


def test_a_notice_to_nobody_or_to_an_earlier_life_is_dropped(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.mailbox.register("scout", 2)
        await house.notices.add(to("nobody", "lost"))
        await house.notices.add(to("scout", "for the first life", incarnation=1))
        await house.notices.add(to("scout", "for this life", incarnation=2))
        async with house.delivering():
            await house.nothing_owed()
        assert [row.body for row in await house.mailbox.inbox("scout")] == ["for this life"]

    play(tmp_path, scene)


def test_a_notice_that_no_inbox_takes_does_not_hold_up_the_next(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.notices.add(to("operator", "x" * 70_000))
        await house.notices.add(to("operator", "short"))
        async with house.delivering():
            await house.nothing_owed()
        assert [row.body for row in await house.mailbox.inbox("operator")] == ["short"]

    play(tmp_path, scene)


def test_a_full_inbox_holds_up_its_own_notices_alone_and_gets_them_in_order_later(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.mailbox.register("manager", 1)
        for number in range(5):
            await house.notices.add(to("manager", f"note {number}"))
        await house.notices.add(to("operator", "not held up"))
        async with house.delivering():
            await idle(house)
            assert [row.body for row in await house.mailbox.inbox("operator")] == ["not held up"]
            assert await house.owed() == [("manager", f"note {number}") for number in (2, 3, 4)]
            epoch = await house.mailbox.begin_epoch("manager", "boot-number-1")
            held = await house.mailbox.recv("manager", epoch.number, 0.001)
            await house.mailbox.ack("manager", epoch.number, [message.id for message in held.messages])
            house.clock.advance(1)
            assert [row.body for row in await house.inbox("manager", 4)] == [f"note {number}" for number in range(4)]

    play(tmp_path, scene, limits=SMALL)


def test_nothing_wakes_the_hive_while_nothing_is_owed(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        async with house.delivering():
            await house.notices.add(to("operator", "hello"))
            await house.nothing_owed()
            await house.settled()
            assert house.clock.waits == 0

    play(tmp_path, scene)


def test_any_number_of_notices_is_delivered_in_order(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await asyncio.gather(*(house.notices.add(to("operator", f"{number}")) for number in range(230)))
        async with house.delivering():
            await house.nothing_owed()
        mail = await house.mailbox.inbox("operator", limit=1000)
        assert [row.body for row in mail] == [f"{number}" for number in range(230)]

    play(tmp_path, scene)
