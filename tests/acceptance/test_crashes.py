"""Whatever dies: an agent's container, the daemon, both, in the middle of anything."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import LifecycleScope
from hyperhive.rehearsal.script import Call, Gate, Say, on
from hyperhive.testing.hive_process import HiveProcess, eventually
from hyperhive.testing.model import ScriptedModel

pytestmark = [pytest.mark.container, pytest.mark.timeout(120)]

RESTARTS = 4  # before the hive gives up


def answers(text: str) -> Call:
    return Call("mcp__hyperhive__send", {"to": "operator", "body": text, "in_reply_to": "{{id:int}}"})


def spawned(hive: HiveProcess, name: str = "a", toml: str = "") -> None:
    """Up, its harness connected."""
    if toml:
        hive.prepare(name, toml)
    hive.ask(host.Spawn(name=name))
    hive.until(name, lambda row: bool(row.active_model))


def at_rest(hive: HiveProcess, name: str = "a") -> None:
    """The same, and never to begin a turn: claude is not started."""
    spawned(hive, name)
    hive.ask(host.SetPaused(name=name, paused=True))


def asleep(hive: HiveProcess, model: ScriptedModel) -> HiveProcess:
    """With an agent that has no process; it wakes for mail and answers `hello` with `hi`."""
    needs.claude()
    model.script("a", on("hello", answers("hi"), Say("ok")))
    spawned(hive, "a", "sleep_after = 1\ndeep_sleep_after = 1\n")
    hive.until("a", lambda row: row.state == "asleep")
    return hive


def start(hive: HiveProcess, name: str = "a") -> None:
    hive.ask(host.Start(scope=LifecycleScope(agent_names=[name])))


def record(hive: HiveProcess, name: str = "a") -> bytes:
    """What tells one container of an agent from another."""
    return (hive.paths.containers / f"h-{name}" / "record.json").read_bytes()


def first_process(hive: HiveProcess, name: str = "a") -> int:
    pid = json.loads(record(hive, name))["init"]["pid"]
    assert isinstance(pid, int)
    return pid


def containers(hive: HiveProcess, name: str = "a") -> int:
    """Process namespaces that have the agent's state mounted: its containers, as the kernel sees them."""
    state = str(hive.paths.agent_state(name))
    ours, found = Path("/proc/self/ns/pid").readlink(), set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if state in (process / "mountinfo").read_text():
                found.add((process / "ns/pid").readlink())
        except OSError:
            continue  # it has ended
    return len(found - {ours})


def ask_without_waiting(hive: HiveProcess, request: host.AnyRequest) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(hive.paths.host_socket))
    client.sendall(msgspec.json.encode(request) + b"\n")
    return client


def frozen(hive: HiveProcess) -> int:
    """An agent whose container is in no state to end when it is told to; its first process."""
    spawned(hive)
    first = first_process(hive)
    os.kill(first, signal.SIGSTOP)
    return first


def killed_during(hive: HiveProcess, request: host.AnyRequest) -> None:
    with ask_without_waiting(hive, request):
        hive.until("a", lambda row: row.state == "stopping")
        hive.kill()


# a container dies


