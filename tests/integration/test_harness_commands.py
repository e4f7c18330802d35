"""What the hive tells a harness, and what the harness does about it."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from harness_rig import rig
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Pause, SetModel, Shutdown
from hyperhive.protocol.events import ModelChanged, Note, Outcome, ToolCall, TurnEnd
from hyperhive.protocol.rpc import Nothing
from hyperhive.protocol.settings import BUILT_IN_TOOLS, AgentSettings, Tools
from hyperhive.rehearsal.script import Call, Gate, Say, on
from hyperhive.testing.hive_process import eventually

pytestmark = pytest.mark.claude


def test_a_cancelled_turn_ends_at_once_and_its_messages_count_as_handled() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("afterwards", Say("Here.")), on("long", Say("Well"), Gate("never"), Say("Done.")))
            first = r.hive.mail("a long story")
            await asyncio.to_thread(r.model.gate("never").wait_reached)
            assert (await r.hive.call(agent.CANCEL, Nothing())).done
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert (end.ok, end.outcome) == (False, Outcome.CANCELLED)
            assert r.hive.state_of(first) == "acked"
            second = r.hive.mail("afterwards")
            await r.hive.until(lambda: r.hive.state_of(second) == "acked")

    asyncio.run(main())


def test_cancelling_when_nothing_is_under_way_finds_nothing_to_do() -> None:
    async def main() -> None:
        async with rig() as r:
            assert not (await r.hive.call(agent.CANCEL, Nothing())).done

    asyncio.run(main())


def test_a_new_session_begins_with_the_next_message() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Say("Yes.")))
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            before = r.hive.reported["session_id"]
            assert (await r.hive.call(agent.NEW_SESSION, Nothing())).done
            r.hive.mail("two")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert r.hive.reported["session_id"] not in ("", before)
            last = r.model.requests("a")[-1]
            assert b"one" not in json.dumps(json.loads(last.request.body)["messages"]).encode()

    asyncio.run(main())


def test_a_model_choice_takes_effect_on_a_warm_claude_and_is_kept() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Say("Yes.")))
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            chosen = await r.hive.call(agent.SET_MODEL, SetModel(model="sonnet"))
            assert (chosen.model, chosen.warning) == ("sonnet", "")
            r.hive.mail("two")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            first, last = (json.loads(r.model.requests("a")[i].request.body)["model"] for i in (0, -1))
            assert "haiku" in first
            assert "sonnet" in last
            assert (r.state / "hyperhive-model").read_text() == "sonnet\n"
            assert [e.model for e in r.hive.events(ModelChanged)] == ["sonnet"]

    asyncio.run(main())


def test_plugins_of_the_config_are_loaded_from_where_they_lie_and_one_that_is_not_there_is_told(
    tmp_path: Path,
) -> None:
    plugin = tmp_path / "greeter"
    (plugin / ".claude-plugin").mkdir(parents=True)
    (plugin / ".claude-plugin/plugin.json").write_text('{"name": "greeter", "version": "1.0.0"}')
    (plugin / "skills/greet").mkdir(parents=True)
    (plugin / "skills/greet/SKILL.md").write_text("---\nname: greet\ndescription: how to greet guests\n---\nBow.\n")
    (plugin / "hooks").mkdir()
    server = {"mcpServers": {"door": {"command": "touch", "args": [str(tmp_path / "started")]}}}
    (plugin / ".mcp.json").write_text(json.dumps(server))
    hook = {"type": "command", "command": "echo the house rule is silence"}
    (plugin / "hooks/hooks.json").write_text(json.dumps({"hooks": {"UserPromptSubmit": [{"hooks": [hook]}]}}))
    settings = AgentSettings(
        claude_plugins=[str(plugin), "/nowhere/gone"], tools=Tools(built_in=(*BUILT_IN_TOOLS, "Skill"))
    )

    async def main() -> None:
        async with rig(settings) as r:
            r.model.script("a", on("", Say("Yes.")))
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            asked = r.model.requests("a")[-1].request.body.decode()
            assert "how to greet guests" in asked
            assert "the house rule is silence" in asked
            assert not (tmp_path / "started").exists()  # its MCP server is not
            assert [note.text for note in r.hive.events(Note) if "plugin" in note.text] == [
                "there is no plugin of claude's at /nowhere/gone: claude goes without it"
            ]

    asyncio.run(main())


@pytest.mark.parametrize("obstacle", ["symlink", "directory"])
def test_a_model_choice_that_cannot_be_kept_is_a_warning_and_still_holds(obstacle: str) -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            place = r.state / "hyperhive-model"
            if obstacle == "symlink":
                place.symlink_to(r.root / "elsewhere")
            else:
                place.mkdir()
            await r.start()
            r.model.script("a", on("", Say("Yes.")))
            chosen = await r.hive.call(agent.SET_MODEL, SetModel(model="sonnet"))
            assert "cannot keep it" in chosen.warning
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert "sonnet" in json.loads(r.model.requests("a")[-1].request.body)["model"]
            assert any("cannot keep it" in note.text for note in r.hive.events(Note))
            assert not (r.root / "elsewhere").exists()

    asyncio.run(main())


def test_a_paused_agent_leases_nothing_until_it_goes_on() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            r.hive.paused = True
            r.model.script("a", on("", Say("Yes.")))
            await r.start()
            await r.hive.until(lambda: r.hive.hellos)
            message = r.hive.mail("one")
            r.hive.paused = False  # the hive would hand it out now: it is the harness that must not ask
            await r.hive.call(agent.PAUSE, Pause(paused=True))
            assert r.hive.state_of(message) == "queued"
            await r.hive.call(agent.PAUSE, Pause(paused=False))
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")

    asyncio.run(main())


def test_mail_that_arrives_meanwhile_is_announced_at_the_next_tool_boundary_and_can_be_read() -> None:
    async def main() -> None:
        async with rig() as r:
            recv = Call("mcp__hyperhive__recv", {})
            r.model.script(
                "a", on("begin", Gate("mail is there"), Call("Bash", {"command": "echo x"}), recv, Say("Stopped."))
            )
            first = r.hive.mail("begin")
            await asyncio.to_thread(r.model.gate("mail is there").wait_reached)
            second = r.hive.mail("stop that")
            await r.hive.announce()
            await asyncio.to_thread(r.model.gate("mail is there").open)
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            assert [r.hive.state_of(i) for i in (first, second)] == ["acked", "acked"]
            after_bash, after_recv = (r.model.requests("a")[i].request.body.decode() for i in (1, 2))
            assert "A new message waits, from operator: call mcp__hyperhive__recv" in after_bash
            assert "stop that" not in after_bash
            assert "stop that" in after_recv
            assert len(r.hive.events(TurnEnd)) == 1

    asyncio.run(main())


def test_a_command_that_the_config_denies_does_not_run_and_claude_hears_why() -> None:
    async def main() -> None:
        async with rig(AgentSettings(tools=Tools(bash_allow=["echo *"]))) as r:
            touch = f"echo fine && touch {r.state}/made"
            r.model.script("a", on("go", Call("Bash", {"command": touch}), Say("No.")))
            r.hive.mail("go")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            assert not (r.state / "made").exists()
            assert len(r.hive.events(ToolCall)) == 1
            assert "allows only echo *" in r.model.requests("a")[-1].request.body.decode()

    asyncio.run(main())


def test_a_refusal_of_the_hive_reaches_claude_as_a_sentence() -> None:
    async def main() -> None:
        async with rig() as r:
            send = Call("mcp__hyperhive__send", {"to": "nobody", "body": "hello"})
            r.model.script("a", on("go", send, Say("No.")))
            r.hive.mail("go")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            assert "there is no agent 'nobody'" in r.model.requests("a")[-1].request.body.decode()

    asyncio.run(main())


@pytest.mark.parametrize("way", ["SIGTERM", "shutdown"])
def test_stopping_in_mid_turn_gives_the_messages_back_unharmed(way: str) -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("long", Say("Well"), Gate("never")))
            message = r.hive.mail("a long story")
            await asyncio.to_thread(r.model.gate("never").wait_reached)
            below = await r.below("")
            if way == "SIGTERM":
                os.kill(r.pid, signal.SIGTERM)
            else:
                await r.hive.call(agent.SHUTDOWN, Shutdown())
            assert await r.ended() == 0
            assert r.hive.state_of(message) == "queued"
            assert r.hive.inbox[message].envelope.attempt == 1
            assert [end.outcome for end in r.hive.events(TurnEnd)] == [Outcome.INTERRUPTED]
            assert below
            await asyncio.to_thread(eventually, lambda: not any(map(_lives, below)))

    asyncio.run(main())


def test_shutting_down_with_grace_lets_the_turn_end() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("long", Say("Well"), Gate("soon"), Say("Done.")))
            message = r.hive.mail("a long story")
            await asyncio.to_thread(r.model.gate("soon").wait_reached)
            await r.hive.call(agent.SHUTDOWN, Shutdown(grace_seconds=30))
            await asyncio.to_thread(r.model.gate("soon").open)
            assert await r.ended() == 0
            assert r.hive.state_of(message) == "acked"

    asyncio.run(main())


def test_a_signal_cuts_the_grace_short() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("long", Say("Well"), Gate("never")))
            message = r.hive.mail("a long story")
            await asyncio.to_thread(r.model.gate("never").wait_reached)
            await r.hive.call(agent.SHUTDOWN, Shutdown(grace_seconds=3600))
            os.kill(r.pid, signal.SIGTERM)
            assert await r.ended() == 0
            assert r.hive.state_of(message) == "queued"

    asyncio.run(main())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
