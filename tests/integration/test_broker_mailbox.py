import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hyperhive.broker.database import Connection, Database
from hyperhive.broker.letters import Draft, Limits, MailChangeKind
from hyperhive.broker.mailbox import Mailbox
from hyperhive.protocol.agent import Envelope, ReceiptState
from hyperhive.protocol.faults import FaultError, FaultKind
from mail_house import NO_RATE, House, house


def play(folder: Path, scene: Callable[[House], Awaitable[None]], limits: Limits = NO_RATE) -> None:
    async def run() -> None:
        async with house(folder, limits=limits) as home:
            await scene(home)

    asyncio.run(run())


async def refusal(call: Awaitable[object]) -> FaultError:
    with pytest.raises(FaultError) as refused:
        await call
    return refused.value


async def begin(home: House, maximum: int = 32) -> list[Envelope]:
    """What is there now, read into a turn of bob's."""
    messages = await home.lease(maximum)
    await home.mailbox.read("bob", home.epoch, [message.id for message in messages], "turn")
    return messages


async def refuse_moves(home: House, error: str) -> None:
    """From now on messages cannot be changed: the disk has no room (`full`), or the statement is wrong (`mistake`)."""
    wanted = "INSERT INTO ballast VALUES (zeroblob(100000))" if error == "full" else "SELECT RAISE(ABORT, 'mistake')"

    def spoil(connection: Connection) -> None:
        connection.execute("CREATE TABLE ballast (bytes BLOB)")
        connection.execute(f"CREATE TRIGGER refusal BEFORE UPDATE ON messages BEGIN {wanted}; END")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()

    await home.database.write(spoil)


async def allow_moves(home: House) -> None:
    await home.database.write(lambda connection: connection.execute("DROP TRIGGER refusal").fetchall())


# sending


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


# receiving


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


# epochs, leases and what ends them


def test_a_new_boot_fences_the_old_off_and_takes_its_messages_at_once(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await begin(home)
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


def test_three_deaths_of_the_container_on_one_message_make_it_dead(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        for attempt in (1, 2, 3):
            (message,) = await begin(home)
            assert message.attempt == attempt
            await home.mailbox.container_died("bob")
            await home.settled()
        assert [row.id for row in await home.mailbox.dead_letters()] == [number]

    play(tmp_path, scene)


def test_what_was_leased_and_never_read_is_marked_but_no_attempt_and_no_death(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        read, unread = await home.send("1"), await home.send("2")
        await begin(home, maximum=1)
        await home.lease()
        await home.mailbox.container_died("bob")
        assert [(message.id, message.attempt, message.begun) for message in await home.lease()] == [
            (read, 2, True),
            (unread, 1, True),  # the container may have died between claude's beginning and the word of it
        ]
        for boot in range(9):
            home.epoch = (await home.mailbox.begin_epoch("bob", f"boot {boot}")).number
            assert [message.attempt for message in await home.lease()] == [2, 1]
            await home.mailbox.container_died("bob")
        await home.settled()
        assert await home.mailbox.dead_letters() == []

    play(tmp_path, scene)


def test_mail_that_is_leased_again_and_again_in_silence_comes_to_an_end(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        for _ in range(5):
            assert await home.lease()
            await home.pass_time(121)
        assert [row.id for row in await home.mailbox.dead_letters()] == [number]

    play(tmp_path, scene)


@pytest.mark.parametrize("error", ["full", "mistake"])
def test_a_death_is_counted_once_the_disk_takes_it_and_the_hive_goes_on_meanwhile(tmp_path: Path, error: str) -> None:
    async def scene(home: House) -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
        number = await home.send()
        await begin(home)
        await refuse_moves(home, error)
        await home.mailbox.container_died("bob")
        await home.pass_time(5)
        assert (await home.mailbox.receipt(number)).state == ReceiptState.READ
        await allow_moves(home)
        await home.pass_time(5)
        receipt = await home.mailbox.receipt(number)
        assert (receipt.state, receipt.attempt) == (ReceiptState.SENT, 2)
        assert "container died" in receipt.note
        assert bool(told) == (error == "mistake"), "who looks after the hive hears of our own mistakes"

    play(tmp_path, scene)


def test_a_death_that_is_stored_late_takes_nothing_from_the_next_container(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        await begin(home)
        await refuse_moves(home, "full")
        await home.mailbox.container_died("bob")
        await home.settled()
        await allow_moves(home)
        home.epoch = (await home.mailbox.begin_epoch("bob", "boot-two")).number
        await begin(home)
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


def test_a_bounce_is_never_bounced(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.send(sender="bob", to="alice")
        await home.mailbox.forget("alice")
        (bounce,) = await begin(home)
        assert bounce.kind == "system"
        for _ in range(3):
            await home.mailbox.container_died("bob")
            await begin(home)
        states = [row.state for row in await home.mailbox.dead_letters()]
        assert len(states) == 2
        assert await home.mailbox.unread_counts() == {}

    play(tmp_path, scene)


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
        await begin(home)
        await refuse_moves(home, "full")
        await home.pass_time(121)
        await allow_moves(home)
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
        await begin(home)
        await refuse_moves(home, "full")
        await home.pass_time(121)
        await home.pass_time(5)
        assert (await home.mailbox.receipt(number)).state == ReceiptState.READ
        await allow_moves(home)
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


def test_the_next_attempt_is_told_what_all_the_earlier_ones_had_sent(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        number = await home.send()
        for turn in ("turn-1", "turn-2"):
            await home.lease()
            await home.mailbox.read("bob", home.epoch, [number], turn)
            await home.send(f"from {turn}\nand more", sender="bob", to="operator", turn=turn)
            home.epoch = (await home.mailbox.begin_epoch("bob", f"boot after {turn}")).number
        await home.send("from another turn", sender="bob", to="operator", turn="turn-9")
        (message,) = await home.lease()
        assert [(sent.to, sent.headline) for sent in message.earlier_sends] == [
            ("operator", "from turn-1"),
            ("operator", "from turn-2"),
        ]

    play(tmp_path, scene)


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
        home.epoch = (await home.mailbox.begin_epoch("bob", "boot-new")).number
        assert await home.lease() == []
        assert len(await home.mailbox.dead_letters()) == 2

    play(tmp_path, scene)


def test_a_namesake_gets_none_of_the_mail_even_when_nobody_said_that_the_first_was_destroyed(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        await home.send()
        await home.mailbox.register("bob", 5)
        home.epoch = (await home.mailbox.begin_epoch("bob", "boot-one")).number
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


# what the operator and senders see and do


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


def test_a_dead_letter_is_requeued_with_its_attempts_forgotten_or_dropped(tmp_path: Path) -> None:
    async def scene(home: House) -> None:
        first, second = await home.send(), await home.send()
        for _ in range(3):
            await begin(home)
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