@pytest.mark.claude
def test_a_container_killed_in_a_turn_is_replaced_and_its_message_comes_again_in_the_same_conversation(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    needs.claude()
    hive, model = hive_and_model
    model.script(
        "a",
        on("the word is plum", answers("kept"), Say("kept")),
        on("attempt 2", answers("again"), Say("ok")),
        on("work", Gate("working"), Say("never")),
    )
    spawned(hive)
    hive.reply(hive.send("a", "the word is plum"))
    asked = hive.send("a", "work")
    model.gate("working").wait_reached()
    os.kill(first_process(hive), signal.SIGKILL)
    assert hive.reply(asked) == "again"
    seen = hive.events("a", until=is_kind("container_crash"))
    hive.events("a", until=lambda event: event.kind == "turn_end" and event.id > seen[-1].id)
    assert (hive.receipt(asked).state, hive.receipt(asked).attempt) == ("handled", 2)
    assert b"the word is plum" in model.requests("a")[-1].request.body
    (crash,) = (
        event for event in hive.events("a", until=is_kind("container_crash")) if event.kind == "container_crash"
    )
    assert msgspec.json.decode(crash.payload)["note"] == "killed by SIGKILL"
    assert containers(hive) == 1


def is_kind(kind: str) -> Callable[[Any], bool]:
    return lambda event: event.kind == kind


def nth(kind: str, number: int) -> Callable[[HiveEvent], bool]:
    """The end of a wait for that many events of the kind."""
    seen: list[HiveEvent] = []

    def reached(event: HiveEvent) -> bool:
        if event.kind == kind:
            seen.append(event)
        return len(seen) == number

    return reached


@pytest.mark.chaos  # the delays before each new start add up to 40 s
def test_a_container_that_dies_again_and_again_is_given_up_loudly_and_start_tries_again(hive: HiveProcess) -> None:
    at_rest(hive)
    for death in range(RESTARTS + 1):
        os.kill(first_process(hive), signal.SIGKILL)
        deaths = hive.events("a", until=nth("container_crash", death + 1))
        assert b"SIGKILL" in bytes(deaths[-1].payload)
        if death < RESTARTS:
            hive.until("a", lambda row: row.running)
    given_up = hive.until("a", lambda row: row.failed)
    assert "SIGKILL" in str(given_up.failure)
    assert not given_up.running
    eventually(lambda: bool(hive.ask(host.Inbox()).inbox))
    (told,) = hive.ask(host.Inbox()).inbox or []
    assert told.sender == "system"
    assert "hive start a" in told.body
    start(hive)
    row = hive.status("a")
    assert (row.running, row.failed, bool(row.failure)) == (True, False, False)


def test_a_container_that_cannot_be_started_again_is_given_up_loudly_at_once(hive: HiveProcess) -> None:
    at_rest(hive)
    state = hive.paths.agent_state("a")
    away = state.rename(state.with_name("away"))
    os.kill(first_process(hive), signal.SIGKILL)
    assert str(state) in str(hive.until("a", lambda row: row.failed).failure)
    eventually(lambda: bool(hive.ask(host.Inbox()).inbox))
    away.rename(state)
    start(hive)
    assert hive.status("a").running


def test_an_agent_that_is_backing_off_can_be_stopped_and_started(hive: HiveProcess) -> None:
    at_rest(hive)
    for _ in range(2):
        os.kill(first_process(hive), signal.SIGKILL)
        hive.until("a", lambda row: not row.running)
        start(hive)
        assert hive.status("a").running
    os.kill(first_process(hive), signal.SIGKILL)
    hive.until("a", lambda row: not row.running)
    hive.ask(host.Kill(name="a"))
    assert hive.status("a").wanted == "down"
    assert containers(hive) == 0


# the daemon dies


@pytest.mark.parametrize("end", [HiveProcess.kill, HiveProcess.stop])
def test_idle_containers_are_adopted_and_not_doubled(hive: HiveProcess, end: Callable[[HiveProcess], Any]) -> None:
    at_rest(hive, "a")
    at_rest(hive, "b")
    before = record(hive, "a"), record(hive, "b")
    for _ in range(3):
        end(hive)
        hive.start()
    assert (record(hive, "a"), record(hive, "b")) == before
    for name in ("a", "b"):
        assert hive.status(name).running
        assert containers(hive, name) == 1


@pytest.mark.parametrize("moment", ["config", "runtime", "record"])
def test_a_spawn_under_way_is_done_and_never_doubled(hive: HiveProcess, moment: str) -> None:
    sign = {
        "config": hive.paths.agent_config("a"),
        "runtime": hive.paths.agent_runtime("a"),
        "record": hive.paths.containers / "h-a" / "record.json",
    }[moment]
    with ask_without_waiting(hive, host.Spawn(name="a")):
        eventually(sign.exists)
        hive.kill()
    hive.start()
    hive.until("a", lambda row: row.running)
    assert containers(hive) == 1


def test_a_start_under_way_comes_to_its_end(hive: HiveProcess) -> None:
    at_rest(hive)
    hive.ask(host.Kill(name="a"))
    with ask_without_waiting(hive, host.Start(scope=LifecycleScope(all=True))):
        hive.until("a", lambda row: row.wanted != "down")
        hive.kill()
    hive.start()
    hive.until("a", lambda row: row.running)
    assert containers(hive) == 1


def test_a_stop_under_way_comes_to_its_end(hive: HiveProcess) -> None:
    first = frozen(hive)
    killed_during(hive, host.Kill(name="a"))
    os.kill(first, signal.SIGCONT)
    hive.start()
    row = hive.until("a", lambda row: not row.running)
    assert (row.wanted, row.failed) == ("down", False)
    eventually(lambda: containers(hive) == 0)
    hive.ask(host.SetPaused(name="a", paused=True))
    start(hive)
    assert containers(hive) == 1


@pytest.mark.parametrize("purge", [False, True])
def test_a_destroy_under_way_comes_to_its_end_and_its_mail_is_not_left_behind(hive: HiveProcess, purge: bool) -> None:
    first = frozen(hive)
    asked = hive.send("a", "hello")
    killed_during(hive, host.Destroy(name="a", purge=purge))
    os.kill(first, signal.SIGCONT)
    hive.start()
    assert hive.ask(host.List()).agents == []
    assert hive.receipt(asked).state == "dead"
    at_rest(hive)
    assert containers(hive) == 1
    assert hive.status("a").unread == 0
    hive.ask(host.Destroy(name="a", purge=True))
    assert hive.ask(host.Tombstones()).tombstones == []
    assert not hive.paths.agent("a").exists()


def test_a_container_that_died_while_no_hive_ran_is_replaced(hive: HiveProcess) -> None:
    at_rest(hive)
    before, first = record(hive), first_process(hive)
    hive.kill()
    os.kill(first, signal.SIGKILL)
    hive.start()
    hive.events("a", until=is_kind("container_crash"))
    hive.until("a", lambda row: row.running)
    assert record(hive) != before
    assert containers(hive) == 1


def test_what_the_operator_wants_survives_a_killed_daemon(hive: HiveProcess) -> None:
    at_rest(hive, "paused")
    spawned(hive, "down")
    hive.ask(host.Kill(name="down"))
    spawned(hive, "up")
    hive.kill()
    hive.start()
    rows = {name: hive.status(name) for name in ("paused", "down", "up")}
    assert {name: (row.running, row.paused, row.wanted) for name, row in rows.items()} == {
        "paused": (True, True, "paused"), "down": (False, False, "down"), "up": (True, False, "up"),
    }  # fmt: skip
    asked = hive.send("paused", "hello")
    assert hive.receipt(asked).state == "sent"
    assert containers(hive, "down") == 0


@pytest.mark.claude
def test_a_sleeping_agent_sleeps_on_after_a_killed_daemon_and_wakes_for_mail(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive = asleep(*hive_and_model)
    hive.kill()
    hive.start()
    assert hive.status("a").state == "asleep"
    assert containers(hive) == 0
    assert hive.reply(hive.send("a", "hello")) == "hi"


@pytest.mark.claude
def test_mail_that_came_for_a_sleeping_agent_just_before_the_daemon_died_wakes_it(
    hive_and_model: tuple[HiveProcess, ScriptedModel],
) -> None:
    hive = asleep(*hive_and_model)
    asked = hive.send("a", "hello")
    hive.kill()
    hive.start()
    assert hive.reply(asked) == "hi"


def test_an_approval_is_decided_once_over_a_killed_daemon(hive: HiveProcess) -> None:
    (number,) = hive.ask(host.RequestSpawn(name="a")).ids or []
    hive.kill()
    hive.start()
    hive.ask(host.Approve(id=number))
    hive.kill()
    hive.start()
    with pytest.raises(FaultError) as again:
        hive.ask(host.Approve(id=number))
    assert again.value.kind is FaultKind.WRONG_STATE
    assert hive.ask(host.List()).agents == ["a"]
    assert containers(hive) == 1
