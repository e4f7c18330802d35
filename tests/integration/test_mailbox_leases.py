"""Leases: which harness holds a message, and what takes it away again."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperhive.broker.database import Database
from hyperhive.broker.mailbox import Mailbox
from hyperhive.protocol.agent import ReceiptState
from hyperhive.protocol.faults import FaultError, FaultKind
from mail_house import House, house, play, refusal

# boots


def test_a_new_boot_fences_the_old_off_and_takes_its_messages_at_once(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.begin()
        old = home.epoch
        begun = await home.mailbox.begin_epoch("bob", "boot-two")
        assert begun.number == old + 1
        assert begun.held == []
        mailbox = home.mailbox
        calls: list[Callable[[], object]] = [
            lambda: mailbox.recv("bob", old, 1),
            lambda: mailbox.read("bob", old, [number], "turn"),
            lambda: mailbox.release("bob", old, [number], failed=True),
            lambda: mailbox.heartbeat("bob", old),
        ]
        for call in calls:
            with pytest.raises(FaultError) as refused:
                call()
            assert refused.value.kind is FaultKind.STALE_EPOCH
        home.epoch = begun.number
        (message,) = await home.lease()
        assert (message.id, message.attempt) == (number, 2)

    play(tmp_path, scene)


def test_the_same_boot_goes_on_with_what_it_holds(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.lease()
        again = await home.mailbox.begin_epoch("bob", "boot-one")
        assert again.number == home.epoch
        assert [(message.id, message.attempt) for message in again.held] == [(number, 1)]

    play(tmp_path, scene)


# what a harness gives back


def test_a_late_ack_counts_while_nobody_else_was_given_the_message(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        first, second = await home.send(), await home.send()
        await home.lease()
        old, home.epoch = home.epoch, (await home.mailbox.begin_epoch("bob", "boot-two")).number
        settled = await home.mailbox.ack("bob", old, [first])
        assert (settled.done, settled.stale) == (1, [])
        assert [message.id for message in await home.lease()] == [second]
        settled = await home.mailbox.ack("bob", old, [second])
        assert (settled.done, settled.stale) == (0, [second])

    play(tmp_path, scene)


def test_a_repeated_ack_is_no_surprise_and_a_strange_one_is(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number, others = await home.send(), await home.send(to="operator")
        await home.lease()
        await home.mailbox.ack("bob", home.epoch, [number])
        settled = await home.mailbox.ack("bob", home.epoch, [number, others, 77])
        assert (settled.done, settled.stale) == (0, [others, 77])

    play(tmp_path, scene)


def test_ids_no_message_can_have_are_harmless(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.mailbox.ack("bob", home.epoch, [2**80, -(2**80), 0])
        await home.mailbox.recv("bob", home.epoch, 0, ack=[2**64])
        assert (await refusal(home.mailbox.receipt(2**70))).kind is FaultKind.UNKNOWN_MESSAGE
        assert (await refusal(home.mailbox.requeue(2**70))).kind is FaultKind.UNKNOWN_MESSAGE

    play(tmp_path, scene)


def test_a_message_released_without_failing_comes_again_as_the_same_attempt(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.lease()
        settled = await home.mailbox.release("bob", home.epoch, [number, 99], failed=False)
        assert (settled.done, settled.stale) == (1, [99])
        (message,) = await home.lease()
        assert (message.attempt, message.begun) == (1, False)

    play(tmp_path, scene)


def test_a_message_whose_turn_was_cut_short_unharmed_is_marked_as_begun(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.lease()
        await home.mailbox.read("bob", home.epoch, [number], "turn")
        await home.mailbox.release("bob", home.epoch, [number], failed=False)
        (message,) = await home.lease()
        assert (message.attempt, message.begun) == (1, True)

    play(tmp_path, scene)


# a harness that is silent


def test_a_silent_harness_loses_its_leases_and_heartbeats_keep_them(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.lease()
        for _ in range(10):
            await home.pass_time(100)
            home.mailbox.heartbeat("bob", home.epoch)
        assert (await home.mailbox.receipt(number)).state == ReceiptState.LEASED
        await home.pass_time(121)
        receipt = await home.mailbox.receipt(number)
        assert (receipt.state, receipt.attempt) == (ReceiptState.SENT, 2)
        assert "silent" in receipt.note

    play(tmp_path, scene)


def test_an_expiry_that_is_stored_late_takes_nothing_from_a_harness_that_lives(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.begin()
        await home.refuse_moves("full")
        await home.pass_time(121)
        await home.allow_moves()
        home.mailbox.heartbeat("bob", home.epoch)
        await home.pass_time(119)
        assert (await home.mailbox.receipt(number)).state == ReceiptState.READ
        await home.pass_time(2)
        receipt = await home.mailbox.receipt(number)
        assert (receipt.state, receipt.attempt) == (ReceiptState.SENT, 2)

    play(tmp_path, scene)


def test_an_expiry_that_the_disk_refused_is_tried_again(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.begin()
        await home.refuse_moves("full")
        await home.pass_time(121)
        await home.pass_time(5)
        assert (await home.mailbox.receipt(number)).state == ReceiptState.READ
        await home.allow_moves()
        await home.pass_time(5)
        assert (await home.mailbox.receipt(number)).state == ReceiptState.SENT

    play(tmp_path, scene)


def test_a_lease_given_at_the_end_of_a_long_wait_is_a_whole_one(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        waiting = home.mailbox.recv("bob", home.epoch, 180)
        await home.settled()
        await home.pass_time(170)
        number = await home.send()
        await waiting
        await home.pass_time(100)
        assert (await home.mailbox.receipt(number)).state == ReceiptState.LEASED

    play(tmp_path, scene)


def test_mail_that_is_leased_again_and_again_in_silence_comes_to_an_end(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        for _ in range(5):
            assert await home.lease()
            await home.pass_time(121)
        assert [row.id for row in await home.mailbox.dead_letters()] == [number]

    play(tmp_path, scene)


# a hive that starts again


def test_a_restart_of_the_hive_takes_no_turn_from_a_harness(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            number = await home.send()
            await home.lease()
            clock, epoch = home.clock, home.epoch
        clock.advance(3600)
        async with house(tmp_path, clock=clock) as home:
            assert home.epoch == epoch
            await home.pass_time(119)
            settled = await home.mailbox.ack("bob", epoch, [number])
            assert settled.done == 1

    asyncio.run(scene())


def test_a_harness_that_does_not_come_back_after_a_restart_loses_its_leases(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            number = await home.send()
            await home.lease()
            clock = home.clock
        database = await Database.open(tmp_path / "hive.sqlite")
        mailbox = await Mailbox.open(database, clock=clock)
        home = House(database, mailbox, clock)
        await home.pass_time(121)
        assert (await mailbox.receipt(number)).attempt == 2
        mailbox.close()
        await database.close()

    asyncio.run(scene())
