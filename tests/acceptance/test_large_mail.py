"""Mail of the largest size, many at once: it all gets through, and nothing of it blinds the operator."""

import msgspec
import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.events import TurnStart, live_event
from hyperhive.protocol.framing import MAX_LINE
from hyperhive.rehearsal.script import Say, on
from hyperhive.testing.hive_process import eventually, running_hive

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

BODY = "x" * (64 * 1024)
COUNT = 20


def test_a_heap_of_the_largest_messages_is_handled_and_can_be_listed() -> None:
    needs.bwrap()
    needs.claude()
    with running_hive() as (hive, model):
        model.script("a", on("", Say("read")))
        hive.ask(host.Spawn(name="a"))
        hive.until("a", lambda row: bool(row.active_model))
        hive.ask(host.SetPaused(name="a", paused=True))
        sent = [hive.send("a", BODY) for _ in range(COUNT)]
        answer = hive.ask(host.Inbox(name="a", limit=COUNT))
        assert len(msgspec.json.encode(answer)) < MAX_LINE
        assert [row.id for row in answer.inbox or []] == sent[-len(answer.inbox or []) :]
        assert "older messages" in str(answer.warning)
        hive.ask(host.SetPaused(name="a", paused=False))
        eventually(lambda: {hive.receipt(message).state for message in sent} == {"handled"})


def test_a_message_that_grows_when_it_is_escaped_is_in_its_turns_event() -> None:
    needs.bwrap()
    needs.claude()
    with running_hive() as (hive, model):
        model.script("a", on("", Say("read")))
        hive.ask(host.Spawn(name="a"))
        hive.send("a", "\x01" * (64 * 1024))  # six bytes each in JSON
        seen = hive.events("a", until=lambda event: event.kind == "turn_end")
        (started,) = [live_event(event.payload) for event in seen if event.kind == "turn_start"]
        assert isinstance(started, TurnStart)
        assert started.body.startswith("\x01\x01")
