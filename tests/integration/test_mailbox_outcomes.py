"""What becomes of a message: who is told, where it ends when it cannot arrive, and when it is forgotten."""

import asyncio
from pathlib import Path

from hyperhive.broker.database import Database
from hyperhive.broker.letters import Draft, MailChangeKind
from hyperhive.broker.mailbox import Mailbox
from hyperhive.protocol.agent import ReceiptState
from hyperhive.protocol.faults import FaultKind
from mail_house import House, house, play, refusal

# told


def test_a_receipt_follows_the_message_and_is_its_senders_alone(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()

        async def state() -> str:
            return str((await home.mailbox.receipt(number, "alice")).state)

        assert await state() == ReceiptState.SENT
        await home.lease()
        assert await state() == ReceiptState.LEASED
        await home.mailbox.read("bob", home.epoch, [number], "turn-1")
        assert await state() == ReceiptState.READ
        await home.mailbox.ack("bob", home.epoch, [number])
        receipt = await home.mailbox.receipt(number, "alice")
        assert receipt.state == ReceiptState.HANDLED
        assert receipt.handled_at == home.clock.now()
        assert (await refusal(home.mailbox.receipt(number, "bob"))).kind is FaultKind.UNKNOWN_MESSAGE

    play(tmp_path, scene)


def test_every_change_is_told_once_and_in_order(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.lease()
        await home.fail(number)
        await home.lease()
        await home.mailbox.read("bob", home.epoch, [number], "turn-1")
        await home.mailbox.ack("bob", home.epoch, [number])
        kinds = [change.kind for change in home.changes if change.id == number]
        assert kinds == [MailChangeKind(word) for word in ("sent", "leased", "requeued", "leased", "read", "handled")]
        assert {(change.sender, change.recipient) for change in home.changes} == {("alice", "bob")}

    play(tmp_path, scene)


def test_the_operator_marks_the_messages_that_were_seen(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        first, second, others = await home.send(to="operator"), await home.send(to="operator"), await home.send()
        settled = await home.mailbox.handled([first, others])
        assert (settled.done, settled.stale) == (1, [others])
        assert [row.id for row in await home.mailbox.inbox("operator", unread_only=True)] == [second]
        assert [row.id for row in await home.mailbox.inbox("operator")] == [first, second]
        assert [row.id for row in await home.mailbox.inbox("operator", limit=1)] == [second]

    play(tmp_path, scene)


# dead letters and bounces


def test_a_dead_letter_is_requeued_with_its_attempts_forgotten_or_dropped(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        first, second = await home.send(), await home.send()
        for _ in range(3):
            await home.begin()
            await home.mailbox.container_died("bob")
        await home.mailbox.drop(second)
        await home.mailbox.requeue(first)
        assert await home.mailbox.dead_letters() == []
        (message,) = await home.lease()
        assert (message.id, message.attempt) == (first, 1)
        assert (await refusal(home.mailbox.requeue(second))).kind is FaultKind.WRONG_STATE
        assert (await refusal(home.mailbox.drop(first))).kind is FaultKind.WRONG_STATE
        assert (await refusal(home.mailbox.drop(99))).kind is FaultKind.UNKNOWN_MESSAGE

    play(tmp_path, scene)


def test_a_dead_letter_to_a_destroyed_agent_cannot_be_requeued(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await home.mailbox.register("bob", 8)
        fault = await refusal(home.mailbox.requeue(number))
        assert fault.kind is FaultKind.WRONG_STATE
        assert "is no more" in fault.message

    play(tmp_path, scene)


def test_a_bounce_is_never_bounced(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.send(sender="bob", to="alice")
        await home.mailbox.forget("alice")
        (bounce,) = await home.begin()
        assert bounce.kind == "system"
        for _ in range(3):
            await home.mailbox.container_died("bob")
            await home.begin()
        states = [row.state for row in await home.mailbox.dead_letters()]
        assert len(states) == 2
        assert await home.mailbox.unread_counts() == {}

    play(tmp_path, scene)


# recipients that come and go


def test_an_agent_that_nobody_knows_after_a_restart_is_forgotten_and_its_mail_bounces(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            queued, leased = await home.send("1"), await home.send("2")
            await home.lease(maximum=1)
        database = await Database.open(tmp_path / "hive.sqlite")
        mailbox = await Mailbox.open(database)
        await mailbox.register("alice", 1)
        assert mailbox.agents == ["alice", "bob"]
        await mailbox.forget("bob")
        assert mailbox.agents == ["alice"]
        assert [row.in_reply_to for row in await mailbox.inbox("alice")] == [queued, leased]
        assert await mailbox.unread_counts() == {"alice": 2}
        mailbox.close()
        await database.close()

    asyncio.run(scene())


def test_a_destroyed_agents_mail_is_bounced_and_never_reaches_its_namesake(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        queued, leased = await home.send("1"), await home.send("2")
        await home.lease(maximum=1)
        await home.mailbox.forget("bob")
        assert (await refusal(home.send())).kind is FaultKind.UNKNOWN_RECIPIENT
        bounces = await home.mailbox.inbox("alice")
        assert [row.in_reply_to for row in bounces] == [queued, leased]
        await home.mailbox.register("bob", 5)
        await home.boot("boot-new")
        assert await home.lease() == []
        assert len(await home.mailbox.dead_letters()) == 2

    play(tmp_path, scene)


def test_a_namesake_gets_none_of_the_mail_even_when_nobody_said_that_the_first_was_destroyed(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.send()
        await home.mailbox.register("bob", 5)
        await home.boot("boot-one")
        assert await home.lease() == []
        assert len(await home.mailbox.inbox("alice")) == 1

    play(tmp_path, scene)


def test_a_sender_that_is_gone_is_not_bounced_to_its_namesake(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.send()
        await home.mailbox.register("alice", 9)
        await home.mailbox.forget("bob")
        assert await home.mailbox.inbox("alice") == []

    play(tmp_path, scene)


def test_a_send_repeated_after_its_recipient_went_is_still_answered_with_the_first_result(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        first = await home.post(mid="m1")
        await home.mailbox.forget("bob")
        again = await home.post(mid="m1")
        assert (again.ids, again.duplicate) == (first.ids, True)

    play(tmp_path, scene)


# forgotten


def test_the_vacuum_takes_what_is_settled_and_old_and_nothing_else(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        acked, waiting = await home.send(), await home.send()
        await home.lease(maximum=1)
        await home.mailbox.ack("bob", home.epoch, [acked])
        for _ in range(500):
            home.mailbox.send(Draft(sender="operator", kind="operator", to="alice", body="x"))
        await home.mailbox.forget("alice")
        await home.mailbox.register("alice", 4)
        home.clock.advance(1000)
        young = await home.send("young")
        await home.lease(maximum=2)
        await home.mailbox.ack("bob", home.epoch, [young])
        assert await home.mailbox.vacuum(home.clock.now() - 2000) == 0
        assert await home.mailbox.vacuum(home.clock.now() - 500) == 501
        rows = {row.id for row in await home.mailbox.inbox("bob")}
        assert rows == {waiting, young}
        assert await home.send() > young, "an id is never used twice"

    play(tmp_path, scene)
