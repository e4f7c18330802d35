"""A conversation that is too long for the model, by the real claude: shortened once, and its turn tried once more."""

import asyncio
import json

import pytest

from harness_rig import Rig, rig
from hyperhive.protocol import agent
from hyperhive.protocol.events import Note, Outcome, TurnEnd, TurnStart, TurnStateChanged
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import AgentSettings, SessionSettings
from hyperhive.rehearsal.script import AnyStep, Call, Fail, Gate, Say, Usage, on

pytestmark = pytest.mark.claude

LONG = Say("A long story. " * 400)
SUMMARY = Say("<analysis>x</analysis><summary>It was about the colour blue.</summary>")


def too_long(times: int) -> Fail:
    return Fail(400, "prompt is too long: 1200000 tokens > 1000000 maximum", times=times)


DRAWING = on("draw", too_long(1), Say("A sketch."))


def script(r: Rig, *painting: AnyStep, compacting: tuple[AnyStep, ...] = (SUMMARY,)) -> None:
    r.model.script("a", on("", *compacting, compacting=True), on("paint", *painting), DRAWING, on("", LONG))


async def ends(r: Rig, number: int) -> list[TurnEnd]:
    found: list[TurnEnd] = await r.hive.until(lambda: len(r.hive.events(TurnEnd)) >= number and r.hive.events(TurnEnd))
    return found


async def one_turn(r: Rig) -> None:
    """A conversation that is worth a summary."""
    r.hive.mail("tell me a long story")
    await ends(r, 1)


def notes(r: Rig) -> str:
    return "\n".join(note.text for note in r.hive.events(Note))


def summaries(r: Rig) -> int:
    return sum(each.asked.wants_summary for each in r.model.requests("a"))


def messages(r: Rig) -> list[str]:
    return [json.dumps(json.loads(each.request.body)["messages"]) for each in r.model.requests("a")]


def test_a_turn_that_overflows_is_compacted_and_tried_again_as_the_same_turn() -> None:
    async def main() -> None:
        async with rig() as r:
            script(r, too_long(1), Say("Blue it is."))
            await one_turn(r)
            r.hive.desk.put("Which blue?")
            message = r.hive.mail("paint it")
            end = (await ends(r, 2))[1]
            assert (end.outcome, r.hive.state_of(message)) == (Outcome.OK, "acked")
            assert [(start.messages, start.attempt) for start in r.hive.events(TurnStart)] == [
                ([1], 1),
                ([message], 1),
            ]
            assert end.turn == r.hive.events(TurnStart)[1].turn
            assert r.hive.inbox[message].reasons == []
            states = [event.state for event in r.hive.events(TurnStateChanged) if event.rest == "warm"]
            assert states[-4:] == ["thinking", "compacting", "thinking", "idle"]
            assert "tried once more" in notes(r)
            assert "goes on from a summary" in notes(r)
            _, first, summary, again = r.model.requests("a")
            assert [each.asked.wants_summary for each in (first, summary, again)] == [False, True, False]
            assert "A long story. A long story." not in messages(r)[-1]
            assert "the colour blue" in messages(r)[-1]
            assert again.asked.prompt.startswith("From the hive: Your conversation was compacted")
            assert "Which blue?" in again.asked.prompt
            assert "is tried once more" in again.asked.prompt
            assert again.asked.prompt.endswith(first.asked.prompt)
            r.hive.mail("and now?")
            await ends(r, 3)
            assert "From the hive" not in r.model.requests("a")[-1].asked.prompt

    asyncio.run(main())


def test_what_a_turn_had_read_and_done_before_it_overflowed_is_not_lost() -> None:
    async def main() -> None:
        async with rig() as r:
            read = Call("mcp__hyperhive__recv", {})
            script(r, Say("Well."), Gate("begun"), read, too_long(1), Say("Blue it is."))
            await one_turn(r)
            r.hive.mail("paint it")
            await asyncio.to_thread(r.model.gate("begun").wait_reached)
            r.hive.mail("in light blue", sender="b", kind="agent")
            await asyncio.to_thread(r.model.gate("begun").open)
            assert (await ends(r, 2))[1].tool_calls == 2
            await r.hive.until(lambda: r.hive.state_of(2) == r.hive.state_of(3) == "acked")
            retried = next(each.asked for each in reversed(r.model.requests("a")) if each.asked.round == 0)
            assert "do not do it twice" in retried.prompt
            assert "paint it" in retried.prompt
            assert "in light blue" in retried.prompt

    asyncio.run(main())


def test_a_turn_that_overflows_twice_has_failed_and_so_has_one_whose_compaction_does() -> None:
    async def main() -> None:
        async with rig() as r:
            script(r, too_long(2), Say("Blue it is."))
            await one_turn(r)
            message = r.hive.mail("paint it")
            end = (await ends(r, 2))[1]
            assert (end.ok, end.outcome) == (False, Outcome.OVERFLOW)
            assert "was compacted and is still too long" in str(end.note)
            assert (await ends(r, 3))[2].ok  # an attempt of its own
            assert r.hive.events(TurnStart)[2].attempt == 2
            assert "still too long" in r.hive.inbox[message].reasons[0]
            assert summaries(r) == 1
            drawing = on("draw", too_long(2), Say("A sketch."))  # at a place whose faults have not been played yet
            r.model.script("a", on("", too_long(100), compacting=True), on("paint", LONG), drawing, on("", LONG))
            message = r.hive.mail("draw it")
            end = (await ends(r, 4))[3]
            assert (end.ok, end.outcome) == (False, Outcome.OVERFLOW)
            assert "could not be compacted" in str(end.note)
            assert "/new-session" in r.hive.inbox[message].reasons[0]
            assert (await ends(r, 5))[4].ok

    asyncio.run(main())


def test_a_conversation_that_claude_itself_finds_too_long_is_compacted_too() -> None:
    async def main() -> None:
        async with rig(AgentSettings(session=SessionSettings(compact_at=0))) as r:
            r.model.script(
                "a",
                on("", SUMMARY, compacting=True),
                on("paint", Say("Blue it is.")),
                on("", Usage(input=999_900, output=10), LONG),
            )
            await one_turn(r)
            assert r.hive.reported["context_tokens"] == 999_900
            message = r.hive.mail("paint it")
            end = (await ends(r, 2))[1]
            assert (end.outcome, r.hive.state_of(message)) == (Outcome.OK, "acked")
            assert [each.asked.wants_summary for each in r.model.requests("a")] == [False, True, False]

    asyncio.run(main())


def test_a_turn_that_is_cancelled_while_it_is_compacted_is_not_tried_again() -> None:
    async def main() -> None:
        async with rig() as r:
            script(r, too_long(1), Say("Blue it is."), compacting=(Gate("never"), SUMMARY))
            await one_turn(r)
            message = r.hive.mail("paint it")
            await asyncio.to_thread(r.model.gate("never").wait_reached)
            assert (await r.hive.call(agent.CANCEL, Nothing())).done
            end = (await ends(r, 2))[1]
            assert (end.outcome, r.hive.state_of(message)) == (Outcome.CANCELLED, "acked")
            assert len(r.model.requests("a")) == 3

    asyncio.run(main())
