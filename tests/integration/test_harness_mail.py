"""The runner's mail between a link and the hive, without a claude."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hyperhive.harness.link import Link
from hyperhive.harness.mail import Mail
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Hello, SetStatus
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.testing.fake_hive import FakeHive


@asynccontextmanager
async def mail_of(place: Path) -> AsyncIterator[tuple[FakeHive, Link, Mail]]:
    async with FakeHive(place / "s").serving() as hive:
        link = Link(hive.socket, Hello(boot_id="a boot of its own"))
        mail = Mail(link)
        tasks = [asyncio.create_task(part.run()) for part in (link, mail)]
        try:
            yield hive, link, mail
        finally:
            mail.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def test_a_reader_that_does_not_wait_gets_the_mail_that_is_there(tmp_path: Path) -> None:
    async def main() -> None:
        async with mail_of(tmp_path) as (hive, _, mail):
            message = hive.mail("one")
            assert [m.id for m in (await mail.receive(0)).messages] == [message]
            assert hive.state_of(message) == "leased"

    asyncio.run(main())


def test_more_messages_than_fit_into_a_call_are_read_acknowledged_and_released(tmp_path: Path) -> None:
    async def main() -> None:
        async with mail_of(tmp_path) as (hive, _, mail):
            await hive.until(lambda: hive.hellos)
            ids = [hive.mail("x") for _ in range(2500)]
            for message in ids:
                hive.inbox[message].state = "leased"
            await mail.read(ids, "turn")
            assert {hive.state_of(i) for i in ids} == {"read"}
            await mail.release(ids[:1100], failed=False, reason="")
            assert {hive.state_of(i) for i in ids[:1100]} == {"queued"}
            assert await mail.ack(ids) == ids[:1100]
            assert {hive.state_of(i) for i in ids[1100:]} == {"acked"}

    asyncio.run(main())


def test_a_call_that_will_always_be_refused_is_not_repeated(tmp_path: Path) -> None:
    async def main() -> None:
        async with mail_of(tmp_path) as (_, link, _mail):
            with pytest.raises(FaultError) as refused:
                await asyncio.wait_for(link.insist(agent.SET_STATUS, lambda _: SetStatus(text="x" * 501)), 30)
            assert refused.value.kind is FaultKind.INVALID_PARAMS

    asyncio.run(main())


def test_abandoned_messages_go_back_to_the_queue_unharmed(tmp_path: Path) -> None:
    async def main() -> None:
        async with mail_of(tmp_path) as (hive, _, mail):
            message = hive.mail("one")
            received = await mail.receive(60)
            mail.abandon([m.id for m in received.messages])
            await hive.until(lambda: hive.state_of(message) == "queued")
            assert hive.inbox[message].envelope.attempt == 1

    asyncio.run(main())
