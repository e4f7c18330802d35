"""The harness with the real claude: what becomes of a message."""

import asyncio
import json
import os

import msgspec
import pytest

from harness_rig import rig
from hyperhive.protocol import agent
from hyperhive.protocol.events import Outcome, Stream, ToolCall, TurnEnd, TurnStart
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import AgentDocument, AgentSettings
from hyperhive.rehearsal.script import Call, Gate, Say, on

pytestmark = pytest.mark.claude


def test_a_message_becomes_a_turn_that_answers_it_and_is_acknowledged() -> None:
    async def main() -> None:
        async with rig() as r:
            reply = Call("mcp__hyperhive__send", {"to": "operator", "body": "{{result}}", "in_reply_to": 1})
            r.model.script("a", on("what day", Call("Bash", {"command": "echo monday"}), reply, Say("Done.")))
            message = r.hive.mail("what day is it?")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert r.hive.state_of(message) == "acked"
            assert [(s.to, s.body.strip(), s.in_reply_to) for s in r.hive.sent] == [("operator", "monday", 1)]
            (start,), (end,) = r.hive.events(TurnStart), r.hive.events(TurnEnd)
            assert (start.sender, start.body, start.messages) == ("operator", "what day is it?", [message])
            assert (end.ok, end.outcome, end.turn, end.tool_calls) == (True, Outcome.OK, start.turn, 2)
            assert r.hive.sent[0].turn == start.turn
            assert [call.tool for call in r.hive.events(ToolCall)] == ["Bash", "mcp__hyperhive__send"]
            assert end.cost_usd > 0
            assert r.hive.events(Stream)
            assert r.hive.reported["rest"] == "warm"

    asyncio.run(main())


def test_work_in_the_background_ends_in_a_turn_of_claudes_own() -> None:
    async def main() -> None:
        async with rig(AgentSettings(sleep_after=0)) as r:
            os.mkfifo(r.root / "flag")
            start = Call("Bash", {"command": f"cat {r.root}/flag", "run_in_background": True})
            r.model.script("a", on("go", start, Say("Started.")), on("task-notification", Say("It has ended.")))
            message = r.hive.mail("go")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert r.hive.state_of(message) == "acked"
            await asyncio.to_thread((r.root / "flag").write_text, "now")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            own = r.hive.events(TurnStart)[1]
            assert (own.sender, own.messages) == ("system", [])
            assert r.hive.events(TurnEnd)[1].ok
            await r.hive.until(lambda: r.hive.reported["rest"] == "dozing")

    asyncio.run(main())


def test_a_budget_that_is_spent_in_a_turn_of_claudes_own_costs_the_message_behind_it_no_attempt() -> None:
    async def main() -> None:
        async with rig() as r:
            os.mkfifo(r.root / "flag")
            start = Call("Bash", {"command": f"cat {r.root}/flag", "run_in_background": True})
            r.model.script("a", on("go", start, Say("Started.")))
            r.hive.mail("go")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            r.model.script("a", on("go", start, Gate("own"), Say("It has ended.")), on("", Say("Yes.")))
            await asyncio.to_thread((r.root / "flag").write_text, "now")
            await asyncio.to_thread(r.model.gate("own").wait_reached)
            behind = r.hive.mail("and you?")
            await r.hive.until(lambda: len(r.hive.events(TurnStart)) == 3)
            assert (await r.hive.call(agent.OVER_BUDGET, agent.OverBudget(reason="it has spent $1.00"))).done
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 4)  # taken up again: this hive gives it more
            assert r.hive.state_of(behind) == "acked"
            ends = r.hive.events(TurnEnd)
            assert [end.outcome for end in ends] == [Outcome.OK, Outcome.BUDGET, Outcome.BUDGET, Outcome.OK]
            assert r.hive.events(TurnStart)[-1].attempt == 1

    asyncio.run(main())


def test_recv_parks_until_a_message_comes_and_both_are_acknowledged() -> None:
    async def main() -> None:
        async with rig() as r:
            recv = Call("mcp__hyperhive__recv", {"wait_seconds": 60})
            r.model.script("a", on("go", recv, Say("Read.")))
            first = r.hive.mail("go")
            await r.hive.until(lambda: any(call.tool.endswith("recv") for call in r.hive.events(ToolCall)))
            second = r.hive.mail("the answer", sender="b", kind="agent")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            assert [r.hive.state_of(i) for i in (first, second)] == ["acked", "acked"]
            assert "[message 2] from b, kind agent" in r.model.requests("a")[-1].request.body.decode()

    asyncio.run(main())


def test_recv_without_a_wait_reads_what_is_there() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("go", Gate("mail"), Call("mcp__hyperhive__recv", {}), Say("Read.")))
            first = r.hive.mail("go")
            await asyncio.to_thread(r.model.gate("mail").wait_reached)
            second = r.hive.mail("the answer", sender="b", kind="agent")
            await asyncio.to_thread(r.model.gate("mail").open)
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            assert [r.hive.state_of(i) for i in (first, second)] == ["acked", "acked"]

    asyncio.run(main())


def test_a_message_that_comes_after_a_parked_recv_was_cancelled_gets_a_turn_of_its_own() -> None:
    async def main() -> None:
        async with rig() as r:
            recv = Call("mcp__hyperhive__recv", {"wait_seconds": 60})
            r.model.script("a", on("too late", Say("Here.")), on("go", recv, Say("Read.")))
            r.hive.mail("go")
            await r.hive.until(lambda: any(call.tool.endswith("recv") for call in r.hive.events(ToolCall)))
            assert (await r.hive.call(agent.CANCEL, Nothing())).done
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            late = r.hive.mail("too late")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert r.hive.state_of(late) == "acked"
            assert r.hive.events(TurnStart)[1].messages == [late]
            assert "too late" in r.model.requests("a")[-1].request.body.decode()

    asyncio.run(main())


def test_more_than_fits_into_a_turn_waits_in_the_queue() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            r.model.script("a", on("", Say("Yes.")))
            ids = [r.hive.mail("x" * 60_000) for _ in range(6)]
            await r.start()
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert [start.messages for start in r.hive.events(TurnStart)] == [ids[:4], ids[4:]]
            assert r.hive.events(TurnStart)[0].unread == 2
            assert {r.hive.state_of(i) for i in ids} == {"acked"}
            assert {r.hive.inbox[i].envelope.attempt for i in ids} == {1}

    asyncio.run(main())


def test_a_changed_config_reaches_a_resumed_conversation() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Say("Yes.")))
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            await r.stop()
            document = AgentDocument(name="a", settings=AgentSettings(system_prompt="Mind the new rule."))
            await asyncio.to_thread((r.root / "agent.json").write_bytes, msgspec.json.encode(document))
            await r.start()
            r.hive.mail("two")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            request = json.loads(r.model.requests("a")[-1].request.body)
            assert "Mind the new rule." in json.dumps(request["system"])
            assert "one" in json.dumps(request["messages"])

    asyncio.run(main())
