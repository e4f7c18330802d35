"""The operator in an agent's container at a real terminal: a shell, and claude on the agent's own conversation."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import base_image
import needs
from base_image import base_images  # noqa: F401 - a fixture
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.script import Call, Gate, Say, on
from hyperhive.testing.hive_process import HiveProcess, running_hive
from hyperhive.testing.model import ScriptedModel
from manager_house import cli
from terminal_at import Terminal, terminal_at

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(base_image.TIMEOUT_S)]

over_bubblewrap = pytest.mark.parametrize("both", ["bubblewrap"], indirect=True, scope="module")
"""What is the same whoever makes containers."""
CLAUDE = "? for shortcuts"
"""The foot of its screen: the head is above what a terminal shows of a long conversation."""
SEND = "mcp__hyperhive__send"


def answer(text: str) -> Call:
    return Call(SEND, {"to": "operator", "body": text, "in_reply_to": "{{id:int}}"})


@pytest.fixture(scope="module", params=["bubblewrap", "nspawn"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[HiveProcess, ScriptedModel]]:
    needs.bwrap()
    needs.claude()
    images: Path | None = request.getfixturevalue("base_images") if request.param == "nspawn" else None

    def furnish(hive: HiveProcess) -> None:
        if images is not None:
            base_image.give(images, hive.paths.images)

    with running_hive(furnish=furnish) as (hive, model):
        model.script(
            "scout",
            on("the moon", answer("moonlight"), Say("said it")),
            on("the sun", answer("sunlight"), Say("said it")),
            on("the stars", Gate("dark"), answer("starlight"), Say("said it")),
            on("words at a terminal", Say("heard at the terminal")),
        )
        hive.ask(host.Spawn(name="scout", backend=request.param), timeout_s=300)
        hive.reply(hive.send("scout", "the moon"))
        yield hive, model


@pytest.fixture
def hive(both: tuple[HiveProcess, ScriptedModel]) -> HiveProcess:
    return both[0]


@pytest.fixture
def model(both: tuple[HiveProcess, ScriptedModel]) -> ScriptedModel:
    return both[1]


@contextlib.contextmanager
def attached(hive: HiveProcess) -> Iterator[Terminal]:
    hive.until("scout", lambda row: row.turn_state == "idle")
    with terminal_at(hive, "attach", "scout") as terminal:
        terminal.until(CLAUDE)
        yield terminal


def conversation(hive: HiveProcess) -> str:
    return (hive.paths.agent_state("scout") / "hyperhive-session").read_text()


def test_a_shell_has_the_size_the_keys_and_the_exit_code_of_a_terminal(hive: HiveProcess) -> None:
    with terminal_at(hive, "shell", "scout") as terminal:
        terminal.until("scout:")
        terminal.types("stty size; echo the-$((1+1))nd\n")
        terminal.until("40 120")
        terminal.until("the-2nd")
        terminal.types("trap 'stty size' WINCH; echo t-$((2+1))\n")
        terminal.until("t-3")
        terminal.becomes(30, 100)
        terminal.types("\n")
        terminal.until("30 100")
        terminal.types("sh -c 'echo begun-$((1+1)); exec sleep 600'\n")
        terminal.until("begun-2")
        terminal.types("\x03")
        terminal.types("\nexit 7\n")

        assert terminal.ends() == 7


def test_the_conversation_goes_on_at_the_terminal_and_afterwards_without_it(hive: HiveProcess) -> None:
    before = conversation(hive)

    with attached(hive) as terminal:
        terminal.until("the moon")
        terminal.types("words at a terminal")
        terminal.until("words at a terminal")
        terminal.types("\r")
        terminal.until("heard at the terminal")
        waiting = hive.send("scout", "the sun")
        with pytest.raises(FaultError) as second:
            hive.ask(host.Attach(name="scout"))
        assert hive.receipt(waiting).state == "sent"
        terminal.types("/exit")
        terminal.until("/exit")
        terminal.types("\r")
        assert terminal.ends() == 0

    assert second.value.kind is FaultKind.WRONG_STATE
    assert hive.reply(waiting) == "sunlight"
    assert conversation(hive) == before


@over_bubblewrap
def test_an_operator_who_leaves_before_the_agent_has_answered_leaves_it_at_work(hive: HiveProcess) -> None:
    hive.until("scout", lambda row: row.turn_state == "idle")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(hive.paths.host_socket))
        client.sendall(msgspec.json.encode(host.Attach(name="scout")) + b"\n")
        hive.ask(host.List())  # by now the agent has been asked

    assert hive.reply(hive.send("scout", "the sun")) == "sunlight"


@over_bubblewrap
@pytest.mark.parametrize("end", ["kill -9", "a closed window"])
def test_an_operator_who_vanishes_gives_the_conversation_back(hive: HiveProcess, end: str) -> None:
    before = conversation(hive)

    with attached(hive) as terminal:
        if end == "kill -9":
            os.kill(terminal.process, signal.SIGKILL)
        else:
            terminal.vanishes()

        assert hive.reply(hive.send("scout", "the sun")) == "sunlight"

    assert conversation(hive) == before


@over_bubblewrap
def test_a_turn_is_not_disturbed_but_on_request_and_its_message_waits(hive: HiveProcess, model: ScriptedModel) -> None:
    message = hive.send("scout", "the stars")
    model.gate("dark").wait_reached()

    assert "--interrupt" in cli_at_terminal(hive)
    with terminal_at(hive, "attach", "scout", "--interrupt") as terminal:
        terminal.until(CLAUDE)
        model.gate("dark").open()

    assert hive.reply(message) == "starlight"


@over_bubblewrap
def test_a_hive_that_ends_ends_the_attachment_and_its_successor_goes_on(hive: HiveProcess) -> None:
    with attached(hive) as terminal:
        hive.kill()
        hive.start()

        assert terminal.ends() != 9
        assert hive.reply(hive.send("scout", "the sun")) == "sunlight"


@over_bubblewrap
def test_attaching_needs_a_terminal(hive: HiveProcess) -> None:
    assert "this is no terminal" in cli(hive, "attach", "scout", fails=True)


def cli_at_terminal(hive: HiveProcess) -> str:
    with terminal_at(hive, "attach", "scout") as terminal:
        assert terminal.ends() == 1
        return terminal.shown
