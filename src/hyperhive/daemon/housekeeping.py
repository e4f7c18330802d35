"""What is swept now and then: handled mail, old events, ended jobs."""

import asyncio
import time
from typing import Final

import structlog

from hyperhive.broker.events import EventLog
from hyperhive.broker.jobs import Jobs
from hyperhive.broker.mailbox import Mailbox

MAIL_DAYS: Final = 30
JOB_DAYS: Final = 90
EVERY_S: Final = 3600.0

log = structlog.get_logger(__name__)


async def sweep(mailbox: Mailbox, events: EventLog, jobs: Jobs) -> None:
    """Once an hour, until cancelled. A sweep that fails is logged and tried again an hour later."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            removed = await mailbox.vacuum(time.time() - MAIL_DAYS * 86400)
            await events.trim()
            await jobs.vacuum(time.time() - JOB_DAYS * 86400)
            log.info("swept", messages=removed)
        except Exception:  # the boundary of a task that nobody waits for; an hour later is soon enough
            log.exception("cannot sweep")
