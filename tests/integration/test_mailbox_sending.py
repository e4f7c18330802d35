"""Sending: what is taken, what is refused, and which conversation a message belongs to."""

import asyncio
from pathlib import Path

import pytest

from hyperhive.broker.letters import Limits
from hyperhive.protocol.faults import FaultKind
from mail_house import House, play, refusal


def test_a_message_arrives_with_what_the_hive_vouches_for(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send("hello\x00 wörld", mid="m1")
        (message,) = await home.lease()
        assert (message.id, message.sender, message.to, message.kind) == (number, "alice", "bob", "agent")
        assert message.body == "hello\x00 wörld"
        assert message.sent_at == home.clock.now() - 0.001
        assert (message.attempt, message.thread, message.broadcast) == (1, number, False)

    play(tmp_path, scene)


def test_the_same_mid_again_is_answered_with_the_first_result_and_stores_nothing(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        first = await home.post("a", mid="m1")
        together = await asyncio.gather(*(home.post("a", mid="m2") for _ in range(3)), home.post("b", mid="m3"))
        again = await home.post("a", mid="m1")
        assert again.ids == first.ids
        assert again.duplicate
        assert [sent.duplicate for sent in together] == [False, True, True, False]
        assert len({sent.ids[0] for sent in together}) == 2
        assert len(await home.lease()) == 3

    play(tmp_path, scene)


def test_the_same_mid_of_another_sender_or_life_is_another_message(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.send(mid="m1")
        await home.send(mid="m1", sender="operator")
        await home.mailbox.register("alice", 7)
        await home.send(mid="m1")
        assert len(await home.lease()) == 3

    play(tmp_path, scene)


def test_everyone_is_all_agents_but_the_sender_and_once(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.mailbox.register("carol", 3)
        sent = await home.post("all hands", to="*", mid="m1")
        again = await home.post("all hands", to="*", mid="m1")
        assert sent.recipients == ["bob", "carol"]
        assert len(set(sent.ids)) == 2
        assert (again.ids, again.recipients, again.duplicate) == (sent.ids, sent.recipients, True)
        (message,) = await home.lease()
        assert message.broadcast
        assert await home.mailbox.unread("carol") == 1
        assert await home.mailbox.unread("operator") == 0

    play(tmp_path, scene)


def test_everyone_can_be_narrowed_to_whom_the_sender_may_write(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.mailbox.register("carol", 3)
        sent = await home.post(to="*", among=frozenset({"carol", "nobody"}))
        assert sent.recipients == ["carol"]

    play(tmp_path, scene)


def test_an_unknown_recipient_is_refused_with_the_nearest_names(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        fault = await refusal(home.send(to="bop"))
        assert fault.kind is FaultKind.UNKNOWN_RECIPIENT
        assert "did you mean 'bob'?" in fault.message
        assert (await refusal(home.send(to="system"))).kind is FaultKind.UNKNOWN_RECIPIENT
        assert await home.send(to="operator")

    play(tmp_path, scene)


@pytest.mark.parametrize("body", ["x" * 65_537, "ü" * 32_769])
def test_a_body_over_the_limit_is_refused_with_the_way_out(tmp_path: Path, body: str) -> None:
    async def scene(home: House) -> None:
        fault = await refusal(home.send(body))
        assert fault.kind is FaultKind.BODY_TOO_LONG
        assert "under /shared and send the path" in fault.message
        assert await home.send(body[: 65_536 // len("ü".encode()) if body[0] == "ü" else 65_536])

    play(tmp_path, scene)


@pytest.mark.parametrize("broken", [{"body": "\ud800"}, {"mid": "\ud800"}, {"turn": "\ud800"}])
def test_text_that_is_not_unicode_is_refused(tmp_path: Path, broken: dict[str, str]) -> None:
    async def scene(home: House) -> None:
        fault = await refusal(home.send(**{"body": "x", **broken}))
        assert fault.kind is FaultKind.INVALID_PARAMS

    play(tmp_path, scene)


def test_a_full_inbox_refuses_until_something_is_handled(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        for number in range(3):
            await home.send(mid=str(number))
        fault = await refusal(home.send())
        assert fault.kind is FaultKind.INBOX_FULL
        assert "'bob'" in fault.message
        assert (await home.post(mid="1")).duplicate, "a repeated send is no new message"
        assert (await refusal(home.send(to="*"))).kind is FaultKind.INBOX_FULL
        await home.lease(maximum=1)
        await home.send()
        assert (await refusal(home.send())).kind is FaultKind.INBOX_FULL

    play(tmp_path, scene, Limits(inbox=3, burst=100))


def test_sends_of_one_tick_cannot_overfill_an_inbox(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        results = await asyncio.gather(*(home.send() for _ in range(9)), return_exceptions=True)
        assert len([result for result in results if isinstance(result, int)]) == 5
        assert await home.mailbox.unread("bob") == 5

    play(tmp_path, scene, Limits(inbox=5, burst=100))


def test_a_sender_over_its_rate_is_told_how_long_to_wait(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await asyncio.gather(home.send(), home.send())
        fault = await refusal(home.send())
        assert fault.kind is FaultKind.TOO_FAST
        assert "try again in 0.10 s" in fault.message
        for sender in ("operator", "system"):
            await asyncio.gather(*(home.send(sender=sender) for _ in range(9)))
        home.clock.advance(0.1)
        await home.send()

    play(tmp_path, scene, Limits(sends_per_second=10, burst=2))


def test_a_sender_that_is_no_more_cannot_send(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.mailbox.forget("alice")
        assert (await refusal(home.send())).kind is FaultKind.UNKNOWN_AGENT

    play(tmp_path, scene)


def test_a_disk_that_is_full_stores_nothing_and_the_mail_goes_on_when_it_is_not(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        waiting = home.mailbox.recv("bob", home.epoch, 60)
        await waiting
        pages = await home.database.write(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])

        async def limit(count: int) -> None:
            await home.database.write(
                lambda connection: connection.execute(f"PRAGMA max_page_count = {count}").fetchall()
            )

        await limit(pages + 2)
        parked = home.mailbox.recv("bob", home.epoch, 60)
        await home.settled()
        fault = await refusal(home.send("x" * 60_000, mid="big"))
        assert fault.kind is FaultKind.STORAGE
        assert not parked.done()
        await limit(1_000_000)
        again = await home.post("x" * 60_000, mid="big")
        assert not again.duplicate
        assert [message.id for message in (await parked).messages] == again.ids
        assert (await home.mailbox.ack("bob", home.epoch, [number])).done == 1

    play(tmp_path, scene)


# conversations


def test_a_reply_is_in_the_thread_of_what_it_replies_to(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        first = await home.send()
        second = await home.send(sender="bob", to="alice", in_reply_to=first)
        third = await home.send(in_reply_to=second)
        (_, message) = await home.lease()
        assert (message.id, message.thread, message.in_reply_to) == (third, first, second)

    play(tmp_path, scene)


@pytest.mark.parametrize("strange", [4, 0, -1, 2**63, 2**80])
def test_a_reply_needs_a_message_that_the_sender_took_part_in(tmp_path: Path, strange: int) -> None:
    async def scene(home: House) -> None:
        await home.mailbox.register("carol", 3)
        between_others = await home.send()
        assert (await refusal(home.send(sender="carol", in_reply_to=between_others))).kind is FaultKind.UNKNOWN_MESSAGE
        assert (await refusal(home.send(in_reply_to=strange))).kind is FaultKind.UNKNOWN_MESSAGE

    play(tmp_path, scene)


def test_what_a_turn_sends_is_in_the_thread_of_the_first_message_it_read(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        first, second = await home.send(), await home.send()
        await home.lease()
        await home.mailbox.read("bob", home.epoch, [second, first], "turn-1")
        await home.send(sender="bob", to="operator", turn="turn-1")
        (row,) = await home.mailbox.inbox("operator")
        assert row.thread == first

    play(tmp_path, scene)


def test_waiting_in_a_thread_ends_with_the_first_message_to_the_waiter(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        asked = await home.send(sender="operator")
        waiting = asyncio.ensure_future(home.mailbox.wait_in_thread(asked, "operator", 60))
        await home.settled()
        await home.send(to="operator")  # another conversation
        await home.send("done", sender="bob", to="operator", in_reply_to=asked)
        reply = await waiting
        assert reply is not None
        assert reply.body == "done"
        assert (await home.mailbox.wait_in_thread(asked, "operator", 60)) == reply, "it is there already"

    play(tmp_path, scene)


def test_waiting_in_a_thread_ends_with_nothing_in_time(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        asked = await home.send(sender="operator")
        waiting = asyncio.ensure_future(home.mailbox.wait_in_thread(asked, "operator", 60))
        while not home.clock.waits:
            await home.settled()
        home.clock.advance(60)
        assert await waiting is None
        assert (await refusal(home.mailbox.wait_in_thread(99, "operator", 1))).kind is FaultKind.UNKNOWN_MESSAGE

    play(tmp_path, scene)
