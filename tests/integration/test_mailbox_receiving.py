"""Receiving: who gets which messages, and when a wait ends."""

import asyncio
from pathlib import Path

from hyperhive.protocol.agent import ReceiptState
from mail_house import House, play


def test_a_wait_of_zero_counts_and_leases_nothing(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.send()
        peek = await home.mailbox.recv("bob", home.epoch, 0)
        assert (peek.messages, peek.unread) == ([], 1)
        assert len(await home.lease()) == 1

    play(tmp_path, scene)


def test_the_oldest_come_first_and_the_rest_is_counted(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        ids = [await home.send() for _ in range(5)]
        received = await home.mailbox.recv("bob", home.epoch, 1, 3)
        assert [message.id for message in received.messages] == ids[:3]
        assert received.unread == 2

    play(tmp_path, scene)


def test_a_send_to_a_parked_receiver_is_leased_in_the_same_commit(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        waiting = home.mailbox.recv("bob", home.epoch, 60)
        await home.settled()
        number = await home.send()
        receipt = await home.mailbox.receipt(number)
        assert receipt.state == ReceiptState.LEASED, "already when send answers"
        assert [message.id for message in (await waiting).messages] == [number]
        assert home.queued == []

    play(tmp_path, scene)


def test_what_was_sent_together_arrives_together(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        waiting = home.mailbox.recv("bob", home.epoch, 60)
        await home.settled()
        await asyncio.gather(*(home.send() for _ in range(4)))
        assert len((await waiting).messages) == 4

    play(tmp_path, scene)


def test_a_wait_ends_with_nothing_in_time(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        waiting = home.mailbox.recv("bob", home.epoch, 180)
        await home.settled()
        home.clock.advance(179)
        assert not waiting.done()
        home.clock.advance(1)
        assert (await waiting).messages == []

    play(tmp_path, scene)


def test_acks_ride_along_and_are_done_first(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.lease()
        await home.mailbox.recv("bob", home.epoch, 0, ack=[number])
        assert (await home.mailbox.receipt(number)).state == ReceiptState.HANDLED

    play(tmp_path, scene)


def test_two_receivers_of_an_agent_never_get_the_same_message(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        waits = [home.mailbox.recv("bob", home.epoch, 60, 1) for _ in range(3)]
        await home.settled()
        sent = [await home.send() for _ in range(3)]
        got = [message.id for received in await asyncio.gather(*waits) for message in received.messages]
        assert sorted(got) == sent

    play(tmp_path, scene)


def test_cancelled_waits_answer_empty_and_a_raced_lease_goes_back_uncounted(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        waiting = home.mailbox.recv("bob", home.epoch, 60)
        await home.settled()
        sending = asyncio.ensure_future(home.send())
        await asyncio.sleep(0)  # the send and the lease for the waiter are on their way to the writer
        home.mailbox.cancel_waits("bob")
        assert (await waiting).messages == []
        number = await sending
        await home.settled()
        assert (await home.mailbox.receipt(number)).state == ReceiptState.SENT
        (message,) = await home.lease()
        assert message.attempt == 1

    play(tmp_path, scene)


def test_a_receiver_whose_connection_is_lost_loses_nothing(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        waiting = home.mailbox.recv("bob", home.epoch, 60)
        await home.settled()
        sending = asyncio.ensure_future(home.send())
        await asyncio.sleep(0)
        waiting.cancel()
        number = await sending
        await home.settled()
        assert [message.id for message in await home.lease()] == [number]

    play(tmp_path, scene)


def test_a_lease_that_raced_with_a_reconnect_is_among_the_held(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        waiting = home.mailbox.recv("bob", home.epoch, 60)
        await home.settled()
        sending = asyncio.ensure_future(home.send())
        await asyncio.sleep(0)
        again = await home.mailbox.begin_epoch("bob", "boot-one")
        number = await sending
        assert (await waiting).messages == []
        await home.settled()
        assert [message.id for message in again.held] == [number]
        assert (await home.mailbox.receipt(number)).state == ReceiptState.LEASED
        assert await home.lease() == []

    play(tmp_path, scene)


def test_a_held_agent_waits_until_it_is_let_go(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        home.mailbox.set_held("bob", True)
        waiting = home.mailbox.recv("bob", home.epoch, 60)
        await home.settled()
        await home.send()
        assert not waiting.done()
        home.mailbox.set_held("bob", False)
        assert (await waiting).messages[0].id == number

    play(tmp_path, scene)


def test_mail_for_an_agent_that_nobody_waits_for_is_told(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.send()
        await home.send(sender="bob", to="alice")
        await home.send(to="operator")
        assert home.queued == ["bob", "alice"]

    play(tmp_path, scene)
