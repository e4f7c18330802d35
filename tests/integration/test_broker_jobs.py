import asyncio
from pathlib import Path

import msgspec
import pytest

from broker_house import House, play
from hyperhive.broker import jobs as job_queue
from hyperhive.broker.decisions import Ending
from hyperhive.broker.jobs import FIRST_LINES, LEFT_OUT, MAX_LINE, MAX_LINES, JobDraft, JobKind, JobRow, JobState
from hyperhive.protocol.faults import FaultError, FaultKind

DONE = Ending(state=JobState.DONE)


def draft(kind: JobKind = JobKind.RESTART, agent: str = "scout", **params: str | int | bool | None) -> JobDraft:
    return JobDraft(agent=agent, kind=kind, params=params, source="operator")


def test_a_job_is_queued_runs_and_ends_and_each_change_is_told(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        told: list[tuple[int, str]] = []
        house.jobs.on_change = lambda row: told.append((row.attempts, row.state))
        queued = await house.jobs.add(draft(graceful=True))
        assert (queued.state, dict(queued.params)) == (JobState.QUEUED, {"graceful": True})
        running = await house.jobs.begin(queued.id)
        await house.jobs.progress(running.id, "stops the container")
        done = await house.decisions.end(running.id, DONE)
        assert (done.started_at, done.progress) == (running.started_at, "stops the container")
        assert await house.jobs.get(queued.id) == done
        assert told == [(0, "queued"), (1, "running"), (1, "running"), (1, "done")]

    play(tmp_path, scene)


def test_the_same_work_is_queued_once_and_other_work_beside_it(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first = await house.jobs.add(draft(graceful=True, wait=1))
        again = await house.jobs.add(draft(wait=1, graceful=True))
        others = [
            await house.jobs.add(draft(wait=2, graceful=True)),
            await house.jobs.add(draft(JobKind.STOP)),
            await house.jobs.add(draft(JobKind.STOP, "other")),
        ]
        assert again == first
        assert [row.id for row in await house.jobs.unfinished()] == [first.id, *(row.id for row in others)]

    play(tmp_path, scene)


def test_what_is_wanted_last_comes_last_even_if_it_was_queued_before(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for kind in (JobKind.START, JobKind.STOP, JobKind.START):
            await house.jobs.add(draft(kind))
        assert [row.kind for row in await house.jobs.unfinished()] == [JobKind.START, JobKind.STOP, JobKind.START]

    play(tmp_path, scene)


def test_a_running_job_takes_no_new_wish_along(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first = await house.jobs.add(draft())
        await house.jobs.begin(first.id)
        assert (await house.jobs.add(draft())).id != first.id

    play(tmp_path, scene)


def test_a_job_of_an_approval_is_never_one_with_another(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        plain = await house.jobs.add(draft(JobKind.DEPLOY))
        approved = JobDraft(agent="scout", kind=JobKind.DEPLOY, source="approval", approval=7)
        ids = {plain.id, (await house.jobs.add(approved)).id, (await house.jobs.add(draft(JobKind.DEPLOY))).id}
        assert len(ids) == 3

    play(tmp_path, scene)


def test_one_job_of_an_agent_runs_at_a_time_and_agents_run_beside_each_other(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first, second = await house.jobs.add(draft()), await house.jobs.add(draft(JobKind.STOP))
        other = await house.jobs.add(draft(agent="other"))
        await house.jobs.begin(first.id)
        await house.jobs.begin(other.id)
        with pytest.raises(FaultError, match="another job of its agent runs") as refused:
            await house.jobs.begin(second.id)
        assert refused.value.kind is FaultKind.WRONG_STATE
        await house.decisions.end(first.id, DONE)
        assert (await house.jobs.begin(second.id)).state is JobState.RUNNING

    play(tmp_path, scene)


def test_a_job_that_ran_when_the_hive_ended_is_begun_again(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        await house.jobs.begin((await house.jobs.add(draft())).id)
        house.clock.advance(60)

    async def after(house: House) -> None:
        (left,) = await house.jobs.unfinished()
        assert left.state is JobState.RUNNING
        again = await house.jobs.begin(left.id)
        assert (again.attempts, again.started_at) == (2, left.started_at)
        assert again.on_wire().attempt == 2

    play(tmp_path, before, after)


def test_only_what_waits_is_cancelled(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        waiting, running = await house.jobs.add(draft()), await house.jobs.add(draft(agent="other"))
        await house.jobs.begin(running.id)
        cancelled = await house.jobs.cancel(waiting.id, "not needed")
        assert (cancelled.state, cancelled.error, cancelled.ended_at) == ("cancelled", "not needed", house.clock.now())
        with pytest.raises(FaultError, match="only what waits can be cancelled"):
            await house.jobs.cancel(running.id, "too late")
        for call in (house.jobs.cancel(waiting.id, "again"), house.jobs.begin(waiting.id)):
            with pytest.raises(FaultError, match="it is cancelled"):
                await call

    play(tmp_path, scene)


def test_a_job_is_either_begun_or_cancelled(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        row = await house.jobs.add(draft())
        outcomes = await asyncio.gather(
            house.jobs.cancel(row.id, "no"), house.jobs.begin(row.id), return_exceptions=True
        )
        assert isinstance(outcomes[0], JobRow)
        assert isinstance(outcomes[1], FaultError)

    play(tmp_path, scene)


def test_an_approval_whose_job_is_cancelled_has_failed(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        asked, _ = await house.approvals.queue(agent="scout", kind="spawn")
        _, job = await house.decisions.approve(asked.id, sha=None, job=draft(JobKind.SPAWN))
        await house.jobs.cancel(job.id, "the operator changed their mind")
        kept = await house.approvals.get(asked.id)
        assert kept is not None
        assert (kept.status, kept.note) == ("failed", "the operator changed their mind")

    play(tmp_path, scene)


def test_a_job_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for call in (
            house.jobs.begin(9), house.jobs.cancel(9, ""), house.jobs.progress(9, ""), house.jobs.log(9, ["x"]),
            house.decisions.end(9, DONE),
        ):  # fmt: skip
            with pytest.raises(FaultError, match="job 9") as refused:
                await call
            assert refused.value.kind is FaultKind.UNKNOWN_JOB
        assert await house.jobs.get(9) is None

    play(tmp_path, scene)


def test_log_lines_are_numbered_told_and_read_on_from(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        told: list[tuple[int, list[str]]] = []
        house.jobs.on_line = lambda number, lines: told.append((number, lines))
        job = await house.jobs.add(draft())
        await house.jobs.log(job.id, ["one", "two\ud800"])
        await house.jobs.log(job.id, ["é" * MAX_LINE])
        lines = await house.jobs.lines(job.id)
        assert [(seq, text) for seq, _, text in lines] == [(1, "one"), (2, "two?"), (3, "é" * (MAX_LINE // 2))]
        assert await house.jobs.lines(job.id, after_seq=2) == lines[2:]
        assert told == [(job.id, ["one", "two?"]), (job.id, ["é" * (MAX_LINE // 2)])]

    play(tmp_path, scene)


def test_of_a_very_long_log_the_middle_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        job = await house.jobs.add(draft())
        for start in range(0, 6_000, 1_500):
            await house.jobs.log(job.id, [f"line {number}" for number in range(start + 1, start + 1_501)])
        await house.jobs.log(job.id, ["the error"])
        lines = [text for _, _, text in await house.jobs.lines(job.id)]
        assert len(lines) == MAX_LINES
        assert lines[FIRST_LINES - 1 : FIRST_LINES + 1] == [f"line {FIRST_LINES}", LEFT_OUT]
        assert lines[-2:] == ["line 6000", "the error"]

    play(tmp_path, scene)


def test_so_many_jobs_may_wait_for_an_agent(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for number in range(job_queue.MAX_QUEUED):
            await house.jobs.add(draft(n=number))
        with pytest.raises(FaultError) as refused:
            await house.jobs.add(draft(JobKind.STOP))
        assert refused.value.kind is FaultKind.TOO_FAST
        await house.jobs.add(draft(agent="other"))

    play(tmp_path, scene)


def test_old_jobs_go_with_their_logs_and_unfinished_ones_stay(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        old, open_one = await house.jobs.add(draft()), await house.jobs.add(draft(agent="other"))
        await house.jobs.log(old.id, ["x"])
        await house.jobs.cancel(old.id, "")
        house.clock.advance(100)
        young = await house.jobs.add(draft())
        await house.jobs.cancel(young.id, "")
        assert await house.jobs.vacuum(house.clock.now() - 50) == 1
        assert [row.id for row in await house.jobs.newest(10)] == [young.id, open_one.id]
        assert [row.id for row in await house.jobs.newest(10, "other")] == [open_one.id]
        assert await house.jobs.lines(old.id) == []

    play(tmp_path, scene)


def test_a_job_on_the_wire_leaves_out_what_is_not_there(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        job = await house.jobs.add(draft())
        assert msgspec.to_builtins(job.on_wire()) == {
            "id": 1, "agent": "scout", "kind": "restart", "state": "queued", "source": "operator",
            "created_at": "2023-11-14T22:13:20.000Z", "requester": "", "reason": "", "attempt": 1, "progress": "",
        }  # fmt: skip

    play(tmp_path, scene)


def test_a_change_is_told_even_if_the_one_who_made_it_is_gone(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        told: list[JobRow] = []
        house.jobs.on_change = told.append
        task = asyncio.create_task(house.jobs.add(draft()))
        await asyncio.sleep(0)
        task.cancel()
        await house.settled()
        assert [row.state for row in told] == [JobState.QUEUED]

    play(tmp_path, scene)
