"""A hive's decisions without a hive: proposes, approves, deploys and reminds until it is killed, or drains the rest.

python decision_traffic.py FOLDER go|drain
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from broker_house import Broker
from hyperhive.broker.approvals import ApprovalRow
from hyperhive.broker.clock import SystemClock
from hyperhive.broker.database import Database
from hyperhive.broker.decisions import Ending
from hyperhive.broker.deployments import DeploymentRow
from hyperhive.broker.jobs import JobDraft, JobKind, JobRow, JobState
from hyperhive.broker.letters import Limits
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.notices import Notice
from hyperhive.broker.questions import Party

AGENTS: Sequence[str] = ("ant", "bee", "cat")
BOUNDLESS = Limits(inbox=1_000_000)


def sha(number: int) -> str:
    return f"{number:040x}"


def say(what: str, number: int) -> None:
    sys.stdout.write(f"{what} {number}\n")
    sys.stdout.flush()


def ending(job: JobRow) -> Ending:
    """Every third fails."""
    notices = [Notice(recipient="manager", body=f"job {job.id}")]
    if job.id % 3 == 0:
        return Ending(state=JobState.FAILED, error="every third fails", notices=notices)
    assert job.approval is not None
    deployment = DeploymentRow(agent=job.agent, approval=job.approval, sha=sha(job.approval), deployed_at=job.id)
    return Ending(state=JobState.DONE, deployment=deployment, notices=notices)


async def carry_out(broker: Broker, job: JobRow) -> None:
    running = await broker.jobs.begin(job.id)
    await broker.jobs.log(job.id, [f"attempt {running.attempts}"])
    await broker.decisions.end(job.id, ending(running))
    say("ended", job.id)


async def decide(broker: Broker, row: ApprovalRow) -> None:
    draft = JobDraft(agent=row.agent, kind=JobKind.DEPLOY, source="approval")
    _, job = await broker.decisions.approve(row.id, sha=row.fetched_sha, job=draft)
    say("approved", row.id)
    await carry_out(broker, job)


async def propose(broker: Broker, agent: str) -> None:
    number = len(await broker.approvals.newest(100_000)) + 1
    row, _ = await broker.approvals.queue(
        agent=agent, kind="apply_commit", fetched_sha=sha(number), requester="manager", mid=f"{number}"
    )
    say("asked", row.id)
    await broker.reminders.remind(Party(name="manager", incarnation=1), f"after {row.id}", 0, mid=f"{row.id}")
    await decide(broker, row)


async def finish_what_is_left(broker: Broker) -> None:
    for job in await broker.jobs.unfinished():
        await carry_out(broker, job)
    for row in await broker.approvals.pending():
        await decide(broker, row)


async def main(folder: Path, drain: bool) -> None:
    clock = SystemClock()
    database = await Database.open(folder / "hive.sqlite")
    mailbox = await Mailbox.open(database, clock=clock, limits=BOUNDLESS)
    broker = Broker(database, mailbox, clock)
    await mailbox.register("manager", 1)
    living = {row.name for row in await broker.roster.list()}
    for agent in AGENTS:
        if agent not in living:
            await broker.roster.add(agent)
    await broker.reminders.open()
    async with broker.delivering():
        await finish_what_is_left(broker)
        while not drain:
            for agent in AGENTS:
                await propose(broker, agent)
        while await broker.owed() or await broker.reminders.pending():
            await broker.settled()
    broker.reminders.close()
    mailbox.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "drain"))
