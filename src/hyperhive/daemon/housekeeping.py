"""What is swept now and then: handled mail, old events, ended jobs, turns of long ago."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from hyperhive.broker.events import EventLog
from hyperhive.broker.jobs import Jobs
from hyperhive.broker.mailbox import Mailbox
from hyperhive.broker.turns import Turns
from hyperhive.hub.work import Work

MAIL_DAYS: Final = 30
JOB_DAYS: Final = 90
TURN_DAYS: Final = 400
AGAIN_S: Final = 5.0
EVERY_S: Final = 3600.0

log = structlog.get_logger(__name__)


async def sweep(mailbox: Mailbox, events: EventLog, work: Work, jobs: Jobs, turns: Turns) -> None:
    """Once an hour, until cancelled. A sweep that fails is logged and tried again an hour later."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            removed = await mailbox.vacuum(time.time() - MAIL_DAYS * 86400)
            await events.trim()
            old = time.time() - JOB_DAYS * 86400
            for settled in (jobs, work.questions, work.reminders):
                await settled.vacuum(old)
            await turns.vacuum(time.time() - TURN_DAYS * 86400)
            log.info("swept", messages=removed)
        except Exception:  # the boundary of a task that nobody waits for; an hour later is soon enough
            log.exception("cannot sweep")


async def persist(what: str, run: Callable[[], Awaitable[Any]]) -> None:
    """Until cancelled: what failed in an unexpected way is logged, and begun anew a little later."""
    while True:
        await once(what, run)
        await asyncio.sleep(AGAIN_S)


async def once(what: str, run: Callable[[], Awaitable[Any]]) -> None:
    """With nobody waiting for it: its failure is the log's."""
    try:
        await run()
    except Exception:  # the boundary of a task that nobody waits for
        log.exception("work in the background failed", work=what)
