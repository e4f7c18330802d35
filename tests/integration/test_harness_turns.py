"""The harness with the real claude: what becomes of a message."""

import asyncio

import pytest

from harness_rig import rig
from hyperhive.protocol.events import Outcome, Stream, ToolCall, TurnEnd, TurnStart
from hyperhive.rehearsal.script import Call, Say, on

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
