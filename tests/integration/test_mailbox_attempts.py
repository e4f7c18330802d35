"""Attempts: what fails comes again, later each time, and not for ever."""

import asyncio
from pathlib import Path

import pytest

from hyperhive.protocol.agent import ReceiptState
from mail_house import House, house, play

# failures


def test_failures_back_off_and_the_fifth_is_the_last(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send("poison")
        for attempt, delay in enumerate((0, 0, 5, 30, 120), 1):
            if delay:
                assert await home.lease() == []
                await home.pass_time(delay)
            (message,) = await home.lease()
            assert message.attempt == attempt
            await home.fail(number, reason="no idea")
        assert await home.lease() == []
        (dead,) = await home.mailbox.dead_letters()
        assert (dead.id, dead.note) == (number, "no idea")
        (bounce,) = await home.mailbox.inbox("alice")
        assert (bounce.sender, bounce.kind, bounce.in_reply_to) == ("system", "system", number)
        assert "no idea" in bounce.body
        assert "poison" in bounce.body

    play(tmp_path, scene)


def test_a_backed_off_message_wakes_the_parked_receiver_when_its_time_comes(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        for _ in range(2):
            await home.lease()
            await home.fail(number)
        waiting = home.mailbox.recv("bob", home.epoch, 180)
        await home.settled()
        assert not waiting.done()
        await home.pass_time(5)
        assert [message.id for message in (await waiting).messages] == [number]

    play(tmp_path, scene)


def test_a_backed_off_message_wakes_a_sleeping_agent_when_its_time_comes(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        for _ in range(2):
            await home.lease()
            await home.fail(number)
        home.queued.clear()
        await home.pass_time(4)
        assert home.queued == []
        await home.pass_time(1)
        assert home.queued == ["bob"]

    play(tmp_path, scene)


def test_a_backed_off_message_holds_up_later_ones_of_its_sender_alone(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        head = await home.send("1")
        for _ in range(2):
            await home.lease()
            await home.fail(head)
        tail, other = await home.send("2"), await home.send("a", sender="operator")
        assert [message.id for message in await home.lease()] == [other]
        await home.pass_time(5)
        assert [message.id for message in await home.lease()] == [head, tail]

    play(tmp_path, scene)


def test_a_message_for_a_waiting_receiver_does_not_overtake_a_backed_off_one_of_its_sender(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        waiting = home.mailbox.recv("bob", home.epoch, 60)
        await home.settled()
        head = await home.send("1")
        await waiting
        await home.fail(head)
        await home.lease()
        await home.fail(head)
        waiting = home.mailbox.recv("bob", home.epoch, 60)
        await home.settled()
        tail = await home.send("2")
        await home.settled()
        assert not waiting.done()
        other = await home.send("a", sender="operator")
        assert [message.id for message in (await waiting).messages] == [other]
        await home.pass_time(5)
        assert [message.id for message in await home.lease()] == [head, tail]

    play(tmp_path, scene)


def test_backed_off_mail_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            number = await home.send()
            for _ in range(3):
                (message,) = await home.lease()
                await home.fail(message.id)
                if message.attempt == 2:
                    await home.pass_time(5)
            clock = home.clock
        async with house(tmp_path, clock=clock) as home:
            waiting = home.mailbox.recv("bob", home.epoch, 180)
            await home.pass_time(29)
            assert not waiting.done()
            await home.pass_time(1)
            assert [message.id for message in (await waiting).messages] == [number]

    asyncio.run(scene())


def test_the_next_attempt_is_told_what_all_the_earlier_ones_had_sent(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        for turn in ("turn-1", "turn-2"):
            await home.lease()
            await home.mailbox.read("bob", home.epoch, [number], turn)
            await home.send(f"from {turn}\nand more", sender="bob", to="operator", turn=turn)
            await home.boot(f"boot after {turn}")
        await home.send("from another turn", sender="bob", to="operator", turn="turn-9")
        (message,) = await home.lease()
        assert [(sent.to, sent.headline) for sent in message.earlier_sends] == [
            ("operator", "from turn-1"),
            ("operator", "from turn-2"),
        ]

    play(tmp_path, scene)


# deaths of the container


def test_three_deaths_of_the_container_on_one_message_make_it_dead(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        for attempt in (1, 2, 3):
            (message,) = await home.begin()
            assert message.attempt == attempt
            await home.mailbox.container_died("bob")
            await home.settled()
        assert [row.id for row in await home.mailbox.dead_letters()] == [number]

    play(tmp_path, scene)


def test_what_was_leased_and_never_read_is_marked_but_no_attempt_and_no_death(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        read, unread = await home.send("1"), await home.send("2")
        await home.begin(maximum=1)
        await home.lease()
        await home.mailbox.container_died("bob")
        assert [(message.id, message.attempt, message.begun) for message in await home.lease()] == [
            (read, 2, True),
            (unread, 1, True),  # the container may have died between claude's beginning and the word of it
        ]
        for boot in range(9):
            await home.boot(f"boot {boot}")
            assert [message.attempt for message in await home.lease()] == [2, 1]
            await home.mailbox.container_died("bob")
        await home.settled()
        assert await home.mailbox.dead_letters() == []

    play(tmp_path, scene)


def test_what_the_hive_takes_back_costs_no_attempt_however_often(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        for boot in range(9):
            await home.boot(f"boot {boot}")
            (message,) = await home.begin()
            assert (message.id, message.attempt, message.begun) == (number, 1, boot > 0)
            home.mailbox.take_back("bob", "there is no room")
            await home.settled()

    play(tmp_path, scene)


@pytest.mark.parametrize("error", ["full", "mistake"])
def test_a_death_is_counted_once_the_disk_takes_it_and_the_hive_goes_on_meanwhile(tmp_path: Path, error: str) -> None:
    async def scene(home: House) -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
        number = await home.send()
        await home.begin()
        await home.refuse_moves(error)
        await home.mailbox.container_died("bob")
        await home.pass_time(5)
        assert (await home.mailbox.receipt(number)).state == ReceiptState.READ
        await home.allow_moves()
        await home.pass_time(5)
        receipt = await home.mailbox.receipt(number)
        assert (receipt.state, receipt.attempt) == (ReceiptState.SENT, 2)
        assert "container died" in receipt.note
        assert bool(told) == (error == "mistake"), "who looks after the hive hears of our own mistakes"

    play(tmp_path, scene)


def test_a_death_that_is_stored_late_takes_nothing_from_the_next_container(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.begin()
        await home.refuse_moves("full")
        await home.mailbox.container_died("bob")
        await home.settled()
        await home.allow_moves()
        await home.boot("boot-two")
        await home.begin()
        await home.pass_time(5)
        receipt = await home.mailbox.receipt(number)
        assert (receipt.state, receipt.attempt) == (ReceiptState.READ, 2)

    play(tmp_path, scene)


def test_the_death_of_a_container_whose_agent_is_no_more_is_no_error(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.mailbox.forget("bob")
        await home.mailbox.container_died("bob")
        await home.send(sender="operator", to="alice")

    play(tmp_path, scene)
