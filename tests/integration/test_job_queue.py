"""The job queue over a real database, with a worker that does what a test wants of it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hyperhive.broker.database import Database
from hyperhive.broker.decisions import Decisions, Ending
from hyperhive.broker.jobs import JobDraft, JobKind, JobRow, Jobs, JobState
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.notices import Notice, Notices
from hyperhive.hub.queue import MAX_ATTEMPTS, MAX_PARALLEL, JobQueue, Run, kind_of_failure
from hyperhive.protocol.faults import FaultKind
from hyperhive.protocol.ids import MANAGER

PATIENCE_S = 20
DONE = Ending(state=JobState.DONE)
STOP = JobDraft(agent="scout", kind=JobKind.STOP, source="operator")
START = JobDraft(agent="scout", kind=JobKind.START, source="operator")


@dataclass
class Hand:
    """A worker whose every job ends as `do` says; the order of the beginnings is kept."""

    do: Callable[[Run], Awaitable[Ending]]
    begun: list[int] = field(default_factory=list)

    async def carry_out(self, run: Run) -> Ending:
        self.begun.append(run.job.id)
        return await self.do(run)

    async def follow_up(self, job: JobRow) -> None: ...

    async def bad_news(self, job: JobRow, why: str) -> Sequence[Notice]:
        return [Notice(recipient=MANAGER, body=f"{job.id}: {why}")]


@dataclass(frozen=True)
class Office:
    database: Database
    jobs: Jobs
    queue: JobQueue


async def at_once(_: Run) -> Ending:
    return DONE


@asynccontextmanager
async def office(tmp_path: Path, hand: Hand) -> AsyncIterator[Office]:
    database = await Database.open(tmp_path / "hive.sqlite")
    mailbox = await Mailbox.open(database)
    jobs = Jobs(database)
    decisions = Decisions(database, jobs, Notices(database, mailbox))
    queue = JobQueue(jobs, decisions, hand)
    try:
        yield Office(database, jobs, queue)
    finally:
        mailbox.close()
        await database.close()


async def patiently(work: Awaitable[JobRow]) -> JobRow:
    async with asyncio.timeout(PATIENCE_S):
        return await work


def owed(tmp_path: Path) -> list[str]:
    with sqlite3.connect(tmp_path / "hive.sqlite") as connection:
        return [body for (body,) in connection.execute("SELECT body FROM notices ORDER BY id")]


def test_a_job_is_done_although_whoever_asked_for_it_is_gone_before_it_is_stored(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path, Hand(at_once)) as its, its.queue.running():
            asking = asyncio.create_task(its.queue.submit(STOP))
            await asyncio.sleep(0)  # it has asked, and the disk has not answered
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await its.jobs.add(START)  # behind it: by now it is stored
            assert (await patiently(its.queue.ended(1))).state is JobState.DONE

    asyncio.run(scene())


def test_what_ran_when_the_hive_ended_goes_on_before_what_waited_longer(tmp_path: Path) -> None:
    hand = Hand(at_once)

    async def scene() -> None:
        async with office(tmp_path, hand) as its:
            before = Jobs(its.database)  # an earlier hive's
            earlier, later = await before.add(STOP), await before.add(START)
            await before.begin(later.id)
            async with its.queue.running():
                assert (await patiently(its.queue.ended(earlier.id))).state is JobState.DONE
                assert hand.begun == [later.id, earlier.id]

    asyncio.run(scene())


def test_a_job_that_cannot_be_stored_as_begun_is_begun_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperhive.hub.queue.STORE_AGAIN_S", 0.01)

    async def scene() -> None:
        async with office(tmp_path, Hand(at_once)) as its:
            row = await Jobs(its.database).add(STOP)  # by an earlier hive
            refuse = "CREATE TRIGGER refusal BEFORE UPDATE ON jobs BEGIN DELETE FROM no_such_table; END"
            await its.database.write(lambda connection: connection.execute(refuse).rowcount)
            async with its.queue.running():
                for _ in range(3):  # its beginning is refused meanwhile
                    await its.database.write(lambda _: 0)
                await its.database.write(lambda connection: connection.execute("DROP TRIGGER refusal").rowcount)
                assert (await patiently(its.queue.ended(row.id))).state is JobState.DONE

    asyncio.run(scene())


async def breaks(_: Run) -> Ending:
    raise ZeroDivisionError


def test_of_a_job_that_failed_in_an_unexpected_way_those_hear_who_should(tmp_path: Path) -> None:
    async def scene() -> None:
        async with office(tmp_path, Hand(breaks)) as its, its.queue.running():
            with capture_logs():
                row = await patiently(its.queue.ended((await its.queue.submit(STOP)).id))
            assert row.state is JobState.FAILED

    asyncio.run(scene())
    (told,) = owed(tmp_path)
    assert "unexpected" in told


def test_of_a_job_that_the_hive_did_not_survive_again_and_again_those_hear_who_should(tmp_path: Path) -> None:
    hand = Hand(at_once)

    async def scene() -> None:
        async with office(tmp_path, hand) as its:
            before = Jobs(its.database)  # earlier hives'
            row = await before.add(STOP)
            for _ in range(MAX_ATTEMPTS):
                await before.begin(row.id)
            async with its.queue.running():
                assert (await patiently(its.queue.ended(row.id))).state is JobState.FAILED

    asyncio.run(scene())
    assert hand.begun == []
    assert len(owed(tmp_path)) == 1


def test_a_job_that_was_cancelled_while_it_waited_has_a_kind_of_failure_too(tmp_path: Path) -> None:
    async def scene() -> JobRow:
        async with office(tmp_path, Hand(at_once)) as its:
            waiting = await Jobs(its.database).add(STOP)
            return await its.queue.cancel(waiting.id)

    assert kind_of_failure(asyncio.run(scene())) is FaultKind.WRONG_STATE


def test_a_job_that_only_waits_keeps_no_other_agents_from_going_on_and_hears_that_it_is_waited_for(
    tmp_path: Path,
) -> None:
    async def wait_for_the_next(run: Run) -> Ending:
        if run.job.kind is JobKind.STOP:
            run.stand_aside()
            await run.wanted.wait()
        return DONE

    async def scene() -> None:
        hand = Hand(wait_for_the_next)
        async with office(tmp_path, hand) as its, its.queue.running():
            names = [f"scout-{number}" for number in range(MAX_PARALLEL)]
            for name in names:
                await its.queue.submit(replace(STOP, agent=name))
            await patiently(its.queue.ended((await its.queue.submit(START)).id))
            behind = [await its.queue.submit(replace(START, agent=name)) for name in names]
            for row in behind:
                assert (await patiently(its.queue.ended(row.id))).state is JobState.DONE

    asyncio.run(scene())


def test_what_may_take_long_leaves_its_place_to_others_and_can_be_cancelled(tmp_path: Path) -> None:
    async def build_for_ever(run: Run) -> Ending:
        if run.job.kind is JobKind.START:
            return DONE
        with run.interruptible():
            await run.given_up.wait()
        assert (run.takes_a_place, run.can_be_undone) == (True, False)
        return replace(DONE, state=JobState.CANCELLED)

    async def scene() -> None:
        async with office(tmp_path, Hand(build_for_ever)) as its, its.queue.running():
            building = [
                await its.queue.submit(replace(STOP, agent=f"scout-{number}")) for number in range(MAX_PARALLEL)
            ]
            await patiently(its.queue.ended((await its.queue.submit(START)).id))
            for row in building:
                assert (await patiently(its.queue.cancel(row.id))).state is JobState.CANCELLED

    asyncio.run(scene())


def test_what_waits_since_an_earlier_hive_hurries_what_it_waits_for(tmp_path: Path) -> None:
    async def wait_for_the_next(run: Run) -> Ending:
        if run.job.kind is JobKind.STOP:
            await run.wanted.wait()
        return DONE

    async def scene() -> None:
        async with office(tmp_path, Hand(wait_for_the_next)) as its:
            before = Jobs(its.database)
            await before.begin((await before.add(STOP)).id)
            later = await before.add(START)
            async with its.queue.running():
                assert (await patiently(its.queue.ended(later.id))).state is JobState.DONE

    asyncio.run(scene())
