"""Two hours in the life of twenty agents, in a minute or two: `python tests/long_run.py --seed 1 --minutes 120`.

Real: the hive as the daemon puts it together (broker, hub, agents' sockets, budgets, its database), and of each agent
the whole runner (link, mail, agenda, turns, journal, rest), on real sockets and with the real protocol to the turn
worker. Played: claude and the turn worker (`played_claude`) and time (`simulated_time`). Containers: there are none.

So it says nothing about the real claude, the SDK, processes and control groups, or kill -9 of the daemon: here it is
left in good order and entered again, which the runners do not know before. It shows that no message is lost and none
handled again unmarked, whatever of all this happens in whatever order, and that neither a descriptor, nor a task, nor
memory is left behind by any of it.

Chance is all from the seed, but threads take the time they take: two runs of a seed are alike, not the same.
"""

import argparse
import asyncio
import contextlib
import gc
import itertools
import logging
import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import simulated_time

if TYPE_CHECKING:
    from hyperhive.hub.hive import Hive

AGENTS: Final = 20
WARM_UP_MIN: Final = 8.0
SETTLING_S: Final = 4 * 3600.0
"""At most until everything is handled, once the weather is calm."""
DOZING_S: Final = 30
MORE_MEMORY: Final = 48 << 20
"""Bytes that the process may have grown by since it was warm: each of 21 databases may keep 2 MB of its pages."""
MORE_BLOCKS: Final = 5_000
BLOCKS_A_MESSAGE: Final = 8
"""Of which the ledger takes the most."""
MORE_DESCRIPTORS: Final = 8
MORE_TASKS: Final = 4
"""A connection may be on its way when it is counted."""
CONFIG: Final = f"sleep_after = {DOZING_S}\n"
POOR: Final = CONFIG + "[budget]\nday_usd = 0.3\n"


@dataclass(frozen=True)
class Footprint:
    descriptors: int
    tasks: int
    memory: int
    blocks: int  #: of python's own memory: each object is at least one

    @classmethod
    def now(cls) -> "Footprint":
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            descriptors=len([*Path("/proc/self/fd").iterdir()]),
            tasks=len(asyncio.all_tasks()),
            memory=pages * os.sysconf("SC_PAGESIZE"),
            blocks=sys.getallocatedblocks(),
        )

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors, {self.tasks} tasks, {self.memory >> 20} MiB, {self.blocks} blocks"


