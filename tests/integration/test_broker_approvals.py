import asyncio
from pathlib import Path

import msgspec
import pytest

from broker_house import House, play
from hyperhive.broker.approvals import MAX_PENDING, ApprovalRow, ApprovalStatus
from hyperhive.protocol.faults import FaultError, FaultKind


async def commit(house: House, sha: str, agent: str = "scout") -> ApprovalRow:
    row, new = await house.approvals.queue(agent=agent, kind="apply_commit", commit_ref=sha[:7], fetched_sha=sha)
    assert new
    return row


def test_the_same_request_again_gives_the_first_approval(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first, new = await house.approvals.queue(agent="scout", kind="spawn", requester="manager", mid="m1")
        again, newer = await house.approvals.queue(agent="scout", kind="spawn", requester="manager", mid="m1")
        other, _ = await house.approvals.queue(agent="scout", kind="spawn", requester="lead", mid="m1")
        assert (new, newer, again) == (True, False, first)
        assert [row.id for row in await house.approvals.pending()] == [first.id, other.id]

    play(tmp_path, scene)


def test_a_repeated_request_is_the_same_after_the_decision_and_a_restart(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        asked, _ = await house.approvals.queue(agent="scout", kind="spawn", requester="manager", mid="m1")
        await house.approvals.resolve(asked.id, ApprovalStatus.DENIED, "no")

    async def after(house: House) -> None:
        again, new = await house.approvals.queue(agent="scout", kind="spawn", requester="manager", mid="m1")
        assert (again.status, again.note, new) == ("denied", "no", False)

    play(tmp_path, before, after)


def test_requester_and_warnings_are_kept_and_shown(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        asked, _ = await house.approvals.queue(
            agent="scout", kind="apply_commit", requester="manager", warnings=["opens the host x.org"]
        )
        assert await house.approvals.get(asked.id) == asked
        shown = msgspec.to_builtins(asked.on_wire())
        assert (shown["requester"], shown["warnings"]) == ("manager", ["opens the host x.org"])

    play(tmp_path, scene)


def test_an_agent_may_not_pile_up_requests_but_the_operator_may(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for number in range(MAX_PENDING):
            await house.approvals.queue(agent="scout", kind="spawn", requester="manager", mid=str(number))
        with pytest.raises(FaultError, match="wait for a decision") as refused:
            await house.approvals.queue(agent="scout", kind="spawn", requester="manager", mid="one more")
        assert refused.value.kind is FaultKind.WRONG_STATE
        again, new = await house.approvals.queue(agent="scout", kind="spawn", requester="manager", mid="0")
        assert (again.id, new) == (1, False)
        _, new = await house.approvals.queue(agent="scout", kind="spawn")
        assert new

    play(tmp_path, scene)


def test_other_commits_to_compare_with_are_found(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        first, second, third = [await commit(house, letter * 40) for letter in "abc"]
        await commit(house, "d" * 40, agent="other")
        spawn, _ = await house.approvals.queue(agent="scout", kind="spawn")
        await house.approvals.resolve(first.id, ApprovalStatus.APPROVED)
        await house.approvals.resolve(spawn.id, ApprovalStatus.APPROVED)
        await house.approvals.resolve(second.id, ApprovalStatus.DENIED)
        last = await commit(house, "e" * 40)
        previous = await house.approvals.previous_queued(last)
        approved = await house.approvals.last_approved("scout", last.id)
        assert previous is not None
        assert previous.id == third.id
        assert approved is not None
        assert approved.fetched_sha == "a" * 40
        assert await house.approvals.previous_queued(first) is None
        assert await house.approvals.last_approved("scout", first.id) is None

    play(tmp_path, scene)


def test_lists_are_of_one_agent_or_of_all(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        for agent in ("scout", "other", "scout"):
            await house.approvals.queue(agent=agent, kind="spawn")
        assert [row.id for row in await house.approvals.newest(2)] == [3, 2]
        assert [row.id for row in await house.approvals.newest(agent="scout")] == [3, 1]
        assert [row.id for row in await house.approvals.of("scout")] == [1, 3]

    play(tmp_path, scene)


@pytest.mark.parametrize("status", [ApprovalStatus.DENIED, ApprovalStatus.CANCELLED])
def test_of_two_who_decide_one_is_refused(tmp_path: Path, status: ApprovalStatus) -> None:
    async def scene(house: House) -> None:
        row = await commit(house, "a" * 40)
        outcomes = await asyncio.gather(
            house.approvals.resolve(row.id, status, "first"),
            house.approvals.resolve(row.id, ApprovalStatus.DENIED, "second"),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], ApprovalRow)
        assert isinstance(outcomes[1], FaultError)
        kept = await house.approvals.get(row.id)
        assert kept is not None
        assert (kept.status, kept.note) == (status, "first")

    play(tmp_path, scene)


def test_text_that_is_not_quite_unicode_is_kept_readably(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        row, _ = await house.approvals.queue(agent="scout", kind="spawn", description="a\ud800b", warnings=["\udc00"])
        assert (row.description, row.warnings) == ("a?b", ("?",))
        denied = await house.approvals.resolve(row.id, ApprovalStatus.DENIED, "no\ud800")
        assert denied.note == "no?"

    play(tmp_path, scene)
