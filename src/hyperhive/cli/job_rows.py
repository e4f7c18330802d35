"""Jobs as the operator reads them."""

from typing import Final

from hyperhive.cli.ages import age
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host

COLUMNS: Final = ("ID", "AGENT", "WHAT", "STATE", "AGE", "AT")
LIVE: Final = ("queued", "running")
EVERYBODY: Final = "(all)"


def cells(job: host.Job) -> tuple[str, ...]:
    return (str(job.id), job.agent or EVERYBODY, job.kind, state(job), age(job.created_at), one_line(_at(job), 100))


def sentence(job: host.Job) -> str:
    """One job on one line."""
    at = _at(job)
    return one_line(f"{job.id} {job.kind} {job.agent or EVERYBODY}: {state(job)}" + (f" · {at}" if at else ""), 400)


def state(job: host.Job) -> str:
    return f"{job.state} (attempt {job.attempt})" if job.attempt > 1 else job.state


def _at(job: host.Job) -> str:
    """What it failed with, or what it is at, or else why it was there."""
    return job.error or (job.progress if job.state in LIVE else "") or job.reason
