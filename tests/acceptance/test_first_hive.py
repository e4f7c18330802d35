"""The whole path: the real daemon, real containers, the real claude; only the model is scripted."""

from collections.abc import Iterator

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.events import ToolCall, TurnEnd, live_event
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.script import Call, Gate, Say, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.testing.model import ScriptedModel

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

SEND = "mcp__hyperhive__send"


@pytest.fixture
def hive_and_model() -> Iterator[tuple[HiveProcess, ScriptedModel]]:
    needs.bwrap()
    needs.claude()
    with running_hive() as both:
        yield both


def spawn(hive: HiveProcess, *names: str) -> None:
    for name in names:
        hive.ask(host.Spawn(name=name))


def answers(text: str) -> Call:
    return Call(SEND, {"to": "operator", "body": text, "in_reply_to": "{{id:int}}"})


def test_a_message_goes_from_the_operator_through_two_agents_and_back(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, model = hive_and_model
    model.script(
        "a",
        on(
            "make a report",
            Call(SEND, {"to": "b", "body": "please write it", "in_reply_to": "{{id:int}}"}),
            Say("asked b"),
        ),
        on("it is written", answers("b wrote: {{prompt}}"), Say("told the operator"), sender="b"),
    )
    model.script(
        "b",
        on(
            "please write it",
            Call("Bash", {"command": "echo kernel $(uname -s) > /state/report.md && cat /state/report.md"}),
            Call(SEND, {"to": "a", "body": "it is written: {{result}}", "in_reply_to": "{{id:int}}"}),
            Say("done"),
        ),
    )
    spawn(hive, "a", "b")
    asked = hive.send("a", "make a report")
    assert "kernel Linux" in hive.reply(asked, timeout_s=90)
    assert (hive.paths.agent_state("b") / "report.md").read_text() == "kernel Linux\n"
    seen = hive.events("b", until=lambda event: event.kind == "turn_end")
    calls = [event for event in (live_event(each.payload) for each in seen) if isinstance(event, ToolCall)]
    assert [call.tool for call in calls] == ["Bash", SEND]
    end = live_event(seen[-1].payload)
    assert isinstance(end, TurnEnd)
    assert (end.ok, end.outcome, end.tool_calls) == (True, "ok", 2)
    assert hive.receipt(asked).state == "handled"


def test_a_chosen_model_survives_a_restart_and_a_rebuild_of_the_container(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, model = hive_and_model
    model.script("a", on("who are you", answers("me"), Say("ok"), sender="operator"), on("", Say("nothing to do")))
    spawn(hive, "a")
    hive.until("a", lambda row: row.active_model == "haiku")
    assert hive.ask(host.SetModel(name="a", model="opus")).model == "opus"
    for change in (host.Restart(name="a"), host.Rebuild(name="a")):
        hive.ask(change)
        hive.until("a", lambda row: row.active_model == "opus")
        hive.reply(hive.send("a", "who are you"))
        hive.until("a", lambda row: row.turn_state == "idle")
        assert "opus" in model.requests("a")[-1].asked.model


def test_destroy_keeps_what_spawn_finds_again_and_purge_removes_it(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, model = hive_and_model
    model.script(
        "a", on("remember", Call("Bash", {"command": "echo 42 >> /state/notes.md"}), answers("kept"), Say("ok"))
    )
    spawn(hive, "a")
    hive.reply(hive.send("a", "remember"))
    hive.ask(host.Destroy(name="a"))
    assert [stone.name for stone in hive.ask(host.Tombstones()).tombstones or []] == ["a"]
    with pytest.raises(FaultError) as unknown:
        hive.send("a", "remember")
    assert unknown.value.kind is FaultKind.UNKNOWN_RECIPIENT
    spawn(hive, "a")
    hive.reply(hive.send("a", "remember"))
    assert (hive.paths.agent_state("a") / "notes.md").read_text() == "42\n42\n"
    hive.ask(host.Destroy(name="a", purge=True))
    assert not hive.paths.agent("a").exists()
    assert hive.ask(host.Tombstones()).tombstones == []


def test_a_turn_goes_on_through_a_kill_of_the_daemon_and_its_answer_arrives(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, model = hive_and_model
    model.script(
        "a",
        on(
            "work",
            Call("mcp__hyperhive__set_status", {"text": "busy"}),
            Gate("working"),
            Call("Bash", {"command": "echo x >> /state/ran"}),
            answers("done"),
            Say("ok"),
        ),
    )
    spawn(hive, "a")
    asked = hive.send("a", "work")
    model.gate("working").wait_reached()
    hive.kill()
    queued_before_the_restart = hive.paths.agent_state("a") / "ran"
    assert not queued_before_the_restart.exists()
    model.gate("working").open()
    hive.start()
    assert hive.reply(asked) == "done"
    assert queued_before_the_restart.read_text() == "x\n"
    hive.events("a", until=lambda event: event.kind == "turn_end")
    assert (hive.receipt(asked).state, hive.receipt(asked).attempt) == ("handled", 1)
    assert hive.status("a").running
    assert hive.status("a").status_text == "busy"


def test_a_turn_is_cancelled_and_the_agent_takes_the_next_message(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, model = hive_and_model
    model.script("a", on("hello", answers("hi"), Say("ok")), on("endless", Say("I begin."), Gate("never"), Say("?")))
    spawn(hive, "a")
    hive.send("a", "endless")
    model.gate("never").wait_reached()
    assert hive.ask(host.Cancel(name="a")).done is True
    assert hive.reply(hive.send("a", "hello")) == "hi"


def test_a_paused_agent_takes_no_mail_until_it_is_resumed(hive_and_model: tuple[HiveProcess, ScriptedModel]) -> None:
    hive, model = hive_and_model
    model.script("a", on("hello", answers("hi"), Say("ok")))
    spawn(hive, "a")
    hive.until("a", lambda row: bool(row.active_model))
    hive.ask(host.SetPaused(name="a", paused=True))
    asked = hive.send("a", "hello")
    assert (hive.status("a").paused, hive.status("a").unread) == (True, 1)
    hive.ask(host.SetPaused(name="a", paused=False))
    assert hive.reply(asked) == "hi"


def test_a_sleeping_agent_costs_no_process_and_wakes_for_a_message(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive, model = hive_and_model
    model.script("a", on("hello", answers("hi"), Say("ok")))
    hive.prepare("a", "sleep_after = 1\ndeep_sleep_after = 1\n")
    spawn(hive, "a")
    hive.reply(hive.send("a", "hello"))
    asleep = hive.until("a", lambda row: row.state == "asleep")
    assert not asleep.running
    assert hive.reply(hive.send("a", "hello")) == "hi"
