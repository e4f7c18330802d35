"""The conversation shortened on the operator's word, by the real claude."""

import asyncio
import json

import pytest

from harness_rig import Rig, rig
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Compact, Shutdown
from hyperhive.protocol.events import Note, Outcome, TurnEnd, TurnStart, TurnStateChanged
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.rpc import Nothing
from hyperhive.rehearsal.script import Fail, Gate, Say, on

pytestmark = pytest.mark.claude

LONG = Say("A long story. " * 400)
SUMMARY = Say("<analysis>x</analysis><summary>It was about the colour blue.</summary>")


async def compact(r: Rig, instructions: str = "") -> None:
    assert (await r.hive.call(agent.COMPACT, Compact(instructions=instructions))).done


async def one_turn(r: Rig) -> None:
    """A conversation that is worth a summary."""
    message = r.hive.mail("tell me a long story")
    await r.hive.until(lambda: r.hive.events(TurnEnd))
    assert r.hive.state_of(message) == "acked"


async def refusal(r: Rig) -> FaultError:
    with pytest.raises(FaultError) as refused:
        await compact(r)
    return refused.value


def last_request(r: Rig) -> str:
    return json.dumps(json.loads(r.model.requests("a")[-1].request.body)["messages"])


def test_a_conversation_is_compacted_and_goes_on_from_its_summary() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", SUMMARY, compacting=True), on("story", LONG), on("", Say("Yes.")))
            await one_turn(r)
            session, before = r.hive.reported["session_id"], r.hive.reported["context_tokens"]
            await compact(r, "keep the colours")
            _, end = await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2 and r.hive.events(TurnEnd))
            start = r.hive.events(TurnStart)[-1]
            assert (start.sender, start.body, start.messages) == ("operator", "/compact keep the colours", [])
            assert (end.turn, end.outcome) == (start.turn, Outcome.OK)
            assert end.cost_usd > 0
            assert "keep the colours" in last_request(r)
            (note,) = [note.text for note in r.hive.events(Note) if "summary" in note.text]
            assert "tokens before" in note
            states = [event.state for event in r.hive.events(TurnStateChanged)]
            assert states[states.index("compacting") :][:2] == ["compacting", "idle"]
            assert 0 < r.hive.reported["context_tokens"] < before
            assert r.hive.reported["session_id"] == session
            r.hive.mail("what colour?")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 3)
            assert "the colour blue" in last_request(r)
            assert "A long story. A long story." not in last_request(r)

    asyncio.run(main())


def test_a_message_that_looks_like_a_command_is_not_one() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", LONG))
            await one_turn(r)
            r.hive.mail("/compact")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert not any(recorded.asked.wants_summary for recorded in r.model.requests("a"))

    asyncio.run(main())


def test_a_compaction_waits_for_the_turn_under_way_and_mail_waits_for_the_compaction() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script(
                "a",
                on("", Gate("summary"), SUMMARY, compacting=True),
                on("begin", Say("Well"), Gate("told"), LONG),
                on("", LONG),
            )
            await one_turn(r)
            r.hive.mail("begin")
            await asyncio.to_thread(r.model.gate("told").wait_reached)
            await compact(r)
            assert (await refusal(r)).kind == FaultKind.WRONG_STATE
            await asyncio.to_thread(r.model.gate("told").open)
            await asyncio.to_thread(r.model.gate("summary").wait_reached)
            assert len(r.hive.events(TurnEnd)) == 2
            r.hive.mail("afterwards")
            await r.hive.until(lambda: r.hive.state_of(3) == "leased")
            await asyncio.to_thread(r.model.gate("summary").open)
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 4)
            assert [start.messages for start in r.hive.events(TurnStart)] == [[1], [2], [], [3]]
            assert all(end.ok for end in r.hive.events(TurnEnd))

    asyncio.run(main())


def test_a_compaction_that_waits_while_the_budget_comes_to_its_end_is_not_begun() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script(
                "a", on("", SUMMARY, compacting=True), on("begin", Say("Well"), Gate("told"), LONG), on("", LONG)
            )
            await one_turn(r)
            message = r.hive.mail("begin")
            await asyncio.to_thread(r.model.gate("told").wait_reached)
            await compact(r)
            await r.hive.call(agent.OVER_BUDGET, agent.OverBudget(reason="it has spent $1.00"))
            await asyncio.to_thread(r.model.gate("told").open)
            await r.hive.until(lambda: any("not compacted" in note.text for note in r.hive.events(Note)))
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")
            assert not any(recorded.asked.wants_summary for recorded in r.model.requests("a"))
            await compact(r)  # there is room in the budget again
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 4)
            assert [each.asked.wants_summary for each in r.model.requests("a")].count(True) == 1

    asyncio.run(main())


def test_a_cancelled_compaction_leaves_the_conversation_as_it_was() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Gate("never"), SUMMARY, compacting=True), on("", LONG))
            await one_turn(r)
            await compact(r)
            await asyncio.to_thread(r.model.gate("never").wait_reached)
            assert (await r.hive.call(agent.CANCEL, Nothing())).done
            _, end = await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2 and r.hive.events(TurnEnd))
            assert end.outcome == Outcome.CANCELLED
            assert "as it was" in str(end.note)
            r.hive.mail("and on")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 3)
            assert "A long story. A long story." in last_request(r)

    asyncio.run(main())


def test_a_compaction_that_fails_says_why() -> None:
    async def main() -> None:
        async with rig() as r:
            fault = Fail(400, message="no summaries today")
            r.model.script("a", on("", fault, compacting=True), on("", LONG))
            await one_turn(r)
            await compact(r)
            _, end = await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2 and r.hive.events(TurnEnd))
            assert not end.ok
            assert "no summaries today" in str(end.note)
            await compact(r)  # it may be tried again

    asyncio.run(main())


def test_a_harness_that_is_stopped_ends_a_compaction_too() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Gate("never"), SUMMARY, compacting=True), on("", LONG))
            await one_turn(r)
            await compact(r)
            await asyncio.to_thread(r.model.gate("never").wait_reached)
            await r.hive.call(agent.SHUTDOWN, Shutdown())
            assert await r.ended() == 0
            assert r.hive.events(TurnEnd)[-1].outcome == Outcome.INTERRUPTED

    asyncio.run(main())


def test_without_a_conversation_or_a_login_there_is_nothing_to_compact() -> None:
    async def main() -> None:
        async with rig() as r:
            await r.hive.until(lambda: r.hive.hellos)
            assert "no conversation" in (await refusal(r)).message
            r.model.script("a", on("", Fail(401, may_retry=False)))
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            assert "needs a login" in (await refusal(r)).message

    asyncio.run(main())
