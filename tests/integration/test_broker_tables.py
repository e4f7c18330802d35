import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from hand_clock import HandClock
from hyperhive.broker.approvals import Approvals, ApprovalStatus
from hyperhive.broker.database import Database
from hyperhive.broker.roster import Roster, Wanted
from hyperhive.broker.turns import BURST, TurnRow, Turns
from hyperhive.protocol.faults import FaultError, FaultKind


def play(folder: Path, scene: Callable[[Database, HandClock], Awaitable[None]]) -> None:
    async def run() -> None:
        database = await Database.open(folder / "hive.sqlite")
        await scene(database, HandClock())
        await database.close()

    asyncio.run(run())


def test_an_agent_is_added_changed_and_remembered(tmp_path: Path) -> None:
    async def scene(database: Database, clock: HandClock) -> None:
        roster = Roster(database, clock)
        added = await roster.add("scout", uid=70_001, description="looks around")
        assert (added.role, added.wanted, added.asleep) == ("agent", Wanted.UP, False)
        changed = await roster.update("scout", wanted=Wanted.DOWN, asleep=True, failure="no bread")
        assert (changed.wanted, changed.asleep, changed.failure) == (Wanted.DOWN, True, "no bread")
        assert await roster.get("scout") == changed
        assert await roster.list() == [changed]
        assert await roster.uids() == {70_001}

    play(tmp_path, scene)


def test_a_name_is_taken_while_its_agent_lives_and_a_new_life_is_another_incarnation(tmp_path: Path) -> None:
    async def scene(database: Database, clock: HandClock) -> None:
        roster = Roster(database, clock)
        first = await roster.add("scout", uid=70_001)
        with pytest.raises(FaultError) as refused:
            await roster.add("scout")
        assert refused.value.kind is FaultKind.NAME_TAKEN
        gone = await roster.destroy("scout")
        assert gone.destroyed_at == clock.now()
        assert await roster.get("scout") is None
        second = await roster.add("scout", uid=70_001)
        assert second.incarnation > first.incarnation
        assert await roster.lives("scout") == [second, gone]

    play(tmp_path, scene)


def test_an_unknown_agent_or_column_is_refused(tmp_path: Path) -> None:
    async def scene(database: Database, clock: HandClock) -> None:
        roster = Roster(database, clock)
        await roster.add("scout")
        for call in (roster.update("scoot", model="x"), roster.destroy("scoot")):
            with pytest.raises(FaultError, match="did you mean 'scout'") as refused:
                await call
            assert refused.value.kind is FaultKind.UNKNOWN_AGENT
        with pytest.raises(TypeError, match="incarnation"):
            await roster.update("scout", incarnation=9)

    play(tmp_path, scene)


def test_an_approval_is_decided_exactly_once(tmp_path: Path) -> None:
    async def scene(database: Database, clock: HandClock) -> None:
        approvals = Approvals(database, clock)
        asked, _ = await approvals.queue(agent="scout", kind="spawn", description="to look around")
        assert await approvals.pending() == [asked]
        outcomes = await asyncio.gather(
            approvals.resolve(asked.id, ApprovalStatus.APPROVED),
            approvals.resolve(asked.id, ApprovalStatus.DENIED, "no"),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], FaultError)
        assert outcomes[1].kind is FaultKind.WRONG_STATE
        assert "it is approved already" in outcomes[1].message
        decided = await approvals.get(asked.id)
        assert decided == outcomes[0]
        assert await approvals.pending() == []
        with pytest.raises(FaultError, match="there is none") as refused:
            await approvals.resolve(99, ApprovalStatus.DENIED)
        assert refused.value.kind is FaultKind.UNKNOWN_APPROVAL

    play(tmp_path, scene)


def test_what_is_pending_is_cancelled_with_its_agent_and_what_is_approved_stays(tmp_path: Path) -> None:
    async def scene(database: Database, clock: HandClock) -> None:
        approvals = Approvals(database, clock)
        first, _ = await approvals.queue(agent="scout", kind="apply_commit", commit_ref="abc", fetched_sha="abcdef")
        second, _ = await approvals.queue(agent="scout", kind="apply_commit", commit_ref="def")
        await approvals.resolve(first.id, ApprovalStatus.APPROVED)
        (cancelled,) = await approvals.cancel_of("scout", "destroyed")
        assert (cancelled.id, cancelled.status) == (second.id, "cancelled")
        assert [row.id for row in await approvals.newest()] == [second.id, first.id]

    play(tmp_path, scene)


def test_an_approval_on_the_wire_leaves_out_what_is_not_there(tmp_path: Path) -> None:
    async def scene(database: Database, clock: HandClock) -> None:
        asked, _ = await Approvals(database, clock).queue(agent="scout", kind="spawn")
        assert msgspec.to_builtins(asked.on_wire()) == {
            "id": 1, "agent": "scout", "kind": "spawn", "commit_ref": "",
            "requested_at": "2023-11-14T22:13:20.000Z", "status": "pending", "requester": "operator",
        }  # fmt: skip

    play(tmp_path, scene)


def test_a_turn_is_kept_once(tmp_path: Path) -> None:
    async def scene(database: Database, clock: HandClock) -> None:
        turns = Turns(database)
        turn = TurnRow(agent="scout", incarnation=1, turn="t1", outcome="ok", started_at=1, ended_at=5, cost_usd=0.25)
        await turns.add(turn)
        await turns.add(turn)
        kept = await database.read(lambda rows: rows.execute("SELECT turn, ended_at, cost_usd FROM turns").fetchall())
        assert kept == [("t1", 5, 0.25)]

    play(tmp_path, scene)


def test_no_agent_fills_the_disk_with_turns_and_old_ones_go(tmp_path: Path) -> None:
    async def scene(database: Database, clock: HandClock) -> None:
        turns = Turns(database, clock)

        def turn(number: int, agent: str = "scout") -> TurnRow:
            return TurnRow(
                agent=agent, incarnation=1, turn=f"t{number}", outcome="ok", started_at=1, ended_at=clock.now() - 1
            )

        await asyncio.gather(*(turns.add(turn(number)) for number in range(BURST + 10)))
        await turns.add(turn(0, "still"))
        assert (await turns.summary(None, clock.now() - 60)).turns == BURST + 1
        clock.advance(100)
        await turns.add(turn(BURST + 10))
        summary = await turns.summary(None, clock.now() - 60)
        assert summary.turns == 1
        assert await turns.vacuum(clock.now() - 60) == BURST + 1
        assert (await turns.summary(None, 0.0)).turns == 1

    play(tmp_path, scene)
