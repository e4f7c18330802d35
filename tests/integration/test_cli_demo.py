"""The demonstration's parts: a scenario played against a hive in memory, the file it ends with, and a failed start."""

import asyncio
import json
import os
from pathlib import Path

import msgspec
import pytest

from hyperhive.cli import demo_hive, main
from hyperhive.cli.demo_play import MAX_FILE, Ending, essence, find_file, play
from hyperhive.cli.output import CliError
from hyperhive.cli.row import Row
from hyperhive.client import Client
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent, Note, Stream, TurnEnd, TurnStart, record
from hyperhive.rehearsal import scenarios
from hyperhive.rehearsal.script import Agent, Opening, Script
from hyperhive.testing.fake_host import FakeHost, agent_row, letter_row

SCRIPT = Script(
    agents=(Agent("scout", description="asks"), Agent("builder", description="builds"), Agent("*")),
    opening=Opening("scout", "Please build"),
    ending="scout",
)


def played(fake: FakeHost, tmp_path: Path, shown: list[tuple[str, str]], *, timeout_s: float = 20) -> Ending:
    def show(agent: str, row: Row) -> None:
        shown.append((agent, row.text))

    return asyncio.run(play(Client(tmp_path / "s"), SCRIPT, tmp_path, show, timeout_s=timeout_s))


def test_a_scenario_is_played_from_the_opening_to_the_summary_and_its_file(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("all is well")
    shown: list[tuple[str, str]] = []
    with FakeHost(tmp_path / "s") as fake:

        def act(_: host.Send) -> None:
            fake.hive.deliver(letter_row(8, "not the end", sender="builder"))
            fake.hive.deliver(letter_row(9, "Done, see /shared/report.md.", sender="scout"))

        fake.hive.on_send = act
        fake.hive.inbox.append(letter_row(0, "from an earlier demonstration", sender="scout"))
        ending = played(fake, tmp_path, shown)
        asked = fake.hive.received
    assert ending.summary.id == 9
    assert (ending.file, ending.content) == (tmp_path / "report.md", "all is well")
    assert {r.name for r in asked if isinstance(r, host.Spawn)} == {"scout", "builder"}
    assert [(r.to, r.body) for r in asked if isinstance(r, host.Send)] == [("scout", "Please build")]
    assert ("operator", "→ send → scout · Please build") in shown


def test_an_agent_that_is_there_already_is_started(tmp_path: Path) -> None:
    with FakeHost(tmp_path / "s") as fake:
        fake.hive.agents["scout"] = msgspec.structs.replace(agent_row("scout"), running=False)
        fake.hive.on_send = lambda _: fake.hive.deliver(letter_row(9, "done", sender="scout"))
        played(fake, tmp_path, [])
        assert fake.hive.agents["scout"].running


def test_a_summary_that_does_not_come_is_an_error(tmp_path: Path) -> None:
    with FakeHost(tmp_path / "s") as fake, pytest.raises(CliError, match="did not come"):
        played(fake, tmp_path, [], timeout_s=0.5)


def test_the_scenario_that_comes_with_the_hive_can_be_demonstrated() -> None:
    script = scenarios.load("demo")
    assert script.opening is not None
    assert script.ending in {agent.name for agent in script.agents}
    assert len([agent for agent in script.agents if agent.name != "*"]) == 3


@pytest.mark.parametrize("trap", ["link", "way_out", "directory", "pipe", "large"])
def test_a_trap_in_place_of_the_file_is_not_read(tmp_path: Path, trap: str) -> None:
    shared, secret = tmp_path / "shared", tmp_path / "secret"
    shared.mkdir()
    secret.write_text("hidden")
    name = {"way_out": "a/../../secret"}.get(trap, "report.md")
    (shared / "a").mkdir()
    if trap == "link":
        (shared / name).symlink_to(secret)
    elif trap == "directory":
        (shared / name).mkdir()
    elif trap == "pipe":
        os.mkfifo(shared / name)
    elif trap == "large":
        (shared / name).write_bytes(b"x" * (MAX_FILE + 1))
    assert find_file(f"see /shared/{name}", shared) == (None, "")


def test_the_first_file_that_is_there_is_the_one_that_is_shown(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("b")
    assert find_file("see /shared/a.md, /shared/b.md and /shared/c.md.", tmp_path) == (tmp_path / "b.md", "b")


def event(live: TurnStart | TurnEnd | Note | Stream) -> HiveEvent:
    stored = record(1, 0.0, live)
    return HiveEvent(id=1, ts=0.0, agent="a", kind=stored.kind, payload=stored.payload)


def said(**block: object) -> HiveEvent:
    value = {"type": "assistant", "message": {"id": "m", "content": [block]}}
    return event(Stream(value=msgspec.Raw(json.dumps(value).encode())))


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (event(TurnStart(turn="t", sender="bob", body="long\nstory")), ["◆ TURN ← bob"]),
        (event(TurnEnd(turn="t", ok=True)), []),
        (event(TurnEnd(turn="t", ok=False, note="no")), ["✗ turn fail — no"]),
        (event(Note(text="by the way")), []),
        (event(Note(text="careful", level="warning")), ["! careful"]),
        (said(type="tool_use", name="Bash", input={"command": "ls"}), ["$ ls"]),
        (said(type="tool_use", name="mcp__hyperhive__send", input={"to": "b", "body": "hi"}), ["→ send → b · hi"]),
        (said(type="text", text="thinking aloud"), []),
    ],
)
def test_a_demonstration_shows_who_does_what_and_leaves_out_the_rest(event: HiveEvent, shown: list[str]) -> None:
    assert [row.text for row in essence(event)] == shown


def test_a_hive_that_cannot_start_is_explained_by_its_own_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYPERHIVE_CLAUDE", "/nowhere/claude")
    assert main.run(main.make_app(), ["demo", "--dir", str(tmp_path / "d"), "--exit-when-done"]) == 1
    _, err = capfd.readouterr()
    assert "cannot start the hive" in err
    assert str(tmp_path / "d/state/hive.log") in err
    assert "/nowhere/claude" in err
    assert not (tmp_path / "d/state/rehearsal/model.sock").exists()


def test_a_directory_in_which_a_hive_runs_already_is_left_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    with FakeHost(tmp_path / "run/host.sock") as fake:
        assert main.run(main.make_app(), ["demo", "--dir", str(tmp_path), "--exit-when-done"]) == 1
        assert [type(request) for request in fake.hive.received] == [host.Hello]
    assert "already" in capfd.readouterr().err


def test_a_scenario_that_is_not_there_is_refused_before_anything_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main.run(main.make_app(), ["demo", "--dir", str(tmp_path / "d"), "--script", "nonsense"]) == 1
    assert "nonsense" in capfd.readouterr().err
    assert not (tmp_path / "d").exists()


def test_a_childs_output_is_read_to_its_end_also_when_it_cannot_be_kept(tmp_path: Path) -> None:
    async def main() -> None:
        said, spoke = asyncio.StreamReader(), asyncio.get_running_loop().create_future()
        said.feed_data(b"word\n" * 20_000)
        said.feed_eof()
        await demo_hive._keep(said, tmp_path, spoke)  # a directory: nothing can be written to it
        assert said.at_eof()

    asyncio.run(main())
