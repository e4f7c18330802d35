"""The hive's tools in the hands of the real claude."""

import asyncio
import json
from typing import Any

import pytest

import needs
from harness_rig import Rig, rig
from hyperhive.protocol import agent
from hyperhive.protocol.agent import JobAnswer
from hyperhive.protocol.events import Outcome, ToolCall, TurnEnd
from hyperhive.protocol.settings import AgentSettings
from hyperhive.rehearsal.script import Call, Say, on

pytestmark = pytest.mark.claude


def body(r: Rig, number: int = -1) -> dict[str, Any]:
    """A request that claude made of the model."""
    found: dict[str, Any] = json.loads(r.model.requests("a")[number].request.body)
    return found


def results(r: Rig) -> list[tuple[bool, str]]:
    """What the tools answered in the last turn's conversation: whether with an error, and the text."""
    blocks = [block for message in body(r)["messages"] for block in message["content"] if isinstance(block, dict)]
    return [
        (bool(block.get("is_error")), json.dumps(block["content"]))
        for block in blocks
        if block["type"] == "tool_result"
    ]


def hive_tools(r: Rig) -> set[str]:
    prefix = "mcp__hyperhive__"
    return {tool["name"].removeprefix(prefix) for tool in body(r)["tools"] if tool["name"].startswith(prefix)}


def test_claude_is_given_the_tools_that_the_agent_has_and_no_others() -> None:
    async def main() -> None:
        async with rig(tool_groups=["diagnostics"]) as r:
            r.model.script("a", on("go", Say("Yes.")))
            r.hive.mail("go")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert hive_tools(r) == {
                "send", "recv", "receipt", "set_status", "whoami", "list_agents",
                "ask", "answer", "remind", "get_loose_ends", "cancel_loose_end", "get_logs",
            }  # fmt: skip

    asyncio.run(main())


def test_an_agent_with_the_managers_role_steers_and_asks_the_operator_and_hears_what_the_hive_answers() -> None:
    async def main() -> None:
        async with rig(AgentSettings(role="manager")) as r:
            calls = [
                Call("mcp__hyperhive__request_spawn", {"name": "c", "description": "Tests things."}),
                Call("mcp__hyperhive__restart", {"name": "b"}),
                Call("mcp__hyperhive__ask", {"question": "Which?", "options": ["red", "blue"]}),
                Call("mcp__hyperhive__remind", {"message": "Look again.", "delay_seconds": 60}),
            ]
            r.model.script("a", on("go", *calls, Say("Done.")))
            r.hive.desk.outcome = JobAnswer(job=12, state="running")
            r.hive.mail("go")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert (end.outcome, end.tool_calls) == (Outcome.OK, 4)
            assert "kill" in hive_tools(r)
            spawn, restart, ask, remind = results(r)
            assert not any(failed for failed, _ in results(r))
            assert "approval 1 waits for the operator" in spawn[1]
            assert "under way as job 12" in restart[1]
            assert "question 2 is with the operator" in ask[1]
            assert "reminder 3 comes as a message" in remind[1]
            assert "`request_spawn`" in json.dumps(body(r)["system"])

    asyncio.run(main())


def test_a_question_that_was_put_to_the_agent_wakes_it_and_is_answered() -> None:
    async def main() -> None:
        async with rig() as r:
            question = r.hive.desk.put("Ready?", asker="b")
            r.model.script(
                "a",
                on("question_asked", Call("mcp__hyperhive__answer", {"id": question, "answer": "Yes."}), Say("Done.")),
            )
            event = {"event": "question_asked", "id": question, "asker": "b", "question": "Ready?", "options": []}
            message = r.hive.mail(json.dumps(event), sender="system", kind="system")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert r.hive.state_of(message) == "acked"
            assert r.hive.desk.questions[question].answer == "Yes."

    asyncio.run(main())


def test_a_refusal_and_a_wrong_argument_are_errors_that_claude_can_read() -> None:
    async def main() -> None:
        async with rig(tool_groups=["lifecycle"]) as r:
            calls = [
                Call("mcp__hyperhive__kill", {"name": "a"}),
                Call("mcp__hyperhive__ask", {"question": "x", "ttl_seconds": 10**6}),
                Call("mcp__hyperhive__remind", {"message": "x", "at": "tomorrow"}),
                Call("mcp__hyperhive__get_logs", {"agent": "b"}),
            ]
            r.model.script("a", on("go", *calls, Say("No.")))
            r.hive.mail("go")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            own, late, unclear, missing = results(r)
            assert all(failed for failed, _ in results(r))
            assert "that is you" in own[1]
            assert "21600" in late[1]
            assert "write it as 2026-03-01T09:30:00Z" in unclear[1]
            assert "No such tool available" in missing[1]

    asyncio.run(main())


def test_a_question_whose_answer_was_lost_with_the_connection_is_asked_once() -> None:
    async def main() -> None:
        async with rig() as r:
            r.hive.lost.add(agent.ASK)
            r.model.script("a", on("go", Call("mcp__hyperhive__ask", {"question": "Which?"}), Say("Asked.")))
            r.hive.mail("go")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            assert len(r.hive.hellos) == 2
            assert [question.text for question in r.hive.desk.questions.values()] == ["Which?"]
            assert "question 1 is with the operator" in results(r)[0][1]

    asyncio.run(main())


def test_what_claude_commits_is_the_agents() -> None:
    needs.program("git", "install git")

    async def main() -> None:
        async with rig() as r:
            commit = (
                "git init -q r && cd r && git commit -q --allow-empty -m x && git log --format='%an <%ae>, %cn <%ce>'"
            )
            r.model.script("a", on("go", Call("Bash", {"command": commit}), Say("Done.")))
            r.hive.mail("go")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert len(r.hive.events(ToolCall)) == 1
            assert "a <a@hyperhive>, a <a@hyperhive>" in results(r)[0][1]

    asyncio.run(main())
