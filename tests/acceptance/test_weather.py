"""Bad weather over one agent: each row of the table, as the operator sees it, with the real claude."""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.events import HiveEvent
from hyperhive.protocol.notify import NotifyKind
from hyperhive.rehearsal.script import Say, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from notify_receiver import receiver
from weather import HANGING, ROWS, Row, Scene, fill_the_disk

pytestmark = [pytest.mark.container, pytest.mark.claude, pytest.mark.timeout(180)]

CONFIG = """\
[limits]
memory = "1G"

[env]
CLAUDE_CODE_MAX_RETRIES = "1"
CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS = "2000"
API_TIMEOUT_MS = "3000"
"""
"""What lasts minutes in an agent's life is over soon."""
EARLIER = "An earlier attempt at this message did not end well"
TOLD = [NotifyKind.NEEDS_LOGIN]


def outcomes_of(hive: HiveProcess, message: int) -> tuple[str, ...]:
    """Of the turns that the message took, once one of them has handled it."""
    its_turns: set[str] = set()
    outcomes: list[str] = []

    def is_over(event: HiveEvent) -> bool:
        fields = msgspec.json.decode(event.payload)
        if event.kind == "turn_start" and message in fields["messages"]:
            its_turns.add(fields["turn"])
        if event.kind == "turn_end" and fields["turn"] in its_turns:
            outcomes.append(fields["outcome"])
        return outcomes[-1:] == ["ok"]

    hive.events("a", until=is_over)
    return tuple(outcomes)


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """A directory whose `state` is a file system of its own, where we may make one: only that is filled."""
    with tempfile.TemporaryDirectory(prefix="hh-", ignore_cleanup_errors=True) as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        state = Path(name) / "state"
        state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(state)], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", str(state)], check=True)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    needs.bwrap()
    needs.claude()
    with receiver() as notified, small_disk() as root, running_hive(root=root) as (hive, model):
        hive.ask(host.AddNotifyTarget(url=notified.json_url, kinds=TOLD))
        hive.prepare("a", CONFIG)
        hive.ask(host.Spawn(name="a"))
        hive.ask(host.Spawn(name="stopped"))
        hive.ask(host.Kill(name="stopped"))
        again = on("attempt 2", Say("Again, done."))
        rows = [on(re.escape(row.what), *row.steps, Say("Done.")) for row in ROWS]
        summary = on("", Say("<analysis>x</analysis><summary>the word is plum</summary>"), compacting=True)
        model.script("a", summary, again, *rows, on("", Say("I will remember. " * 400)))
        assert outcomes_of(hive, hive.send("a", "the word is plum")) == ("ok",)
        yield Scene(hive=hive, model=model, notified=notified)


def session(hive: HiveProcess) -> str:
    return (hive.paths.agent_state("a") / "hyperhive-session").read_text()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_the_weather(scene: Scene, row: Row) -> None:
    if row.strike is fill_the_disk:
        needs.root()
    hive, model = scene.hive, scene.model
    before, requests = session(hive), len(model.requests("a"))
    asked = hive.send("a", f"work through this: {row.what}")
    if row.strike is not None:
        row.strike(scene)
    if row.state:
        hive.until("a", lambda status: status.state == row.state)
        assert hive.receipt(asked).state == "sent"
    if row.told:
        scene.notified.wait_for(NotifyKind(row.told).words)
    if row.recover is not None:
        row.recover(scene)
    if row.event:
        hive.events("a", until=lambda event: event.kind == row.event)
    assert outcomes_of(hive, asked) == row.outcomes
    receipt = hive.receipt(asked)
    assert (receipt.state, receipt.attempt) == ("handled", row.attempt)
    at_rest = hive.until("a", lambda status: status.state in ("warm", "dozing"))
    assert at_rest.unread == 0
    if row.attempt > 1:
        assert EARLIER in model.requests("a")[-1].asked.prompt
    assert len(model.requests("a")) >= requests + row.requests, "it has not happened"
    assert session(hive) == before
    assert b"the word is plum" in model.requests("a")[-1].request.body
    assert not scene.processes(HANGING)
