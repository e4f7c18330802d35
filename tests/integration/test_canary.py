"""A canary takes the way of a message to a harness and back, and is none: nobody sees it, nobody is woken by it."""

import asyncio
from pathlib import Path

import pytest

from harness_rig import PATIENCE_S, rig
from hyperhive.protocol.agent import ACK
from hyperhive.protocol.events import Rest, TurnStart
from hyperhive.rehearsal.script import Say, on
from mail_house import House, play


def test_who_waits_for_mail_is_given_it_and_nothing_is_kept_of_it(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        waiting = house.mailbox.recv("bob", house.epoch, 180)
        await house.settled()
        house.mailbox.probe("bob", "c1")
        received = await waiting
        assert (received.canary, received.messages, received.unread) == ("c1", [], 0)
        settled = await house.mailbox.ack("bob", house.epoch, [])
        assert (settled.done, settled.stale) == (0, [])
        assert await house.mailbox.inbox("bob") == []
        assert await house.mailbox.flow() == []
        assert await house.mailbox.unread_counts() == {}
        assert house.changes == []
        assert house.queued == []

    play(tmp_path, scene)


def test_it_wakes_nobody_and_waits_for_the_next_who_leases(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        house.mailbox.probe("bob", "c1")
        house.mailbox.probe("bob", "c2")
        await house.settled()
        assert house.queued == []
        peek = await house.mailbox.recv("bob", house.epoch, 0)
        assert peek.canary == ""
        assert (await house.mailbox.recv("bob", house.epoch, 30)).canary == "c2"
        waiting = house.mailbox.recv("bob", house.epoch, 30)
        await house.settled()
        assert not waiting.done()
        await house.pass_time(30)
        assert (await waiting).canary == ""

    play(tmp_path, scene)


def test_it_comes_along_with_mail(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.send()
        house.mailbox.probe("bob", "c1")
        received = await house.mailbox.recv("bob", house.epoch, 30)
        assert received.canary == "c1"
        assert [message.body for message in received.messages] == ["hi"]

    play(tmp_path, scene)


def test_one_who_is_held_is_given_none_until_the_mail_is_let_go(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        house.mailbox.set_held("bob", True)
        waiting = house.mailbox.recv("bob", house.epoch, 30)
        await house.settled()
        house.mailbox.probe("bob", "c1")
        await house.settled()
        assert not waiting.done()
        house.mailbox.set_held("bob", False)
        assert (await waiting).canary == "c1"

    play(tmp_path, scene)


@pytest.mark.claude
def test_the_harness_sends_it_back_and_claude_never_hears_of_it() -> None:
    async def scene() -> None:
        async with rig() as r, asyncio.timeout(PATIENCE_S):
            await r.hive.until(lambda: r.hive.hellos)
            assert r.hive.hellos[0].canary
            r.hive.probe("c1")
            await r.hive.until(lambda: r.hive.canaries == ["c1"])
            assert not r.hive.events(TurnStart)
            assert r.hive.reported["rest"] == Rest.DOZING
            assert await r.below("claude") == []

            r.model.script("a", on("hello", Say("Done.")))
            r.hive.silent.add(ACK)
            r.hive.probe("c2")
            message = r.hive.mail("hello")
            await r.hive.until(lambda: r.hive.unanswered)
            r.hive.speak()
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")
            assert r.hive.canaries == ["c1", "c2"]
            assert len(r.hive.events(TurnStart)) == 1

    asyncio.run(scene())
