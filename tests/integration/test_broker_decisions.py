"""A decision and its job, and the end of a job with all that it changes, are each one step: done or not done."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from broker_house import House, failing_at, healed, play
from hyperhive.broker.approvals import ApprovalRow
from hyperhive.broker.decisions import Ending
from hyperhive.broker.deployments import DeploymentRow
from hyperhive.broker.jobs import JobDraft, JobKind, JobRow, JobState
from hyperhive.broker.notices import Notice
from hyperhive.protocol.faults import FaultError, FaultKind

SHA = "a" * 40
OTHER_SHA = "b" * 40
DEPLOY = JobDraft(agent="scout", kind=JobKind.DEPLOY, params={"sha": SHA}, source="approval")
TOLD = Notice(recipient="manager", body="it is live")


class View(NamedTuple):
    """What there is to be seen of a deployment on its way."""

    approval: str
    job: str | None
    deployed_sha: str
    deployments: int
    owed: int


async def proposed(house: House) -> ApprovalRow:
    await house.roster.add("scout")
    row, _ = await house.approvals.queue(agent="scout", kind="apply_commit", commit_ref=SHA[:7], fetched_sha=SHA)
    return row


async def approved(house: House) -> JobRow:
    row = await proposed(house)
    return (await house.decisions.approve(row.id, sha=SHA, job=DEPLOY))[1]


async def running(house: House) -> JobRow:
    return await house.jobs.begin((await approved(house)).id)


def live(house: House, approval: int = 1, sha: str = SHA) -> Ending:
    deployment = DeploymentRow(agent="scout", approval=approval, sha=sha, deployed_at=house.clock.now())
    return Ending(state=JobState.DONE, deployment=deployment, agent={"built_with": "v2"}, notices=[TOLD])


async def view(house: House) -> View:
    (approval,) = await house.approvals.of("scout")
    jobs = await house.jobs.newest(10)
    agent = await house.roster.get("scout")
    assert agent is not None
    return View(
        approval=approval.status, job=jobs[0].state if jobs else None, deployed_sha=agent.deployed_sha,
        deployments=len(await house.deployments.of("scout")), owed=len(await house.owed()),
    )  # fmt: skip


def test_approving_what_was_shown_queues_its_job(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        asked = await proposed(house)
        told: list[JobRow] = []
        house.jobs.on_change = told.append
        row, job = await house.decisions.approve(asked.id, sha=SHA, job=DEPLOY)
        assert (row.status, row.resolved_at) == ("approved", house.clock.now())
        assert (job.approval, job.state, dict(job.params)) == (asked.id, JobState.QUEUED, {"sha": SHA})
        assert told == [job]

    play(tmp_path, scene)


def test_approving_another_commit_than_what_is_asked_for_changes_nothing(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        asked = await proposed(house)
        for sha in (OTHER_SHA, SHA[:7], ""):
            with pytest.raises(FaultError, match="look at it again") as refused:
                await house.decisions.approve(asked.id, sha=sha, job=DEPLOY)
            assert refused.value.kind is FaultKind.SHA_MISMATCH
        assert (await view(house))[:2] == ("pending", None)

    play(tmp_path, scene)


def test_a_spawn_has_no_commit_to_name(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        asked, _ = await house.approvals.queue(agent="scout", kind="spawn")
        job = JobDraft(agent="scout", kind=JobKind.SPAWN, source="approval")
        with pytest.raises(FaultError, match="not a commit"):
            await house.decisions.approve(asked.id, sha=SHA, job=job)
        row, _ = await house.decisions.approve(asked.id, sha=None, job=job)
        assert row.status == "approved"

    play(tmp_path, scene)


def test_of_two_who_approve_one_does_and_there_is_one_job(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        asked = await proposed(house)
        outcomes = await asyncio.gather(
            *(house.decisions.approve(asked.id, sha=SHA, job=DEPLOY) for _ in range(3)),
            house.decisions.deny(asked.id, "no"),
            return_exceptions=True,
        )
        assert [isinstance(outcome, FaultError) for outcome in outcomes] == [False, True, True, True]
        assert len(await house.jobs.newest(10)) == 1
        with pytest.raises(FaultError, match="there is none") as refused:
            await house.decisions.approve(99, sha=None, job=DEPLOY)
        assert refused.value.kind is FaultKind.UNKNOWN_APPROVAL

    play(tmp_path, scene)


def test_a_decision_against_it_is_told_with_it(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first, _ = await house.approvals.queue(agent="scout", kind="spawn")
        second, _ = await house.approvals.queue(agent="scout", kind="spawn")
        denied = await house.decisions.deny(first.id, "too many", [Notice(recipient="manager", body="denied")])
        cancelled = await house.decisions.cancel(second.id, "gone", [Notice(recipient="manager", body="cancelled")])
        assert (denied.status, denied.note) == ("denied", "too many")
        assert (cancelled.status, cancelled.note) == ("cancelled", "gone")
        with pytest.raises(FaultError, match="it is denied already"):
            await house.decisions.cancel(first.id, "gone", [TOLD])
        assert await house.owed() == [("manager", "denied"), ("manager", "cancelled")]

    play(tmp_path, scene)


def test_what_the_operator_does_at_once_is_an_approval_with_its_job(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        row, job = await house.decisions.decide_and_do(
            agent="scout", kind="apply_commit", fetched_sha=SHA, description="back to 3", job=DEPLOY
        )
        assert (row.status, row.requester, row.description) == ("approved", "operator", "back to 3")
        assert (job.approval, job.state) == (row.id, JobState.QUEUED)
        assert await house.approvals.pending() == []

    play(tmp_path, scene)


def test_a_job_that_is_done_makes_its_commit_live_and_owes_the_news(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        job = await running(house)
        ended = await house.decisions.end(job.id, live(house))
        assert ended.state is JobState.DONE
        assert await view(house) == View("approved", "done", SHA, 1, 1)
        agent = await house.roster.get("scout")
        assert agent is not None
        assert agent.built_with == "v2"
        found = await house.deployments.get("scout", 1)
        assert found is not None
        assert (found.sha, found.deployed_at) == (SHA, house.clock.now())

    play(tmp_path, scene)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_the_approval_of_a_job_that_was_not_done_has_failed_with_its_error(tmp_path: Path, state: JobState) -> None:
    async def scene(house: House) -> None:
        job = await running(house)
        ending = Ending(state=state, error="no such package", error_kind="bad_config", notices=[TOLD])
        ended = await house.decisions.end(job.id, ending)
        assert (ended.error, ended.error_kind) == ("no such package", "bad_config")
        assert await view(house) == View("failed", state, "", 0, 1)
        (row,) = await house.approvals.of("scout")
        assert row.note == "no such package"

    play(tmp_path, scene)


def test_a_job_ends_once(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        job = await running(house)
        failed = Ending(state=JobState.FAILED, error="late", notices=[TOLD])
        outcomes = await asyncio.gather(
            house.decisions.end(job.id, live(house)), house.decisions.end(job.id, failed), return_exceptions=True
        )
        assert isinstance(outcomes[1], FaultError)
        assert outcomes[1].kind is FaultKind.WRONG_STATE
        assert await view(house) == View("approved", "done", SHA, 1, 1)

    play(tmp_path, scene)


def test_a_job_that_never_ran_cannot_end_and_none_ends_as_running(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        job = await approved(house)
        with pytest.raises(FaultError, match="it is queued"):
            await house.decisions.end(job.id, live(house))
        with pytest.raises(ValueError, match="cannot end as running"):
            await house.decisions.end(job.id, Ending(state=JobState.RUNNING))
        with pytest.raises(TypeError, match="incarnation"):
            await house.decisions.end(job.id, Ending(state=JobState.DONE, agent={"incarnation": 3}))

    play(tmp_path, scene)


def test_a_queued_job_is_cancelled_with_its_approval_and_the_news(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        job = await approved(house)
        await house.decisions.cancel_job(job.id, "not now", [TOLD])
        assert await view(house) == View("failed", "cancelled", "", 0, 1)
        with pytest.raises(FaultError, match="it is cancelled"):
            await house.decisions.cancel_job(job.id, "again", [TOLD])
        assert len(await house.owed()) == 1

    play(tmp_path, scene)


@pytest.mark.parametrize(("table", "event"), [("jobs", "INSERT"), ("approvals", "UPDATE")])
def test_an_approval_is_either_decided_with_its_job_or_not_at_all(tmp_path: Path, table: str, event: str) -> None:
    async def broken(house: House) -> None:
        asked = await proposed(house)
        await house.database.write(failing_at(table, event))
        with pytest.raises(Exception, match="refused by the test"):
            await house.decisions.approve(asked.id, sha=SHA, job=DEPLOY)

    async def after(house: House) -> None:
        assert await view(house) == View("pending", None, "", 0, 0)
        await house.database.write(healed)
        await house.decisions.approve(1, sha=SHA, job=DEPLOY)
        assert (await view(house))[:2] == ("approved", "queued")

    play(tmp_path, broken, after)


@pytest.mark.parametrize(
    ("table", "event"), [("jobs", "UPDATE"), ("deployments", "INSERT"), ("agents", "UPDATE"), ("notices", "INSERT")]
)
def test_a_job_is_either_done_with_all_that_follows_or_still_runs(tmp_path: Path, table: str, event: str) -> None:
    async def broken(house: House) -> None:
        job = await running(house)
        await house.database.write(failing_at(table, event))
        with pytest.raises(Exception, match="refused by the test"):
            await house.decisions.end(job.id, live(house))

    async def after(house: House) -> None:
        assert await view(house) == View("approved", "running", "", 0, 0)
        await house.database.write(healed)
        (left,) = await house.jobs.unfinished()
        await house.jobs.begin(left.id)
        await house.decisions.end(left.id, live(house))
        assert await view(house) == View("approved", "done", SHA, 1, 1)

    play(tmp_path, broken, after)


@pytest.mark.parametrize(("table", "event"), [("approvals", "UPDATE"), ("notices", "INSERT"), ("jobs", "UPDATE")])
def test_a_job_has_either_failed_with_its_approval_or_still_runs(tmp_path: Path, table: str, event: str) -> None:
    async def broken(house: House) -> None:
        job = await running(house)
        await house.database.write(failing_at(table, event))
        with pytest.raises(Exception, match="refused by the test"):
            await house.decisions.end(job.id, Ending(state=JobState.FAILED, error="no", notices=[TOLD]))

    async def after(house: House) -> None:
        assert await view(house) == View("approved", "running", "", 0, 0)

    play(tmp_path, broken, after)


def test_deployments_are_listed_newest_first_until_they_are_forgotten(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for approval, sha in ((0, SHA), (4, OTHER_SHA)):
            job = await house.jobs.add(JobDraft(agent="scout", kind=JobKind.DEPLOY, source="operator"))
            await house.jobs.begin(job.id)
            await house.decisions.end(job.id, live(house, approval, sha))
            house.clock.advance(1)
        assert [row.approval for row in await house.deployments.of("scout")] == [4, 0]
        assert [row.approval for row in await house.deployments.of("scout", 1)] == [4]
        assert await house.deployments.of("other") == []
        await house.deployments.forget("scout")
        assert await house.deployments.get("scout", 4) is None

    play(tmp_path, scene)


def test_the_end_of_a_job_of_a_destroyed_agent_is_no_fault(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        job = await running(house)
        await house.roster.destroy("scout")
        ended = await house.decisions.end(job.id, live(house))
        assert ended.state is JobState.DONE
        (gone,) = await house.roster.lives("scout")
        assert gone.deployed_sha == ""

    play(tmp_path, scene)


async def deny(house: House) -> None:
    await house.decisions.deny((await proposed(house)).id, "no", [TOLD])


async def cancel(house: House) -> None:
    await house.decisions.cancel((await proposed(house)).id, "gone", [TOLD])


async def cancel_job(house: House) -> None:
    await house.decisions.cancel_job((await approved(house)).id, "gone", [TOLD])


async def end(house: House) -> None:
    await house.decisions.end((await running(house)).id, live(house))


@pytest.mark.parametrize("change", [deny, cancel, cancel_job, end])
def test_what_is_owed_for_a_decision_is_delivered_while_the_hive_runs(
    tmp_path: Path, change: Callable[[House], Awaitable[None]]
) -> None:
    async def scene(house: House) -> None:
        await house.mailbox.register("manager", 1)
        async with house.delivering():
            await change(house)
            assert [row.body for row in await house.inbox("manager", 1)] == ["it is live"]

    play(tmp_path, scene)
