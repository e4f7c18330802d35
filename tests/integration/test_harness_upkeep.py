"""A conversation that has become long, with the real claude: noted down and compacted, or ended when left alone."""

import asyncio
import json

import pytest

from harness_rig import Rig, rig
from hyperhive.harness.turns import MAX_NOTES_CALLS
from hyperhive.protocol import agent
from hyperhive.protocol.events import Note, Outcome, TurnEnd, TurnStart
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import AgentSettings, SessionSettings
from hyperhive.rehearsal.script import Call, Gate, Say, Together, Turn, Usage, on

pytestmark = pytest.mark.claude

SUMMARY = Say("<analysis>x</analysis><summary>It was about the colour blue.</summary>")
LONG = Usage(input=800_000, output=10)
NOTED = on("From|from the hive itself", Call("Bash", {"command": "echo blue > notes.md"}), Say("Noted."))
SUMMED = on("", SUMMARY, compacting=True)
STORY = on("story", LONG, Say("A long story. " * 400))
OTHER = on("", Say("Yes."))


def script(r: Rig, *turns: Turn) -> None:
    r.model.script("a", *turns, SUMMED, STORY, OTHER)


async def ends(r: Rig, number: int) -> list[TurnEnd]:
    found: list[TurnEnd] = await r.hive.until(lambda: len(r.hive.events(TurnEnd)) >= number and r.hive.events(TurnEnd))
    return found


def course(r: Rig) -> list[tuple[str, str]]:
    """Who caused each turn, and how its body begins."""
    return [(start.sender, start.body.split()[0]) for start in r.hive.events(TurnStart)]


def notes(r: Rig) -> str:
    return "\n".join(note.text for note in r.hive.events(Note))


def last_prompt(r: Rig) -> str:
    return r.model.requests("a")[-1].asked.prompt


def test_behind_a_turn_that_made_it_long_notes_are_written_and_it_is_compacted() -> None:
    async def main() -> None:
        async with rig() as r:
            many = Together([Call("Bash", {"command": "true"}) for _ in range(MAX_NOTES_CALLS)])
            script(r, on("from the hive itself", Gate("noting"), NOTED.steps[0], many, Say("Noted.")))
            r.hive.desk.put("Which blue?")
            r.hive.mail("tell a story")
            await asyncio.to_thread(r.model.gate("noting").wait_reached)
            message = r.hive.mail("and then?")
            await r.hive.announce()
            await asyncio.to_thread(r.model.gate("noting").open)
            all_ends = await ends(r, 4)
            assert course(r) == [("operator", "tell"), ("system", "This"), ("system", "/compact"), ("operator", "and")]
            assert [end.outcome for end in all_ends] == [Outcome.OK] * 4
            assert (r.state / "notes.md").read_text() == "blue\n"
            assert r.hive.state_of(message) == "acked"
            assert not any("new message waits" in each.request.body.decode() for each in r.model.requests("a"))
            assert "From the hive: Your conversation was compacted" in last_prompt(r)
            assert "'a', role agent" in last_prompt(r)
            assert "Which blue?" in last_prompt(r)
            assert "Nothing waits in your mailbox" in last_prompt(r)
            assert "goes on from a summary" in notes(r)
            assert notes(r).count("this turn is for your notes") == 1  # the call that was one too many

    asyncio.run(main())


def test_what_stands_against_it_stands_against_it() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("story", Gate("telling"), *STORY.steps), OTHER)
            r.hive.mail("tell a story")
            await asyncio.to_thread(r.model.gate("telling").wait_reached)
            r.hive.silent.add(agent.EVENTS)
            await asyncio.to_thread(r.model.gate("telling").open)
            await r.hive.until(lambda: r.hive.state_of(1) == "acked" and r.hive.unanswered)
            assert not r.hive.asked_who
            r.hive.held = True  # as when those events tell that the budget was crossed
            r.hive.speak()
            await r.hive.until(lambda: r.hive.asked_who)
            r.hive.held = False
            script(r, on("from the hive itself", Gate("noting"), Say("Noted.")))
            message = r.hive.mail("tell a story again")
            await asyncio.to_thread(r.model.gate("noting").wait_reached)
            assert [sender for sender, _ in course(r)] == ["operator", "operator", "system"]
            assert r.hive.state_of(message) == "acked"
            assert (await r.hive.call(agent.CANCEL, Nothing())).done
            assert (await ends(r, 3))[2].outcome == Outcome.CANCELLED
            await r.hive.until(lambda: "not compacted" in notes(r))
            r.model.script("a", SUMMED, OTHER)
            r.hive.mail("one more")  # the conversation has not grown by much: it is left as it is
            r.hive.mail("and another")
            await r.hive.until(lambda: r.hive.state_of(3) == r.hive.state_of(4) == "acked")
            assert not any(request.asked.wants_summary for request in r.model.requests("a"))

    asyncio.run(main())


def test_notes_take_no_longer_than_they_may() -> None:
    async def main() -> None:
        async with rig(AgentSettings(session=SessionSettings(compact_at_tokens=20_000, notes_within=1))) as r:
            script(r, on("from the hive itself", Gate("never"), Say("Noted.")))
            r.hive.mail("tell a story")
            all_ends = await ends(r, 3)
            assert [sender for sender, _ in course(r)] == ["operator", "system", "system"]
            assert [end.ok for end in all_ends] == [True, False, True]
            assert "took too long" in str(all_ends[1].note)

    asyncio.run(main())


def test_a_pause_that_comes_before_an_upkeep_without_notes_stops_it() -> None:
    async def main() -> None:
        async with rig(AgentSettings(session=SessionSettings(compact_at_tokens=20_000, notes_within=0))) as r:
            r.model.script("a", SUMMED, on("story", Gate("telling"), *STORY.steps), OTHER)
            r.hive.mail("tell a story")
            await asyncio.to_thread(r.model.gate("telling").wait_reached)
            r.hive.silent.add(agent.LIST_AGENTS)  # what it asks for last before it begins
            await asyncio.to_thread(r.model.gate("telling").open)
            await r.hive.until(lambda: r.hive.asked_who and r.hive.unanswered)
            await r.hive.call(agent.PAUSE, agent.Pause(paused=True))
            r.hive.speak()
            await r.hive.until(lambda: not r.hive.unanswered)
            for _ in range(3):  # round trips, in which a compaction would have begun
                assert not (await r.hive.call(agent.CANCEL, Nothing())).done
            assert [sender for sender, _ in course(r)] == ["operator"]

    asyncio.run(main())


def test_a_large_conversation_that_is_left_alone_ends_and_the_next_one_is_told() -> None:
    async def main() -> None:
        session = SessionSettings(compact_at=0, reset_after=1, reset_at_tokens=1000)
        async with rig(AgentSettings(session=session)) as r:
            script(r, NOTED)
            r.hive.desk.put("Which blue?")
            r.hive.mail("tell a story")
            await r.hive.until(lambda: "was left alone" in notes(r))
            before = r.hive.reported["session_id"]
            assert course(r) == [("operator", "tell"), ("system", "This")]
            await r.hive.until(lambda: r.hive.reported["session_id"] == "" and not r.hive.reported["context_tokens"])
            await r.stop()
            await r.start()  # what is owed to it survives
            r.hive.mail("which colour?")
            await ends(r, 3)
            assert "From the hive: Your earlier conversation was long" in last_prompt(r)
            assert "Which blue?" in last_prompt(r)
            assert "A long story" not in json.dumps(json.loads(r.model.requests("a")[-1].request.body)["messages"])
            assert r.hive.reported["session_id"] != before

    asyncio.run(main())
