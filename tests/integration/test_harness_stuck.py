"""What the harness does when the hive takes its agent to be stuck: claude is told, the turn ends, claude is ended."""

import asyncio
import sys

import pytest
from msgspec import UNSET

from harness_rig import PATIENCE_S, Rig, rig
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Unstick
from hyperhive.protocol.events import Note, Outcome, Stream, TurnEnd
from hyperhive.protocol.settings import AgentSettings, McpServer, Tools
from hyperhive.rehearsal.script import Call, Gate, Say, on

pytestmark = pytest.mark.claude
WHY = "it is at a turn, and nothing comes from it"


async def unstick(r: Rig, step: str) -> bool:
    return (await r.hive.call(agent.UNSTICK, Unstick(step=step, reason=WHY))).done  # type: ignore[arg-type]


async def end_number(r: Rig, number: int) -> TurnEnd:
    await r.hive.until(lambda: len(r.hive.events(TurnEnd)) >= number)
    return r.hive.events(TurnEnd)[number - 1]


def last_request(r: Rig) -> str:
    return r.model.requests("a")[-1].request.body.decode()


def test_each_step_on_one_agent_whose_conversation_goes_on() -> None:
    async def scene() -> None:
        async with rig() as r, asyncio.timeout(2 * PATIENCE_S):
            await r.hive.until(lambda: r.hive.hellos)
            assert not await unstick(r, "interrupt")
            assert not await unstick(r, "nudge")

            call = Call("Bash", {"command": "true"})
            r.model.script("a", on("first", Gate("model"), call, Gate("tool"), Say("Done.")))
            first = r.hive.mail("first")
            await asyncio.to_thread(r.model.gate("model").wait_reached)
            assert await unstick(r, "nudge")
            r.model.gate("model").open()
            await asyncio.to_thread(r.model.gate("tool").wait_reached)
            assert WHY in last_request(r)
            assert last_request(r).count("you seem to be stuck") == 1

            assert await unstick(r, "interrupt")
            end = await end_number(r, 1)
            assert (end.outcome, end.note) == (Outcome.INTERRUPTED, f"ended by the hive: {WHY}")
            assert any(note.text == f"interrupt: {WHY}" for note in r.hive.events(Note))
            assert r.hive.inbox[first].reasons == [end.note]

            await asyncio.to_thread(r.model.gate("tool").wait_reached, 2)
            assert r.hive.inbox[first].envelope.attempt == 2
            before = await r.below("claude")
            assert await unstick(r, "restart_claude")
            end = await end_number(r, 2)
            assert (end.outcome, end.note) == (Outcome.INTERRUPTED, f"ended by the hive: {WHY}")
            r.model.gate("tool").open()
            assert (await end_number(r, 3)).ok
            await r.hive.until(lambda: r.hive.state_of(first) == "acked")
            assert not {*before} & {*await r.below("claude")}
            sessions = {report.session_id for report in r.hive.reports if report.session_id}
            assert len(sessions - {UNSET}) == 1

    asyncio.run(scene())


ELICITING = """
import json, sys
def put(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for line in sys.stdin:
    got = json.loads(line)
    method, number = got.get("method"), got.get("id")
    if method == "initialize":
        put(id=number, result={"protocolVersion": got["params"]["protocolVersion"], "capabilities": {"tools": {}},
                               "serverInfo": {"name": "asker", "version": "1"}})
    elif method == "tools/list":
        put(id=number, result={"tools": [{"name": "ask", "description": "d", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        call = number
        put(id=77, method="elicitation/create", params={"message": "Which?", "requestedSchema":
            {"type": "object", "properties": {"which": {"type": "string"}}}})
    elif number == 77:
        put(id=call, result={"content": [{"type": "text", "text": "it was " + got["result"]["action"]}]})
"""
"""An MCP server whose tool asks the person in front of claude."""


def test_what_asks_a_person_does_not_park_claude() -> None:
    async def scene() -> None:
        settings = AgentSettings(
            tools=Tools(built_in=("Bash", "AskUserQuestion", "ExitPlanMode")),
            mcp_servers={"asker": McpServer(command=sys.executable, args=["-c", ELICITING])},
        )
        async with rig(settings) as r, asyncio.timeout(PATIENCE_S):
            option = {"label": "a", "description": "a"}
            question = {"question": "Which?", "header": "Which", "multiSelect": False, "options": [option, option]}
            steps = (Call("AskUserQuestion", {"questions": [question]}), Call("ExitPlanMode", {"plan": "x"}),
                     Call("mcp__asker__ask"), Say("Done."))  # fmt: skip
            r.model.script("a", on("go", *steps))
            r.hive.mail("go")
            assert (await end_number(r, 1)).ok
            said = b"".join(bytes(event.value) for event in r.hive.events(Stream))
            assert b"No such tool available: AskUserQuestion" in said
            assert b"No such tool available: ExitPlanMode" in said
            assert b"it was cancel" in said

    asyncio.run(scene())
