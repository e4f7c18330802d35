"""The one queue of container work: serial for each agent, a few agents at a time, kept over the daemon's death."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from hyperhive.broker.decisions import Decisions, Ending
from hyperhive.broker.jobs import JobDraft, JobRow, Jobs, JobState
from hyperhive.broker.notices import Notice
from hyperhive.hub.background import Background
from hyperhive.hub.changes import Changes
from hyperhive.protocol.faults import FaultError, FaultKind

MAX_PARALLEL: Final = 4
MAX_ATTEMPTS: Final = 5
"""Of one job: it is begun again when the hive ended in the middle of it, but not for ever."""
STORE_AGAIN_S: Final = 5.0
CANCELLED: Final = "cancelled by the operator"
IF_WANTED: Final = "if_wanted"
"""A parameter of a restart that nobody asked for: one who is meant to be down when its turn comes is left so."""

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class Run:
    """A job under way."""

    job: JobRow
    jobs: Jobs
    given_up: asyncio.Event = field(default_factory=asyncio.Event)  #: set when the operator cancels it
    can_be_undone: bool = False  #: whether cancelling it leaves everything as it was
    wanted: asyncio.Event = field(default_factory=asyncio.Event)  #: set when another job of its agent waits
    takes_a_place: bool = True  #: of those that run at the same time
    aside: Callable[[], None] = lambda: None

    @property
    def begun_before(self) -> bool:
        """The hive ended while it ran: part of it may be done."""
        return self.job.attempts > 1

    def stand_aside(self) -> None:
        """It only waits now, maybe for long: others may run in its place."""
        self.takes_a_place = False
        self.aside()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """What may take long, and leaves everything as it was when it is given up: meanwhile others may run in its
        place, and the operator can cancel it."""
        before, self.can_be_undone = self.can_be_undone, True
        self.stand_aside()
        try:
            yield
        finally:
            self.takes_a_place, self.can_be_undone = True, before

    async def say(self, text: str) -> None:
        """What it is at now: shown as its progress, kept in its log."""
        # Side by side, and so in one commit: a job says several things, and each would wait for the disk twice.
        await asyncio.gather(self.jobs.progress(self.job.id, text), self.jobs.log(self.job.id, [text]))


class Worker(Protocol):
    """Who does the jobs."""

    async def carry_out(self, run: Run) -> Ending:
        """Do a job and say how it ended; what it raises as FaultError is the job's failure."""
        ...

    async def follow_up(self, job: JobRow) -> None:
        """The job has ended, and that is written down."""

    async def bad_news(self, job: JobRow, why: str) -> Sequence[Notice]:
        """Whom to tell of a job that comes to nothing without having been carried out to its end."""
        ...


