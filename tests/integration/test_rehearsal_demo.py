"""The demo, played to its end without claude: real commands, the harness's own prompts, a list for a mailbox."""

import json
import subprocess
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from hyperhive.harness.prompt import Identity, system_prompt, wake_prompt
from hyperhive.protocol.agent import Envelope, MessageKind
from hyperhive.rehearsal import conversation, scenarios
from hyperhive.rehearsal.scene import scene
from hyperhive.rehearsal.script import AnyStep, Call, Script, Together

MAX_MAIL = 20
MAX_ROUNDS = 20


class Company:
    """Agents that do what the script says, one message after the other."""

    def __init__(self, script: Script, root: Path) -> None:
        self.script = script
        self.root = root
        self.mail: list[Envelope] = []
        self.calls: list[tuple[str, str]] = []
        for name in ("state", "shared"):
            (root / name).mkdir()

    def send(self, sender: str, to: str, body: str, in_reply_to: int | None = None) -> None:
        kind = MessageKind.OPERATOR if sender == "operator" else MessageKind.AGENT
        number = len(self.mail) + 1
        self.mail.append(
            Envelope(id=number, sender=sender, to=to, kind=kind, body=body, sent_at=0.0, in_reply_to=in_reply_to)
        )

    def play(self) -> None:
        unread = deque(self.mail)
        while unread and len(self.mail) < MAX_MAIL:
            before = len(self.mail)
            message = unread.popleft()
            if message.to != "operator":
                self.turn(message)
            unread.extend(self.mail[before:])

    def turn(self, message: Envelope) -> None:
        identity = Identity(agent=message.to, role="agent", description="", instructions="", colleagues=[])
        messages: list[Any] = [{"role": "user", "content": wake_prompt([message], 0)}]
        for _ in range(MAX_ROUNDS):
            body = {"system": system_prompt(identity), "messages": messages}
            played = scene(self.script, conversation.read(json.dumps(body).encode()))
            calls = [call for step in played.steps for call in calls_of(step)]
            if not calls:
                return
            results = [{"type": "tool_result", "content": self.perform(message.to, call)} for call in calls]
            messages.append({"role": "assistant", "content": [{"type": "tool_use"} for _ in calls]})
            messages.append({"role": "user", "content": results})
        raise AssertionError(f"{message.to} does not come to an end")

    def perform(self, agent: str, call: Call) -> str:
        self.calls.append((agent, call.tool))
        match call.tool:
            case "Bash":
                return self.run(call.input["command"])
            case "Read":
                return self.inside(call.input["file_path"]).read_text()
            case "mcp__hyperhive__send":
                self.send(agent, **call.input)
        return "ok"

    def run(self, command: str) -> str:
        for name in ("state", "shared"):
            command = command.replace(f"/{name}/", f"{self.root}/{name}/")
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
        assert not done.stderr
        return done.stdout.strip()

    def inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")


def calls_of(step: AnyStep) -> list[Call]:
    return [step] if isinstance(step, Call) else step.calls if isinstance(step, Together) else []


@pytest.fixture
def played(tmp_path: Path) -> Company:
    script = scenarios.load("demo")
    assert script.opening
    company = Company(script, tmp_path)
    company.send("operator", script.opening.to, script.opening.body)
    company.play()
    return company


def test_the_demo_ends_with_the_report_to_the_operator(played: Company) -> None:
    last = played.mail[-1]
    report = (played.root / "shared" / "report.md").read_text().strip()
    assert (last.sender, last.to) == (played.script.ending, "operator")
    assert report in last.body
    assert "17984 primes" in report


def test_every_message_of_the_demo_is_in_the_thread_that_the_operator_began(played: Company) -> None:
    assert [(mail.sender, mail.to) for mail in played.mail] == [
        ("operator", "scout"),
        ("scout", "builder"),
        ("builder", "reviewer"),
        ("reviewer", "scout"),
        ("scout", "operator"),
    ]
    assert [mail.in_reply_to for mail in played.mail] == [None, 1, 2, 3, 4]


def test_the_reviewer_of_the_demo_checks_the_facts(played: Company) -> None:
    assert "5 of 5 facts are there, the kernel is right, the processors are right" in played.mail[3].body


def test_all_agents_of_the_demo_do_real_work_and_show_their_status(played: Company) -> None:
    for agent in played.script.agents[:3]:
        assert (agent.name, "Bash") in played.calls
        assert (agent.name, "mcp__hyperhive__set_status") in played.calls


def test_the_operator_gets_an_answer_to_anything_else(tmp_path: Path) -> None:
    company = Company(scenarios.load("demo"), tmp_path)
    company.send("operator", "builder", "make me a sandwich")
    company.play()
    assert (company.mail[-1].to, company.mail[-1].in_reply_to) == ("operator", 1)
    assert "rehearsal" in company.mail[-1].body
