"""Usage limits in a hive whose clock a test moves: who is held, on whose word, and who goes on when."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import UNSET

from hand_clock import HandClock
from hyperhive.broker.database import Connection, Database
from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.hub.hive import Hive
from hyperhive.hub.limits import APART_S, HEEDED_AGAIN_S, JITTER_S, LONGEST_S, OTHERS_S
from hyperhive.hub.status import state, status_row
from hyperhive.protocol import agent as wire
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.host import AgentStatusRow
from hyperhive.protocol.ids import AgentName
from hyperhive.web.agent_page import sections_of
from runners_of_hive import runners_of

PATIENCE_S = 30.0
KEY = "sk-ant-api03-" + "MARKER" * 8
SHARED = 'credentials = "hive"\n'
HOUR = 3600.0
LATE = 4_000_000_000.0
"""Unix seconds that are not over for a clock that no test moves."""
LATER = JITTER_S / 2
"""What the test's jitter puts to every time."""


class House:
    def __init__(self, hive: Hive, clock: HandClock) -> None:
        self.hive, self.clock = hive, clock
        self._runners = runners_of(hive)

    async def make(self, *names: str, text: str = "") -> None:
        for name in names:
            await self.hive.fleet.make(AgentName(name), {"agent.toml": text})

    async def says(self, name: str, report: wire.Report) -> None:
        """The agent's harness reports."""
        await self._runners.report(self.hive.fleet.get(name), report)

    async def limit(self, name: str, seconds: float) -> None:
        await self.says(name, wire.Report(limited_until=self.clock.now() + seconds))

    async def used(self, name: str, part: float, seconds: float = HOUR) -> None:
        window = wire.Window(name="five_hour", utilization=part, resets_at=self.clock.now() + seconds)
        await self.says(name, wire.Report(windows=[window]))

    def held_for(self, name: str) -> float:
        """Seconds from now, without the jitter."""
        until = self.hive.fleet.get(name).limited_until
        return until - self.clock.now() - LATER if until else 0.0

    async def becomes(self, name: str, held: bool) -> None:
        agent = self.hive.fleet.get(name)
        with self.hive.fleet.chronicle.changes.subscribe() as changes:
            while bool(agent.limited_until) is not held:
                await changes.batch()

    async def asks(self, name: str) -> None:
        with self.hive.fleet.chronicle.changes.subscribe() as changes:
            while not self.hive.fleet.get(name).asks:
                await changes.batch()

    def state(self, name: str) -> str:
        return state(self.hive.fleet.get(name))

    async def full_disk(self, name: str) -> None:
        """From now on there is no room to write anything down about the agent."""

        def fill(connection: Connection) -> None:
            connection.execute("CREATE TABLE IF NOT EXISTS ballast (bytes BLOB)")
            wanted = "INSERT INTO ballast VALUES (zeroblob(100000))"
            connection.execute(
                f"CREATE TRIGGER refusal BEFORE UPDATE ON agents WHEN OLD.name = '{name}' BEGIN {wanted}; END"
            )
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchall()

        await self._database.write(fill)

    async def room(self) -> None:
        await self._database.write(lambda connection: connection.execute("DROP TRIGGER refusal").fetchall())

    async def settled(self) -> None:
        """What was to be written down has been, or could not be."""
        for _ in range(3):
            await self._database.write(lambda connection: None)

    @property
    def _database(self) -> Database:
        return self.hive.fleet.roster._database

    def words(self, name: str) -> str:
        return str(self.row(name).limit)

    def row(self, name: str) -> AgentStatusRow:
        return status_row(self.hive.fleet.get(name), 0, now=self.clock.now())


@contextlib.asynccontextmanager
async def house(root: Path, clock: HandClock | None = None) -> AsyncIterator[House]:
    clock = clock or HandClock(LATE)
    paths = Paths(state_dir=root / "state", runtime_dir=root / "run")
    async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=None) as hive:
        await hive.limits.close()
        background = type(hive.limits._background)()
        moved = dataclasses.replace(hive.limits, clock=clock, jitter=lambda: 0.5, _background=background)
        await moved.open()
        try:
            yield House(dataclasses.replace(hive, limits=moved), clock)
        finally:
            await moved.close()


