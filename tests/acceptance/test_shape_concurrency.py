"""Everything that is asked of one agent at once is done one after the other; different agents do not wait."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

import needs
from hyperhive.client import ClientError
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import LifecycleScope
from hyperhive.testing.hive_process import PATIENCE_S, eventually
from killer import HANGS, Killer
from shape_house import House, quiet_house

pytestmark = [pytest.mark.container, pytest.mark.timeout(180)]

ROUNDS = 12
REFUSALS = {FaultKind.WRONG_STATE, FaultKind.UNKNOWN_AGENT, FaultKind.NAME_TAKEN}
"""What the order in which the hive takes the requests may make of them."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    needs.bwrap()
    with quiet_house(Killer(tmp_path).prefix) as one:
        yield one


def there(house: House, *names: str) -> None:
    for name in names:
        house.hive.ask(host.Spawn(name=name))
        house.hive.ask(host.SetPaused(name=name, paused=True))
    for name in names:
        house.hive.until(name, lambda row: bool(row.active_model))


def at_once(house: House, *requests: host.AnyRequest) -> list[host.Response | FaultError]:
    """Each on a connection of its own; what each was answered."""

    async def ask() -> list[host.Response | FaultError]:
        calls = (house.hive.client.call(request, timeout_s=PATIENCE_S) for request in requests)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, FaultError):
                raise answer
        return [answer for answer in answers if isinstance(answer, host.Response | FaultError)]

    return asyncio.run(ask())


def kinds(answers: Sequence[host.Response | FaultError]) -> list[str]:
    return sorted(str(answer.kind) if isinstance(answer, FaultError) else "ok" for answer in answers)


def proposed(house: House, text: str, name: str = "a") -> host.Approval:
    (row,) = house.hive.ask(host.EditConfig(name=name, text=text)).approvals or []
    return row


def approves(row: host.Approval) -> host.Approve:
    assert isinstance(row.fetched_sha, str)
    return host.Approve(id=row.id, sha=row.fetched_sha)


def scope(*names: str) -> LifecycleScope:
    return LifecycleScope(agent_names=list(names))


def intervals(jobs: Sequence[host.Job]) -> list[tuple[str, str]]:
    """When each ran; jobs that never began are none."""
    return sorted((str(job.started_at), str(job.ended_at)) for job in jobs if isinstance(job.started_at, str))


def overlap(jobs: Sequence[host.Job]) -> int:
    """The most that ran at one time."""
    edges = sorted(edge for start, end in intervals(jobs) for edge in ((start, 1), (end, -1)))
    count = most = 0
    for _, change in edges:
        count += change
        most = max(most, count)
    return most


# one agent


def wishes(house: House, chance: random.Random) -> list[host.AnyRequest]:
    """Of one agent, in no order; now and then its end is among them."""
    row = proposed(house, f"sleep_after = {chance.randrange(1000, 9000)}\n")
    every: list[host.AnyRequest] = [
        host.Rebuild(name="a"), host.Kill(name="a"), host.Start(scope=scope("a")), host.Restart(name="a"),
        host.Stop(scope=scope("a"), graceful=True), approves(row), approves(row), host.Deny(id=row.id),
    ]  # fmt: skip
    chosen = chance.sample(every, 5)
    return chosen + ([host.Destroy(name="a")] if chance.random() < 0.3 else [])


def replayed(house: House, jobs: Sequence[host.Job], sha: str) -> tuple[bool, bool, str]:
    """What one job after the other makes of an agent that is up: whether it is there, whether up, and its config."""
    lives, up = True, True
    for job in sorted(jobs, key=lambda job: str(job.started_at)):
        assert lives or job.state == "failed", f"{job.kind} was done to an agent that was destroyed"
        if job.state != "done":
            continue
        if job.kind == "destroy":
            lives = False
        elif job.kind in ("start", "stop", "restart"):
            up = job.kind != "stop"
        elif job.kind == "deploy" and isinstance(job.approval, int):
            sha = str(house.approval(job.approval).fetched_sha)
    return lives, lives and up, sha