class JobQueue:
    """Begins what waits, in order. Enter `running()` once; leaving it stops the work where it is: the next hive begins
    those jobs again."""

    def __init__(self, jobs: Jobs, decisions: Decisions, worker: Worker) -> None:
        self.jobs = jobs
        self.changes = Changes()
        self._decisions = decisions
        self._worker = worker
        self._waiting: dict[int, JobRow] = {}
        self._runs: dict[int, Run] = {}
        self._busy: set[str] = set()
        self._ends: dict[int, set[asyncio.Future[JobRow]]] = {}
        self._background = Background()
        jobs.on_change = self._changed
        jobs.on_line = lambda number, _lines: self.changes.publish(str(number))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._admit(await self.jobs.unfinished())
        try:
            yield
        finally:
            await self._background.close()

    async def submit(self, draft: JobDraft) -> JobRow:
        """Queue it; a job that says the same and waits already is given instead."""
        return await self.jobs.add(draft)

    async def done(self, draft: JobDraft) -> JobRow:
        """Queue it and wait until it is done; raises FaultError when it fails."""
        return succeeded(await self.ended((await self.submit(draft)).id))

    async def ended(self, number: int) -> JobRow:
        """The job once it has ended, well or not. Raises FaultError (`unknown_job`)."""
        end: asyncio.Future[JobRow] = asyncio.get_running_loop().create_future()
        ends = self._ends.setdefault(number, set())
        ends.add(end)
        try:
            row = await self._get(number)
            return row if row.state.ended else await end
        finally:
            ends.discard(end)
            if not ends:
                self._ends.pop(number, None)

    async def log(self, number: int, *, follow: bool) -> AsyncIterator[tuple[list[str], JobRow | None]]:
        """The job's lines as they come, and with the last of them the job; without `follow` what there is now."""
        with self.changes.subscribe() as changes:
            last, over = 0, False
            while not over:
                row = await self._get(number)  # before its lines: once it has ended there are no more
                lines = await self.jobs.lines(number, last)
                last = lines[-1][0] if lines else last
                over = row.state.ended or not follow
                yield [text for _, _, text in lines], row if over else None
                while not over and str(number) not in await changes.batch():
                    pass

    async def cancel(self, number: int) -> JobRow:
        """Take back one that waits; give up one that runs, where that leaves everything as it was."""
        run = self._runs.get(number)
        if run is None:
            told = await self._worker.bad_news(await self._get(number), CANCELLED)
            row = await self._decisions.cancel_job(number, CANCELLED, told)
            self._waiting.pop(number, None)
            await self._finish(row)
            return row
        if not run.can_be_undone:
            raise FaultError(
                FaultKind.WRONG_STATE,
                f"cannot cancel job {number}: it is past the point where all could be left as it was",
            )
        run.given_up.set()
        return await self.ended(number)

    # inside

    async def _get(self, number: int) -> JobRow:
        row = await self.jobs.get(number)
        if row is None:
            raise FaultError(FaultKind.UNKNOWN_JOB, f"there is no job {number}; hive jobs shows them")
        return row

    def _changed(self, row: JobRow) -> None:
        """It is stored so. One that is queued waits here from now on, also when whoever asked for it has gone."""
        if row.state is JobState.QUEUED:
            self._admit([row])
        self.changes.publish(str(row.id))

    async def _finish(self, row: JobRow) -> None:
        """It has ended and is written down: what follows from it, and then those who wait for it."""
        try:
            await self._worker.follow_up(row)
        finally:
            for end in self._ends.get(row.id, ()):
                if not end.done():
                    end.set_result(row)

    def _admit(self, rows: Iterable[JobRow]) -> None:
        self._waiting |= {row.id: row for row in rows}
        self._begin_what_can()

    def _begin_what_can(self) -> None:
        for row in list(self._waiting.values()):
            if row.agent not in self._busy and self._has_a_place():
                del self._waiting[row.id]
                self._busy.add(row.agent)
                self._runs[row.id] = run = Run(job=row, jobs=self.jobs, aside=self._begin_what_can)
                self._background.begin(self._run(run))
        waited_for = {row.agent for row in self._waiting.values()}
        for run in self._runs.values():
            if run.job.agent in waited_for:
                run.wanted.set()

    def _has_a_place(self) -> bool:
        taken = sum(run.takes_a_place for run in self._runs.values())
        return taken < MAX_PARALLEL and not self._background.closed

    async def _run(self, run: Run) -> None:
        row = run.job
        try:
            run.job = await self._stored(row.id, lambda: self.jobs.begin(row.id))
            await self._end(run, await self._outcome(run))
        except FaultError as fault:
            log.error("a job could not be begun", job=row.id, agent=row.agent, error=fault.message)
        finally:
            self._runs.pop(row.id, None)
            self._busy.discard(row.agent)
            self._begin_what_can()

    async def _outcome(self, run: Run) -> Ending:
        if run.job.attempts > MAX_ATTEMPTS:
            text = f"the hive ended {MAX_ATTEMPTS} times while it did this; its log says why; then ask for it again"
            return await self._failed(run.job, text)
        try:
            return await self._worker.carry_out(run)
        except FaultError as fault:
            return Ending(state=JobState.FAILED, error=fault.message, error_kind=fault.kind)
        except Exception:  # the boundary of a job: it must end, and the log has the reason
            log.exception("a job failed in an unexpected way", job=run.job.id, kind=run.job.kind, agent=run.job.agent)
            return await self._failed(run.job, "it failed in an unexpected way; the daemon's log has the reason")

    async def _failed(self, job: JobRow, text: str) -> Ending:
        told: Sequence[Notice] = ()
        with contextlib.suppress(FaultError):  # the job's end matters more
            told = await self._worker.bad_news(job, text)
        return Ending(state=JobState.FAILED, error=text, error_kind=FaultKind.INTERNAL, notices=told)

    async def _end(self, run: Run, ending: Ending) -> None:
        row = await self._stored(run.job.id, lambda: self._decisions.end(run.job.id, ending))
        run.stand_aside()  # what follows may have to wait for somebody's nix
        await self._finish(row)

    async def _stored(self, number: int, store: Callable[[], Awaitable[JobRow]]) -> JobRow:
        """Written down, however long the disk refuses it: until then the agent has no other job."""
        while True:
            try:
                return await store()
            except FaultError as fault:
                if fault.kind not in (FaultKind.STORAGE, FaultKind.TOO_FAST):
                    raise
                log.error("cannot store how a job goes; trying again", job=number, error=fault.message)
                await asyncio.sleep(STORE_AGAIN_S)


def succeeded(row: JobRow) -> JobRow:
    """The job, when it is done; else raises what it failed of."""
    if row.state is JobState.DONE:
        return row
    raise FaultError(kind_of_failure(row), row.error or f"job {row.id} was {row.state}")


def kind_of_failure(row: JobRow) -> FaultKind:
    """Of a job that is not done; one that was cancelled while it waited has none of its own."""
    return FaultKind(row.error_kind) if row.error_kind in set(FaultKind) else FaultKind.WRONG_STATE