def test_a_limit_holds_the_agent_that_came_to_it_until_its_reset_and_nobody_with_another_login(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as h:
            await h.make("a", "b")
            await h.limit("a", HOUR)
            assert h.held_for("a") == HOUR
            assert (h.state("a"), h.words("a")) == ("rate_limited", "its usage limit holds it")
            assert h.hive.fleet.get("a").held
            assert h.held_for("b") == 0
            await h.says("a", wire.Report(limited_until=0.0))  # its harness waits no more
            assert h.held_for("a") == HOUR
            h.clock.advance(HOUR + LATER - 1)
            assert h.state("a") == "rate_limited"
            h.clock.advance(2)
            await h.becomes("a", False)
            assert not h.hive.fleet.get("a").held

    asyncio.run(scene())


def test_one_agents_limit_holds_all_who_use_the_hives_credential_and_they_go_on_one_after_the_other(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as h:
            await h.make("a", "b", "c", text=SHARED)
            await h.make("other")
            await h.make("keyed", text=SHARED + '[env]\nANTHROPIC_API_KEY = "its own"\n')
            await h.hive.credentials.set(KEY, "")
            await h.limit("a", 2 * HOUR)
            assert [h.held_for(name) for name in ("a", "b", "c", "other", "keyed")] == [
                2 * HOUR, OTHERS_S + APART_S, OTHERS_S + 2 * APART_S, 0, 0,
            ]  # fmt: skip
            assert "says a" in h.words("b")
            h.clock.advance(OTHERS_S + APART_S + LATER + 1)
            await h.becomes("b", False)
            assert h.state("c") == "rate_limited"
            await h.limit("b", 2 * HOUR - OTHERS_S)  # it has tried: c does not have to
            assert h.held_for("c") == OTHERS_S + 2 * APART_S
            assert "says b" in h.words("c")
            assert h.held_for("a") > HOUR

    asyncio.run(scene())


def test_a_limit_of_one_account_holds_those_who_use_it_and_not_those_of_another(tmp_path: Path) -> None:
    files = {"red": tmp_path / "red", "blue": tmp_path / "blue", "alias": tmp_path / "alias"}
    for name, file in files.items():
        file.write_text(KEY + ("-red" if name != "blue" else "-blue"))

    async def scene() -> None:
        async with house(tmp_path) as h:
            await h.hive.credentials.open(None, files)
            await h.hive.credentials.set(KEY, "")
            for name, account in (("a", "red"), ("b", "red"), ("c", "blue"), ("d", "alias"), ("e", "gone")):
                await h.make(name, text=SHARED + f'account = "{account}"\n')
            await h.make("f", text=SHARED)
            env = [h.hive.credentials.given_to(agent).env.get("ANTHROPIC_API_KEY") for agent in h.hive.fleet.agents()]
            assert env == [f"{KEY}-red", f"{KEY}-red", f"{KEY}-blue", f"{KEY}-red", None, KEY]
            await h.limit("a", 2 * HOUR)
            held = [name for name in "abcdef" if h.held_for(name)]
            assert held == ["a", "b", "d"]  # the same credential under another name is the same account
            await h.hive.credentials.unset()
            assert [name for name in "abcdef" if h.held_for(name)] == held

    asyncio.run(scene())


def test_a_lie_delays_those_who_share_the_credential_a_quarter_of_the_time_and_nobody_else(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as h:
            await h.make("liar", "other", text=SHARED)
            await h.make("careful", text=SHARED + 'resume = "never"\n')
            await h.make("own")
            await h.hive.credentials.set(KEY, "")
            for round_ in range(1, 60):
                await h.limit("liar", 2.0**33 + round_)
                h.clock.advance(30)
            assert h.held_for("liar") <= LONGEST_S
            await h.becomes("other", False)
            assert not h.hive.fleet.get("careful").row.paused
            assert h.held_for("own") == 0
            await h.limit("liar", 2.0**34)
            assert h.held_for("other") == 0
            h.clock.advance(HEEDED_AGAIN_S)
            await h.limit("liar", 2.0**35)
            assert 0 < h.held_for("other") <= OTHERS_S + 2 * APART_S
            await h.hive.limits.resume("other")
            assert h.held_for("other") == 0
            for section in sections_of(AgentName("liar")):
                await section.draw(h.hive)

    asyncio.run(scene())


def test_who_is_to_ask_waits_for_the_operators_word_once_the_limit_is_over(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as h:
            await h.make("a", text='resume = "ask"\n')
            await h.limit("a", HOUR)
            h.clock.advance(HOUR + LATER + 1)
            await h.asks("a")
            assert h.state("a") == "rate_limited"
            assert "`hive resume a`" in h.words("a")
            assert h.row("a").limited_until is UNSET
            h.clock.advance(HOUR)
            assert h.hive.fleet.get("a").held
            await h.hive.limits.resume("a")
            assert not h.hive.fleet.get("a").held
            assert not h.hive.fleet.get("a").asks

    asyncio.run(scene())


def test_who_is_never_to_go_on_by_itself_is_paused(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as h:
            await h.make("a", text='resume = "never"\n')
            await h.limit("a", HOUR)
            assert h.state("a") == "paused"
            h.clock.advance(HOUR + LATER + 1)
            await h.becomes("a", False)
            assert h.hive.fleet.get("a").held

    asyncio.run(scene())


def test_a_disk_that_was_full_when_a_limit_was_over_keeps_nobody_for_longer(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as h:
            await h.make("a", "b")
            await h.limit("a", HOUR)
            await h.limit("b", 2 * HOUR)
            await h.full_disk("a")
            h.clock.advance(HOUR + LATER + 1)
            await h.settled()
            assert h.held_for("a") != 0
            assert h.row("a").limited_until is UNSET  # nobody is told of a time that is past
            assert "goes on in a moment" in h.words("a")
            await h.room()
            h.clock.advance(60)
            await h.becomes("a", False)
            h.clock.advance(HOUR)
            await h.becomes("b", False)

    asyncio.run(scene())


def test_a_limit_that_could_not_be_written_down_holds_when_its_harness_says_it_again(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as h:
            await h.make("a")
            await h.full_disk("a")
            with pytest.raises(FaultError):
                await h.limit("a", HOUR)
            await h.room()
            await h.limit("a", HOUR)
            assert h.held_for("a") == HOUR

    asyncio.run(scene())


def test_a_limit_outlives_the_hive(tmp_path: Path) -> None:
    async def scene() -> None:
        clock = HandClock(LATE)
        async with house(tmp_path, clock) as h:
            await h.make("a")
            await h.make("asker", text='resume = "ask"\n')
            for name in ("a", "asker"):
                await h.limit(name, HOUR)
        async with house(tmp_path, clock) as h:
            assert h.held_for("a") == HOUR
            assert h.hive.fleet.get("a").held
        clock.advance(2 * HOUR)
        async with house(tmp_path, clock) as h:
            assert h.held_for("a") == 0
            await h.asks("asker")

    asyncio.run(scene())


def test_with_another_credential_those_who_use_it_go_on_and_with_a_login_who_has_its_own(tmp_path: Path) -> None:
    async def scene() -> None:
        async with house(tmp_path) as h:
            await h.make("a", "b", text=SHARED)
            await h.make("own")
            await h.hive.credentials.set(KEY, "")
            for name in ("a", "own"):
                await h.limit(name, HOUR)
            await h.hive.credentials.set(KEY + "X", "")
            await h.becomes("a", False)
            await h.becomes("b", False)
            assert h.held_for("own") == HOUR
            await h.says("own", wire.Report(login=wire.Login(state=wire.LoginState.DONE)))
            assert h.held_for("own") == 0

    asyncio.run(scene())


def test_what_the_operator_keeps_of_a_window_holds_an_agent_before_the_limit_does(tmp_path: Path) -> None:
    async def scene() -> None:
        clock = HandClock(LATE)
        async with house(tmp_path, clock) as h:
            await h.make("a")
            await h.used("a", 0.95)
            assert h.held_for("a") == 0
            await h.hive.limits.set_reserve(10)
            assert h.held_for("a") == HOUR
            assert "is yours" in h.words("a")
            await h.hive.limits.set_reserve(4)
            assert h.held_for("a") == 0
            await h.used("a", 0.97, 2 * HOUR)
            assert h.held_for("a") == 2 * HOUR
            await h.hive.limits.resume("a")
            await h.used("a", 0.98, 2 * HOUR)
            assert h.held_for("a") == 0  # the operator lets it have this window
        async with house(tmp_path, clock) as h:
            assert h.hive.limits.reserve == 4

    asyncio.run(scene())