def config_of(house: House, name: str = "a") -> str:
    config = house.hive.ask(host.Config(name=name)).config
    assert isinstance(config, host.AgentConfig)
    return config.sha


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_asked_at_once_ends_as_one_after_the_other_would(house: House, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS // 3):
        if "a" not in house.names():
            there(house, "a")
        house.hive.ask(host.Start(scope=scope("a")))
        sha, last = config_of(house), house.jobs()[0].id
        requests = wishes(house, chance)
        answers = at_once(house, *requests)
        assert len(answers) == len(requests)
        assert all(answer.kind in REFUSALS for answer in answers if isinstance(answer, FaultError)), answers
        house.settle()
        mine = [job for job in house.jobs() if job.id > last]
        assert overlap(mine) == 1
        lives, up, expected = replayed(house, mine, sha)
        assert ("a" in house.names()) == lives, (requests, mine)
        if lives:
            assert (house.hive.status("a").running, config_of(house)) == (up, expected), (requests, mine)


def test_an_approval_is_decided_once_however_many_decide_at_the_same_time(house: House) -> None:
    there(house, "a")
    house.news()
    for number in range(1000, 1003):
        row = proposed(house, f"sleep_after = {number}\n")
        assert kinds(at_once(house, approves(row), approves(row), approves(row))) == [
            "ok",
            "wrong_state",
            "wrong_state",
        ]
        house.settle()
        assert house.news() == {("rebuilt", "a", "ok"): 1, ("approval_resolved", "a", "approved"): 1}
        assert config_of(house) == row.fetched_sha


def test_an_approval_is_either_approved_or_denied(house: House) -> None:
    there(house, "a")
    for number in range(1000, 1005):
        sha, row = config_of(house), proposed(house, f"sleep_after = {number}\n")
        house.news()
        denied, approved = at_once(house, host.Deny(id=row.id, reason="no"), approves(row))
        assert kinds([denied, approved]) == ["ok", "wrong_state"]
        house.settle()
        is_denied = isinstance(denied, host.Response)
        assert house.approval(row.id).status == ("denied" if is_denied else "approved")
        assert config_of(house) == (sha if is_denied else row.fetched_sha)
        assert house.news()[("approval_resolved", "a", "denied" if is_denied else "approved")] == 1


def test_an_approval_while_its_agent_is_destroyed_is_decided_and_nothing_of_it_runs(house: House) -> None:
    for number in range(1000, 1004):
        there(house, "a")
        row = proposed(house, f"sleep_after = {number}\n")
        house.news()
        both = [approves(row), host.Destroy(name="a")]
        answers = at_once(house, *(both if number % 2 else reversed(both)))
        house.settle()
        status = house.approval(row.id).status
        assert status in ("approved", "failed", "cancelled"), answers
        assert house.names() == ["manager"]
        news = house.news()
        assert news[("destroyed", "a")] == 1
        assert sum(count for event, count in news.items() if event[0] == "approval_resolved") == (
            status != "cancelled"
        )


# a job under way


async def until_it_switches(house: House, sha: str, *, attempt: int = 1) -> host.Job:
    """The deploy's job, once the container of that commit is made, in that attempt of it."""
    async with aclosing(house.hive.client.stream(host.Jobs(name="a", follow=True))) as answers:
        async for answer in answers:
            for job in answer.jobs or []:
                at_it = (job.kind, job.state, job.attempt) == ("deploy", "running", attempt)
                if at_it and "switching" in job.progress:
                    await asyncio.to_thread(eventually, lambda: house.document("a").deployed_sha == sha)
                    return job
    raise AssertionError("the hive ended the jobs")


async def under_way(house: House, kind: str) -> None:
    async with aclosing(house.hive.client.stream(host.Jobs(name="a", follow=True))) as answers:
        async for answer in answers:
            if any((job.kind, job.state) == (kind, "running") for job in answer.jobs or []):
                return


async def queued(house: House, kind: str) -> host.Job:
    """The one of its kind that waits, as soon as it does."""
    async with aclosing(house.hive.client.stream(host.Jobs(name="a", follow=True))) as answers:
        async for answer in answers:
            if waiting := [job for job in answer.jobs or [] if (job.kind, job.state) == (kind, "queued")]:
                (only,) = waiting
                return only
    raise AssertionError("the hive ended the jobs")


async def refused(call: "asyncio.Task[host.Response]") -> FaultError:
    with pytest.raises(FaultError) as fault:
        await call
    return fault.value


def test_a_deploy_whose_harness_does_not_come_up_can_be_cancelled_and_what_waits_behind_it_collapses(
    house: House,
) -> None:
    there(house, "a")
    before, row = config_of(house), proposed(house, f'description = "{HANGS}"\n')
    house.news()

    async def scene() -> tuple[host.Job, list[str]]:
        client = house.hive.client
        deploy = asyncio.create_task(client.call(approves(row)))
        job = await until_it_switches(house, str(row.fetched_sha))
        async with aclosing(client.stream(host.JobLog(id=job.id, follow=True))) as log:
            lines = (await anext(log)).messages or []  # it has not ended, and shows what it is at
            rebuilds = [asyncio.create_task(client.call(host.Rebuild(name="a"))) for _ in range(2)]
            rebuild = await queued(house, "rebuild")
            stop = asyncio.create_task(client.call(host.Kill(name="a")))
            await client.call(host.CancelJob(id=(await queued(house, "stop")).id))
            assert "cancelled" in (await refused(stop)).message
            await client.call(host.CancelJob(id=job.id))
            assert "cancelled" in (await refused(deploy)).message
            assert all([(await done).ok for done in rebuilds])
        with pytest.raises(FaultError) as late:
            await client.call(host.CancelJob(id=rebuild.id))
        assert late.value.kind is FaultKind.WRONG_STATE
        return job, lines

    job, lines = asyncio.run(asyncio.wait_for(scene(), PATIENCE_S))
    assert any("switching" in line for line in lines)
    house.settle()
    assert house.ended(job.id).state == "cancelled"
    assert house.approval(row.id).status == "failed"
    assert config_of(house) == before
    assert house.hive.status("a").running
    assert [job.kind for job in house.jobs() if job.agent == "a"].count("rebuild") == 1
    assert house.news() == {
        ("rebuilt", "a", "failed"): 1, ("approval_resolved", "a", "failed"): 1, ("rebuilt", "a", "ok"): 1
    }  # fmt: skip


# several agents


def test_jobs_of_different_agents_run_side_by_side_but_not_all_at_once(house: House) -> None:
    names = [f"a{number}" for number in range(6)]
    there(house, *names)
    last = house.jobs()[0].id
    assert kinds(at_once(house, *(host.Rebuild(name=name) for name in names))) == ["ok"] * len(names)
    house.settle()
    assert 2 <= overlap([job for job in house.jobs() if job.id > last]) <= 4


# a daemon that is stopped in the middle


def test_a_graceful_stop_goes_on_with_the_next_daemon(house: House) -> None:
    there(house, "a")
    first = house.first_process("a")
    os.kill(first, signal.SIGSTOP)

    async def scene() -> None:
        asking = asyncio.create_task(house.hive.client.call(host.Stop(scope=scope("a"), graceful=True)))
        await under_way(house, "stop")
        await asyncio.to_thread(house.hive.stop)
        with pytest.raises((ClientError, FaultError)):
            await asking

    asyncio.run(scene())
    house.hive.start()
    os.kill(first, signal.SIGCONT)
    job = house.ended(house.jobs()[0].id)
    assert (job.kind, job.state, job.attempt) == ("stop", "done", 2)
    house.settle()
    assert house.hive.status("a").wanted == "down"


def test_a_deploy_goes_on_with_the_next_daemon_and_can_still_be_cancelled(house: House) -> None:
    there(house, "a")
    before, row = config_of(house), proposed(house, f'description = "{HANGS}"\n')

    async def scene() -> host.Job:
        asking = asyncio.create_task(house.hive.client.call(approves(row)))
        job = await until_it_switches(house, str(row.fetched_sha))
        await asyncio.to_thread(house.hive.stop)
        with pytest.raises((ClientError, FaultError)):
            await asking
        return job

    job = asyncio.run(scene())
    house.hive.start()
    again = asyncio.run(until_it_switches(house, str(row.fetched_sha), attempt=2))
    assert (again.id, again.attempt) == (job.id, 2)
    house.hive.ask(host.CancelJob(id=job.id))
    house.settle()
    assert house.approval(row.id).status == "failed"
    assert config_of(house) == before
    assert house.hive.status("a").running