@dataclass
class Life:
    """The hive and all that goes on in it."""

    root: Path
    seed: int
    chance: random.Random = field(init=False)
    hive: "Hive" = field(init=False)
    names: list[str] = field(default_factory=lambda: [f"agent-{number:02}" for number in range(AGENTS)])
    sent: set[int] = field(default_factory=set)  #: messages that the hive took from the operator
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from hyperhive.config.paths import Paths
        from played_claude import Ledger, Weather

        self.chance = random.Random(self.seed)
        self.paths = Paths(state_dir=self.root / "state", runtime_dir=self.root / "run")
        self.ledger = Ledger()
        self.weather = Weather(random.Random(self.seed + 1), [*self.names, "operator"])
        self._stack = contextlib.AsyncExitStack()
        self._runners: dict[str, asyncio.Task[None]] = {}
        self._mids = itertools.count()

    # the hive and its runners

    async def open(self) -> None:
        from hyperhive.daemon.assembly import hive_at

        with simulated_time.held():
            self.hive = await self._stack.enter_async_context(hive_at(self.paths, rehearsal=self.root / "rehearsal"))

    async def close(self) -> None:
        with simulated_time.held():
            await self._stack.aclose()

    async def people(self) -> None:
        """Make the agents; their containers are never started, and their sockets are there for our runners."""
        from hyperhive.protocol.ids import AgentName

        with simulated_time.held():
            for number, name in enumerate(self.names):
                self.paths.agent_runtime(AgentName(name)).mkdir(parents=True)
                await self.hive.fleet.make(AgentName(name), {"agent.toml": POOR if number < 3 else CONFIG})
                await self.hive.fleet.stop(name)
        for name in self.names:
            self.start(name)

    def start(self, name: str) -> None:
        self._runners[name] = asyncio.create_task(self._run(name), name=f"runner of {name}")

    async def _run(self, name: str) -> None:
        from hyperhive.harness.assembly import Runner
        from played_claude import PlayedChildren

        children = PlayedChildren(name, self.ledger, self.weather.play)
        fleet = self.hive.fleet
        document = fleet.house.document(fleet.get(name), fleet.names())
        await Runner(self._place(name), document, children).run()

    def _place(self, name: str) -> Any:
        from hyperhive.harness.surroundings import Surroundings

        home = self.root / "homes" / name
        (home / "tmp" / "hyperhive-claude").mkdir(parents=True, exist_ok=True)
        return Surroundings.from_env(
            {
                "HYPERHIVE_SOCKET": str(self.paths.agent_socket(name)),
                "HYPERHIVE_AGENT_CONFIG": "/nonexistent",
                "HYPERHIVE_STATE": str(home),
                "HYPERHIVE_CLAUDE": "/nonexistent/claude",
                "HOME": str(home),
                "TMPDIR": str(home / "tmp"),
                "ANTHROPIC_API_KEY": "none",
            }
        )

    async def end(self, name: str) -> None:
        """As a kill would: nothing is said to the hive."""
        runner = self._runners[name]
        runner.cancel()
        await asyncio.wait([runner])

    async def end_all(self) -> None:
        for name in self.names:
            await self.end(name)

    # what happens

    async def pass_(self, seconds: float) -> None:
        """Things happen, at random, for so long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        events: dict[Callable[[str], Any], int] = {
            self.mail: 70, self.cut: 6, self.kill: 5, self.pause: 4, self.go_on: 12, self.restart: 1,
        }  # fmt: skip
        while loop.time() < until:
            await asyncio.sleep(self.chance.uniform(1, 12))
            (event,) = self.chance.choices([*events], [*events.values()])
            self.counts[event.__name__] = self.counts.get(event.__name__, 0) + 1
            await event(self.chance.choice(self.names))
            self._check_runners()

    async def mail(self, name: str) -> None:
        from played_claude import POISON

        for to in {name, *self.chance.choices(self.names, k=2)}:
            body = POISON if self.chance.random() < 0.03 else "what do you think?"
            sent = await self.hive.desk.send(to, body, mid=f"operator-{next(self._mids)}")
            self.sent.update(sent.ids)

    async def cut(self, name: str) -> None:
        if (peer := self.hive.fleet.get(name).peer) is not None:
            peer.close()

    async def kill(self, name: str) -> None:
        """The container: its harness is gone, the hive learns of it and a new one comes."""
        from hyperhive.protocol.ids import AgentName

        await self.end(name)
        await self.hive.mailbox.container_died(AgentName(name))
        await asyncio.sleep(self.chance.uniform(0, 5))
        self.start(name)

    async def pause(self, name: str) -> None:
        await self.hive.fleet.set_paused(name, True)

    async def go_on(self, _: str) -> None:
        """The operator looks at what waits for a decision."""
        from hyperhive.broker.budgets import Amount

        for agent in self.hive.fleet.agents():
            if agent.over_budget:
                await self.hive.budgets.top_up(agent.name, Amount(usd=0.3))
            if agent.row.paused or agent.needs_login:
                await self.resume(agent.name)

    async def resume(self, name: str) -> None:
        from hyperhive.api import lives
        from hyperhive.protocol import host

        await lives.set_paused(self.hive, host.SetPaused(name=name, paused=False))

    async def restart(self, _: str) -> None:
        await self.close()
        await self.open()

    def _check_runners(self) -> None:
        for name, runner in self._runners.items():
            if runner.done() and not runner.cancelled():
                raise AssertionError(f"the runner of {name} has ended") from runner.exception()

    # and what is to come of it

    async def settle(self) -> Footprint:
        """The weather is calm until all is handled and every claude dozes; what the process takes then."""
        self.weather.calm = True
        async with asyncio.timeout(SETTLING_S):
            while self.open_mail():
                await self.go_on("")
                for agent in self.hive.fleet.agents():
                    if agent.limited_until:
                        await self.resume(agent.name)
                await asyncio.sleep(20)
                self._check_runners()
        await asyncio.sleep(10 * DOZING_S)
        self.weather.calm = False
        return Footprint.now()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(f"file:{self.paths.database}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def open_mail(self) -> int:
        query = "SELECT count(*) FROM messages WHERE state IN ('queued','leased','read') AND recipient LIKE 'agent-%'"
        return int(self.rows(query)[0][0])

    def faults(self) -> list[str]:
        """What is wrong with what became of the messages."""
        state = dict(self.rows("SELECT id, state FROM messages WHERE recipient LIKE 'agent-%'"))
        handled = {number for number, how in state.items() if how == "acked"}
        returned = {number for number, how in state.items() if how == "dead"}
        bounced = {number for (number,) in self.rows("SELECT in_reply_to FROM messages WHERE sender = 'system'")}
        from_system = {number for (number,) in self.rows("SELECT id FROM messages WHERE sender = 'system'")}
        unmarked = {number for number, marks in self.ledger.read.items() if not all(marks[1:])}
        changed = {name for name, resumed in self.ledger.sessions.items() if resumed - {f"session-of-{name}"}}
        wrong = {
            "taken and not there": self.sent - set(state),
            "neither handled nor returned": set(state) - handled - returned,
            "handled, and no turn has done it": handled - self.ledger.done,
            "returned without a word": returned - bounced - from_system,
            "read again, unmarked": unmarked,
            "lost their conversation": changed,
        }
        return [f"{what}: {sorted(which)[:20]}" for what, which in wrong.items() if which]


def growth(before: Footprint, after: Footprint, messages: int) -> list[str]:
    more = {
        "descriptors": (after.descriptors - before.descriptors, MORE_DESCRIPTORS),
        "tasks": (after.tasks - before.tasks, MORE_TASKS),
        "bytes of memory": (after.memory - before.memory, MORE_MEMORY),
        "blocks": (after.blocks - before.blocks, MORE_BLOCKS + BLOCKS_A_MESSAGE * messages),
    }
    return [f"{grown} more {what} than when it was warm" for what, (grown, bound) in more.items() if grown > bound]


@contextlib.asynccontextmanager
async def living(seed: int) -> AsyncIterator[Life]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="hh-", dir=memory if os.access(memory, os.W_OK) else None) as root:
        life = Life(Path(root), seed)
        (life.root / "rehearsal").mkdir()
        await life.open()
        await life.people()
        try:
            yield life
        finally:
            await life.end_all()
            await life.close()


async def live(seed: int, minutes: float) -> list[str]:
    async with living(seed) as life:
        await life.pass_(WARM_UP_MIN * 60)
        before, messages = await life.settle(), len(life.ledger.read)
        say(f"warm: {before}")
        for quarter in range(1, 5):
            await life.pass_(minutes * 15)
            say(f"after {quarter * minutes / 4:g} minutes: {Footprint.now()}")
        after = await life.settle()
        say(f"settled again: {after}")
        say(f"happened: {life.counts}; turns: {dict(life.ledger.outcomes)}")
        states = life.rows("SELECT state, count(*) FROM messages WHERE recipient LIKE 'agent-%' GROUP BY state")
        say(f"messages: {dict(states)}, read more than once: {sum(len(m) > 1 for m in life.ledger.read.values())}")
        return life.faults() + growth(before, after, len(life.ledger.read) - messages)


def _be_quiet() -> None:
    import structlog

    logger = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), logger_factory=logger)


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (a program's output)


def main() -> int:
    parser = argparse.ArgumentParser(description="Twenty agents in bad weather, in simulated time.")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--minutes", type=float, default=120.0)
    given = parser.parse_args()
    say(f"seed {given.seed}: `make soak SEED={given.seed} MINUTES={given.minutes:g}` plays it again")
    simulated_time.install()
    _be_quiet()
    with asyncio.Runner(loop_factory=simulated_time.loop) as runner:
        faults = runner.run(live(given.seed, given.minutes))
    for fault in faults:
        say(f"wrong: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
