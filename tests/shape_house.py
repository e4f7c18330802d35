"""A hive with a manager that never works, and what must be true of it whenever it has nothing to do."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, closing, contextmanager
from pathlib import Path

import msgspec

from hyperhive.protocol import host
from hyperhive.protocol.ids import AgentName, container_name
from hyperhive.protocol.settings import AgentDocument
from hyperhive.repos.applied import Applied
from hyperhive.testing.hive_process import PATIENCE_S, HiveProcess, eventually, running_hive

Event = tuple[str, ...]
"""A helper event: what it is, whom it is about, how it went."""


class House:
    """Asks its hive, and looks behind it: at git, at the kernel, at what is owed."""

    def __init__(self, hive: HiveProcess) -> None:
        self.hive = hive
        self.paths = hive.paths
        self._told = 0

    def settle(self) -> None:
        """Until no job is left, nothing is owed and nothing is wrong; what stays wrong fails the test."""
        for job in self.jobs():
            if job.state in ("queued", "running"):
                self.ended(job.id)
        found: list[str] = []

        def is_settled() -> bool:
            found[:] = [*self._unsettled(), *self.faults()]
            return not found

        try:
            eventually(is_settled, 10)
        except AssertionError:
            raise AssertionError("\n".join(found)) from None

    def ended(self, number: int) -> host.Job:
        """The job, once it has."""
        return asyncio.run(asyncio.wait_for(self._ended(number), PATIENCE_S))

    async def _ended(self, number: int) -> host.Job:
        async with aclosing(self.hive.client.stream(host.JobLog(id=number, follow=True))) as answers:
            async for answer in answers:
                if answer.jobs:
                    return answer.jobs[0]
        raise AssertionError("the hive ended the log")

    # looking

    def names(self) -> list[str]:
        return self.hive.ask(host.List()).agents or []

    def jobs(self) -> list[host.Job]:
        return self.hive.ask(host.Jobs(limit=500)).jobs or []

    def approvals(self) -> list[host.Approval]:
        return self.hive.ask(host.Pending()).approvals or []

    def approval(self, number: int) -> host.Approval:
        return next(row for row in self.approvals() if row.id == number)

    def deployments(self, name: str) -> list[host.Deployment]:
        return self.hive.ask(host.Deployments(name=name)).deployments or []

    def tags(self, name: str) -> set[str]:
        applied = Applied(self.paths.applied(name))
        return set(applied.tags()) if (applied.path / ".git").exists() else set()

    def containers(self, place: Path) -> int:
        """Process namespaces that have something of this place mounted, as the kernel sees them."""
        ours, found = Path("/proc/self/ns/pid").readlink(), set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if str(place) in (process / "mountinfo").read_text():
                    found.add((process / "ns/pid").readlink())
            except OSError:
                continue  # it has ended
        return len(found - {ours})

    def news(self) -> Counter[Event]:
        """The helper events since the last time, each with how often it came."""
        rows = self.hive.ask(host.Inbox(name="manager", limit=1000)).inbox or []
        fresh = [row for row in rows if row.id > self._told and row.body.startswith("{")]
        self._told = max((row.id for row in rows), default=self._told)
        return Counter(_event(row.body) for row in fresh)

    def kicks(self, name: str) -> int:
        """Messages of the hive in the agent's inbox."""
        rows = self.hive.ask(host.Inbox(name=name, limit=1000)).inbox or []
        return sum(row.sender == "system" for row in rows)

    def document(self, name: str) -> AgentDocument:
        return msgspec.json.decode((self.paths.agent_runtime(name) / "agent.json").read_bytes(), type=AgentDocument)

    def first_process(self, name: str) -> int:
        """Of the agent's container, as the host numbers it."""
        record = (self.paths.containers / container_name(AgentName(name)) / "record.json").read_bytes()
        pid: int = msgspec.json.decode(record)["init"]["pid"]
        return pid

    # what must be true

    def _unsettled(self) -> Iterator[str]:
        with closing(sqlite3.connect(f"file:{self.paths.database}?mode=ro", uri=True)) as database:
            (owed,) = database.execute("SELECT count(*) FROM notices").fetchone()
        if owed:
            yield f"{owed} notices are owed"
        for job in self.jobs():
            if job.state in ("queued", "running"):
                yield f"job {job.id} {job.kind} is {job.state}"

    def faults(self) -> Iterator[str]:
        """All that is wrong, in words."""
        names = self.names()
        up = [row.name for row in self.statuses() if row.wanted != "down" and row.state != "asleep"]
        for name in names:
            yield from self._faults_of(name, name in up)
        yield from self._faults_of_decisions()
        if (count := self.containers(self.paths.state_dir)) != len(up):
            yield f"{count} containers run, wanted are {up}"
        for place in (self.paths.state_dir / "staging", self.paths.state_dir / "reading"):
            yield from (f"left over: {entry}" for entry in (place.iterdir() if place.exists() else ()))
        yield from self._faults_of_places(names)

    def statuses(self) -> list[host.AgentStatusRow]:
        return self.hive.ask(host.AgentStatus()).agent_statuses or []

    def _faults_of(self, name: str, up: bool) -> Iterator[str]:
        row = self.hive.status(name)
        if row.running != up or row.failed:
            yield f"{name} is {row.state}, wanted {row.wanted}, failure {row.failure}"
        if (count := self.containers(self.paths.agent_state(name))) != int(up):
            yield f"{name} has {count} containers, wanted {row.wanted}"
        live = self.deployments(name)
        config = self.hive.ask(host.Config(name=name)).config
        assert isinstance(config, host.AgentConfig)
        shas = {
            "main": Applied(self.paths.applied(name)).main(),
            "config": config.sha,
            "deployment": live[0].sha if live else None,
        }
        if up:
            shas["agent.json"] = self.document(name).deployed_sha
        if len(set(shas.values())) != 1 or not row.deployed_sha or not config.sha.startswith(row.deployed_sha):
            yield f"{name} is several things at once: {row.deployed_sha} {shas}"
        tags = Applied(self.paths.applied(name)).tags()
        for one in live:
            if tags.get(one.tag) != one.sha:
                yield f"{name} has no tag {one.tag} on {one.sha}"
        deployed = {tag for tag in tags if tag.startswith("deployed/")}
        if deployed != {one.tag for one in live}:
            yield f"{name} is said to have had {deployed} deployed, it had {[one.tag for one in live]}"

    def _faults_of_decisions(self) -> Iterator[str]:
        jobs = self.jobs()
        for row in self.approvals():
            its = [job for job in jobs if job.approval == row.id]
            states = [job.state for job in its]
            allowed = {"approved": (["done"],), "failed": (["failed"], ["cancelled"])}.get(str(row.status), ([],))
            if states not in allowed:
                yield f"approval {row.id} is {row.status} and its jobs are {states}"
            if row.status == "failed" and (not row.note or row.note != its[0].error):
                yield f"approval {row.id} failed for {row.note!r}, its job for {its[0].error if its else None!r}"
            if row.kind == "apply_commit" and (self.paths.applied(row.agent) / ".git").exists():
                yield from self._faults_of_tags(row)

    def _faults_of_tags(self, row: host.Approval) -> Iterator[str]:
        tags = Applied(self.paths.applied(row.agent)).tags()
        if row.fetched_sha not in tags.values():
            return  # of an earlier life, purged meanwhile
        wanted = {
            "pending": {"proposal"}, "denied": {"proposal", "denied"}, "cancelled": {"proposal"},
            "approved": {"proposal", "approved", "building", "deployed"},
            "failed": {"proposal", "approved", "building", "failed"},
        }[str(row.status)]  # fmt: skip
        found = {tag.partition("/")[0] for tag in tags if tag.endswith(f"/{row.id}")}
        if found != wanted:
            yield f"approval {row.id} is {row.status} and has the tags {found}"

    def _faults_of_places(self, names: list[str]) -> Iterator[str]:
        kept = {tombstone.name for tombstone in self.hive.ask(host.Tombstones()).tombstones or []}
        proposed = {row.agent for row in self.approvals() if row.kind == "init_config"}
        known = {*names, *kept}
        for place, allowed in (
            (self.paths.state_dir / "agents", known),
            (self.paths.state_dir / "applied", known | proposed),
            (self.paths.proposed, known | proposed),
            (self.paths.runtime_dir / "agents", set(names)),
            (self.paths.containers, {container_name(AgentName(name)) for name in names}),
        ):
            yield from (f"left over: {entry}" for entry in place.iterdir() if entry.name not in allowed)


def _event(body: str) -> Event:
    told = msgspec.json.decode(body)
    outcome = told.get("status", {True: "ok", False: "failed"}.get(told.get("ok"), ""))
    return (told["event"], told["agent"], *([outcome] if outcome else []))


@contextmanager
def quiet_house(prefix: tuple[str, ...] = ()) -> Iterator[House]:
    """A hive with a manager at rest."""
    with running_hive(manager=True, prefix=prefix) as (hive, _):
        house = House(hive)
        hive.until("manager", lambda row: row.running)
        hive.ask(host.SetPaused(name="manager", paused=True))
        house.settle()
        house.news()
        yield house
