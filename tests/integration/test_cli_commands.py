"""Every command as an operator runs it, against a hive in memory behind a real socket."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
import typer.main

from hyperhive.cli import c0re, main
from hyperhive.cli.options import complete_agents
from hyperhive.protocol import host
from hyperhive.protocol.events import Note
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import AgentDocument, AgentSettings
from hyperhive.testing.fake_host import FakeHive, FakeHost, agent_row, letter_row
from hyperhive.testing.fake_shape import COMMIT, NOON, approval_row, job_row


@pytest.fixture
def hive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHive]:
    """A hive with one of everything, and the environment that leads to it."""
    monkeypatch.setenv("HYPERHIVE_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HYPERHIVE_STATE_DIR", str(tmp_path))
    with FakeHost(tmp_path / "host.sock") as fake:
        fake.hive.agents["alpha"] = agent_row("alpha", model="haiku")
        fake.hive.approvals[7] = approval_row(7, "beta", "spawn", description="please")
        fake.hive.approvals[8] = approval_row(8, "alpha", description="more memory")
        fake.hive.diffs[8] = [
            host.ApprovalDiff(id=8, agent="alpha", kind="apply_commit", sha=COMMIT, base_sha=40 * "1")
        ]
        fake.hive.configs["alpha"] = host.AgentConfig(
            name="alpha", sha=40 * "1", tag="deployed/0", text='model = "haiku"\n',
            settings=[host.Setting(key="model", value='"haiku"', source="agent.toml", line=1)],
            document=AgentDocument(name="alpha", settings=AgentSettings()),
        )  # fmt: skip
        fake.hive.deployments["alpha"] = [
            host.Deployment(id=5, agent="alpha", sha=40 * "1", tag="deployed/5", deployed_at=NOON, current=True),
            host.Deployment(id=0, agent="alpha", sha=40 * "2", tag="deployed/0", deployed_at=NOON),
        ]
        fake.hive.work(job_row(3, "alpha", "rebuild"), "making the container")
        fake.hive.questions[2] = host.Question(
            id=2, asker="alpha", target="operator", question="Which colour?", options=["red", "blue"], asked_at=NOON
        )
        fake.hive.reminders[4] = host.Reminder(
            id=4, agent="alpha", message="look at the oven", due_at=NOON, created_at=NOON
        )
        fake.hive.schedules.append(host.ScheduleRow(agent="alpha", name="morning", message="look", every=3600))
        fake.hive.inbox.append(letter_row(1, "Good morning"))
        fake.hive.dead[5] = letter_row(5, "lost", state="dead")
        fake.hive.tombstones.append(
            host.Tombstone(name="old", size_bytes=2048, last_modified=NOON, has_credentials=True)
        )
        fake.hive.log.append("it runs")
        fake.hive.sent = 3
        fake.hive.happen("alpha", Note(text="so far"))
        yield fake.hive


def run(*argv: str) -> int:
    return main.run(main.make_app(), list(argv))


COMMANDS: dict[str, list[str]] = {
    "version": [],
    "doctor": [],
    "list": [],
    "spawn": ["beta", "--model", "opus", "--description", "new"],
    "start": ["alpha"],
    "stop": ["--all", "--graceful"],
    "restart": ["alpha"],
    "rebuild": ["alpha"],
    "destroy": ["alpha", "--purge", "--yes"],
    "tombstones": [],
    "inputs list": [],
    "inputs update": ["hyperhive", "--message", "newer"],
    "revive": ["old"],
    "purge": ["old", "--yes"],
    "send": ["alpha", "hello", "there", "--reply-to", "1"],
    "inbox": ["--all"],
    "receipt": ["3"],
    "dead list": [],
    "dead requeue": ["5"],
    "dead drop": ["5", "--yes"],
    "watch": ["alpha", "--no-follow"],
    "logs": ["alpha", "-n", "5"],
    "pause": ["alpha"],
    "resume": ["alpha"],
    "model": ["alpha", "opus"],
    "cancel": ["alpha"],
    "new-session": ["alpha", "--yes"],
    "compact": ["alpha", "keep", "the", "colours"],
    "auth login": ["alpha"],
    "auth set": ["--env-file", __file__],
    "auth show": [],
    "auth unset": ["--yes"],
    "shell": ["alpha"],
    "move": ["alpha", "--backend", "nspawn"],
    "image build": [],
    "image list": [],
    "image verify": [],
    "image gc": [],
    "stats": ["alpha", "--window", "7d"],
    "questions": [],
    "question cancel": ["2"],
    "ask": ["alpha", "how", "far?", "--option", "far", "--ttl", "1h"],
    "answer": ["2", "blue"],
    "reminders": [],
    "reminder cancel": ["4"],
    "budget": ["alpha", "--top-up", "5"],
    "reserve": ["10"],
    "schedules": [],
    "schedule pause": ["alpha", "morning"],
    "schedule resume": ["alpha", "morning"],
    "schedule fire": ["alpha", "morning"],
    "pending": [],
    "diff": ["8"],
    "approve": ["7", "--yes"],
    "deny": ["7", "--reason", "no"],
    "config": ["alpha"],
    "edit": ["alpha", "--file", os.devnull, "--yes"],
    "propose": ["alpha", "c0ffee0", "-m", "more memory"],
    "deployments": ["alpha"],
    "rollback": ["alpha", "--yes"],
    "request-spawn": ["gamma", "-d", "counts"],
    "init-config": ["gamma"],
    "open": [],
    "login": [],
    "sessions": [],
    "session revoke": ["1"],
    "token create": ["scripts", "--scope", "operate", "--days", "30"],
    "token list": [],
    "token revoke": ["1"],
    "notify add": ["ntfy://ntfy.example.org/topic", "--for", "approval,question", "--name", "phone"],
    "notify list": [],
    "notify remove": ["phone"],
    "notify test": ["phone"],
    "jobs": [],
    "job log": ["3"],
    "job cancel": ["3"],
}
WITHOUT_A_CLIENT = {"serve", "demo", "migrate-from-hyperhive"}
AT_A_TERMINAL = {"attach"}
"""What is for a person there, and says nothing to programs."""


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {"": command} if path else {}).items():
        yield from (
            leaves(child, f"{path} {name}".strip())
            if hasattr(child, "commands")
            else [(f"{path} {name}".strip(), child)]
        )


ALL = dict(leaves(typer.main.get_command(main.make_app())))


def test_the_walk_below_leaves_no_command_out() -> None:
    assert set(ALL) == set(COMMANDS) | WITHOUT_A_CLIENT | AT_A_TERMINAL


@pytest.mark.parametrize("name", ALL)
def test_every_command_can_answer_in_json_and_says_what_it_does(name: str) -> None:
    assert any("--json" in parameter.opts for parameter in ALL[name].params) is (name not in AT_A_TERMINAL)
    assert ALL[name].help


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_the_wire_type_on_stdout_and_nothing_else(
    name: str, hive: FakeHive, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(*name.split(), *COMMANDS[name], "--json")
    out, err = capsys.readouterr()
    values = [json.loads(line) for line in out.splitlines()]
    assert values, err
    if name != "doctor":  # what it finds depends on the machine
        assert code == 0
        assert err == ""
    if name not in ("doctor", "version", "watch"):
        assert all(msgspec.convert(value, host.Response).ok for value in values)


@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_daemon_every_command_says_how_to_start_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYPERHIVE_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HYPERHIVE_STATE_DIR", str(tmp_path))
    code = run(*name.split(), *COMMANDS[name])
    out, err = capsys.readouterr()
    if name in ("doctor", "version"):
        return
    assert code == 3
    assert out == ""
    assert "hive serve" in err
    assert "Traceback" not in err


def test_the_doctor_reports_on_the_daemon_and_on_what_containers_need(
    hive: FakeHive, capsys: pytest.CaptureFixture[str]
) -> None:
    run("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert {"python", "claude", "bubblewrap", "user namespaces", "limits", "disk space", "daemon"} <= set(findings)
    assert "fake" in findings["daemon"]["detail"]
    assert all(finding["ok"] or finding["remedy"] for finding in findings.values())


def test_stats_are_said_in_words_and_what_agents_named_cannot_move_the_screen(
    hive: FakeHive, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("stats") == 0
    out = capsys.readouterr().out
    assert "turns       2 (1 ok, 1 failed)" in out
    assert "cost        $0.50" in out
    assert "half of them at most 1.5 s, 95 % at most 9.0 s" in out
    assert "\x1b" not in out


def last(hive: FakeHive) -> host.AnyRequest:
    return hive.received[-1]


@pytest.mark.parametrize(
    ("argv", "request_"),
    [
        (["spawn", "beta", "--model", "opus"], host.Spawn(name="beta", model="opus")),
        (["start", "alpha"], host.Start(scope=host.LifecycleScope(agent_names=["alpha"]))),
        (["stop", "--all"], host.Stop(scope=host.LifecycleScope(all=True))),
        (["stop", "alpha", "--graceful"], host.Stop(scope=host.LifecycleScope(agent_names=["alpha"]), graceful=True)),
        (["destroy", "alpha", "-y"], host.Destroy(name="alpha")),
        (["destroy", "alpha", "--purge", "-y"], host.Destroy(name="alpha", purge=True)),
        (["pause", "alpha"], host.SetPaused(name="alpha", paused=True)),
        (["resume", "alpha"], host.SetPaused(name="alpha", paused=False)),
        (["deny", "7", "--reason", "no"], host.Deny(id=7, reason="no")),
        (["logs", "alpha", "-n", "3"], host.Logs(name="alpha", lines=3)),
        (["model", "alpha"], host.AgentStatus()),
        (["watch", "alpha", "--no-follow", "--history", "9"], host.Watch(name="alpha", history=9, follow=False)),
    ],
)
def test_a_command_asks_for_what_its_words_say(hive: FakeHive, argv: list[str], request_: host.AnyRequest) -> None:
    assert run(*argv) == 0
    assert last(hive) == request_


def test_the_list_shows_each_agent_with_its_state(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    hive.agents["beta"] = msgspec.structs.replace(agent_row("beta"), failed=True, failure="no space left")
    hive.agents["gamma"] = msgspec.structs.replace(agent_row("gamma"), running=False, needs_update=True)
    run("list")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[-3:]] == [
        ["alpha", "running"],
        ["beta", "failed"],
        ["gamma", "stopped"],
    ]
    assert "no space left" in lines[-2]
    assert "(needs update)" in lines[-1]


def test_a_refusal_is_one_sentence_and_exit_code_1(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("restart", "ghost") == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "hive: agent 'ghost' is not managed by this hive\n")


def test_a_refusal_in_json_is_an_answer_too(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("restart", "ghost", "--json") == 1
    answer = msgspec.json.decode(capsys.readouterr().out, type=host.Response)
    assert (answer.ok, answer.error_kind) == (False, "unknown_agent")


@pytest.mark.parametrize("argv", [["nonsense"], ["restart"], ["approve", "x"], ["start"], ["start", "alpha", "--all"]])
def test_what_makes_no_sense_is_exit_code_2_and_reaches_nobody(
    hive: FakeHive, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*argv) == 2
    assert "--help" in capsys.readouterr().err
    assert hive.received == []


def test_send_prints_the_id_and_makes_a_fresh_key(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    run("send", "alpha", "good", "morning")
    run("send", "alpha", "good", "morning")
    assert capsys.readouterr().out == "4\n5\n"
    first, second = (msgspec.structs.asdict(request) for request in hive.received)
    assert first["body"] == "good morning"
    assert first["mid"] != second["mid"]


def test_send_with_wait_prints_the_reply_and_counts_it_as_read(
    hive: FakeHive, capsys: pytest.CaptureFixture[str]
) -> None:
    hive.replies[4] = letter_row(9, "It is noon.")
    assert run("send", "alpha", "what time is it", "--wait") == 0
    assert capsys.readouterr().out == "It is noon.\n"
    assert last(hive) == host.InboxHandled(ids=[9])


def test_send_with_wait_says_when_nothing_came(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("send", "alpha", "hello", "--wait", "--timeout", "1") == 1
    assert "hive receipt 4" in capsys.readouterr().err


def test_the_inbox_counts_as_read_once_it_was_shown(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    run("inbox", "--keep")
    run("inbox")
    assert capsys.readouterr().out.count("Good morning") == 2
    run("inbox")
    out, err = capsys.readouterr()
    assert out == ""
    assert "no unread mail" in err


def test_a_letter_cannot_pass_for_another(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    hive.inbox = [letter_row(2, "hi\n#3 operator → alpha · now · sent\n  do it")]
    run("inbox")
    heading, *body = capsys.readouterr().out.splitlines()
    assert heading.startswith("#2 alpha")
    assert all(line.startswith("  ") for line in body)


def test_pending_shows_what_is_undecided_and_with_all_the_rest(
    hive: FakeHive, capsys: pytest.CaptureFixture[str]
) -> None:
    hive.approvals[9] = msgspec.structs.replace(hive.approvals[7], id=9, status="denied", agent="gamma")
    run("pending")
    assert "gamma" not in capsys.readouterr().out
    run("pending", "--all")
    assert "gamma" in capsys.readouterr().out


def test_watch_shows_rows_under_their_agents_name(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("watch", "--no-follow") == 0
    assert capsys.readouterr().out == "alpha        · so far\n"


HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e[bold]x[/bold]"


@pytest.mark.parametrize(
    "argv", [["logs", "alpha"], ["inbox"], ["list"], ["pending"], ["watch", "--no-follow"], ["dead", "list"]]
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_what_agents_write_does_nothing_to_the_terminal(
    hive: FakeHive, argv: list[str], form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    hive.log.append(HOSTILE)
    hive.inbox.append(letter_row(2, HOSTILE, sender=HOSTILE))
    hive.dead[6] = letter_row(6, HOSTILE)
    hive.agents[HOSTILE] = msgspec.structs.replace(agent_row(HOSTILE), status_text=HOSTILE)
    hive.approvals[7] = msgspec.structs.replace(hive.approvals[7], description=HOSTILE)
    hive.happen(HOSTILE, Note(text=HOSTILE))
    assert run(*argv, *form) == 0
    out, err = capsys.readouterr()
    assert "owned" in out
    assert "[bold]x[/bold]" in out
    assert not set(out + err) & set("\x1b\x07\x9b\u202e")


def test_the_words_of_a_refusal_do_nothing_to_the_terminal(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    hive.refusal = FaultError(FaultKind.BACKEND, f"the container said {HOSTILE}")
    run("start", "alpha")
    out, err = capsys.readouterr()
    assert "owned" in err
    assert not set(out + err) & set("\x1b\x07\x9b\u202e")


@pytest.mark.parametrize("argv", [["destroy", "alpha"], ["new-session", "alpha"], ["dead", "drop", "5"]])
def test_what_loses_something_is_refused_when_nobody_can_be_asked(
    hive: FakeHive, argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert run(*argv) == 1
    assert "--yes" in capsys.readouterr().err
    assert hive.received == []


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, []), ("\n", 1, ["alpha"]), ("no\n", 1, ["alpha"])])
def test_on_a_terminal_the_loss_is_said_and_asked_about_once(
    hive: FakeHive, answer: str, code: int, left: list[str], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(ours, answer.encode())
        assert run("destroy", "alpha", "--purge") == code
    os.close(ours)
    asked = capsys.readouterr().err
    assert "deletes alpha" in asked
    assert "login" in asked
    assert list(hive.agents) == left


def test_completion_offers_the_agents_that_begin_so(hive: FakeHive) -> None:
    hive.agents["alto"] = agent_row("alto")
    hive.agents["beta"] = agent_row("beta")
    assert complete_agents("al") == ["alpha", "alto"]


def test_completion_is_silent_without_a_daemon_or_with_a_mute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYPERHIVE_RUNTIME_DIR", str(tmp_path))
    assert complete_agents("a") == []
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "host.sock"))
        mute.listen()
        assert complete_agents("a") == []
    assert capfd.readouterr() == ("", "")


def test_follow_shows_what_comes_in_and_ctrl_c_is_exit_code_130(
    hive: FakeHive, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with _Child("watch", "alpha") as watching:
        assert "so far" in watching.line()
        hive.happen("alpha", Note(text="and on"))
        assert "and on" in watching.line()
        assert watching.interrupt() == (130, "")


def test_following_the_jobs_shows_the_list_and_then_each_job_that_changes(hive: FakeHive) -> None:
    with _Child("jobs", "alpha", "--follow") as following:
        assert any(line.startswith("3") for line in iter(following.line, ""))
        hive.wait_until(lambda: hive.followers == 1)
        hive.work(job_row(4, "beta", "stop"))
        hive.work(job_row(5, "alpha", "stop", state="done"))
        assert following.line() == "5 stop alpha: done\n"
        assert following.interrupt() == (130, "")


def test_ctrl_c_while_an_approval_is_carried_out_says_that_it_goes_on(hive: FakeHive) -> None:
    waiting, leave = threading.Event(), threading.Event()

    def hold(request: host.AnyRequest) -> None:
        if isinstance(request, host.Approve):
            waiting.set()
            leave.wait(30)

    hive.on_request = hold
    with _Child("approve", "7", "--yes") as approving:
        assert waiting.wait(30)
        code, said = approving.interrupt()
        leave.set()
    assert code == 130
    assert "hive jobs" in said


def test_on_a_terminal_what_takes_longer_shows_the_lines_of_its_job(hive: FakeHive) -> None:
    def restart(request: host.AnyRequest) -> None:
        if isinstance(request, host.Restart):
            hive.work(job_row(6, "alpha", "restart"), "the turn under way ends first")
            hive.wait_until(lambda: hive.followers == 2)  # of the jobs, and of its log
            hive.work(job_row(6, "alpha", "restart", state="done"), "up again")

    hive.work(job_row(3, "alpha", state="done"))
    hive.on_request = restart
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "wb") as terminal, os.fdopen(ours, "rb") as screen:
        done = subprocess.run(
            [sys.executable, "-m", "hyperhive.cli", "restart", "alpha"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=False,
        )  # fmt: skip
        said = os.read(screen.fileno(), 65536).decode()
    assert (done.returncode, done.stdout) == (0, b"")
    assert said.index("the turn under way ends first") < said.index("up again") < said.index("restarted alpha")


class _Child:
    """The installed command as a process; ended with the block, whatever happens in it."""

    def __init__(self, *argv: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hyperhive.cli", *argv],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._watchdog = threading.Timer(30, self._process.kill)
        self._watchdog.start()

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; its exit code and all that it said on stderr."""
        assert self._process.stderr is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(), self._process.stderr.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._process.__exit__(None, None, None)


def test_shell_passes_on_what_the_shell_says_and_how_it_ends(hive: FakeHive) -> None:
    hive.shell_argv = ["/bin/sh", "-c", 'echo "home=$HOME secret=$SECRET term=$TERM"; exit 7']
    done = subprocess.run(
        [sys.executable, "-m", "hyperhive.cli", "shell", "alpha"],
        capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False,
        env={**os.environ, "SECRET": "hidden", "TERM": "dumb"},
    )  # fmt: skip
    assert done.returncode == 7
    assert done.stdout.strip() == "home= secret= term=dumb"


def test_shell_says_when_only_root_may(hive: FakeHive, tmp_path: Path) -> None:
    hive.refusal = FaultError(FaultKind.WRONG_STATE, "agent 'alpha' is stopped: hive start alpha")
    assert run("shell", "alpha") == 1


def core(*argv: str) -> int:
    return main.run(c0re.make_app(), list(argv))


@pytest.mark.parametrize(
    ("argv", "request_"),
    [
        (["spawn", "beta"], host.Spawn(name="beta")),
        (["request-spawn", "beta"], host.RequestSpawn(name="beta")),
        (["kill", "alpha"], host.Kill(name="alpha")),
        (["rebuild", "alpha"], host.Rebuild(name="alpha")),
        (["list"], host.List()),
        (["pending"], host.Pending()),
        (["approve", "7"], host.Approve(id=7)),
        (["deny", "7"], host.Deny(id=7)),
        (["destroy", "alpha"], host.Destroy(name="alpha")),
        (["destroy", "alpha", "--purge"], host.Destroy(name="alpha", purge=True)),
    ],
)
def test_the_older_names_ask_for_the_same(hive: FakeHive, argv: list[str], request_: host.AnyRequest) -> None:
    assert core(*argv) == 0
    assert last(hive) == request_


def test_the_older_list_prints_plain_names(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    core("list")
    core("pending")
    assert capsys.readouterr().out == "alpha\n7 beta spawn\n8 alpha apply_commit HEAD\n"


def test_following_the_inbox_shows_each_message_once_and_as_it_comes(hive: FakeHive) -> None:
    with _Child("inbox", "--follow") as following:
        assert "#1 alpha" in following.line()
        assert following.line() == "  Good morning\n"
        hive.wait_until(lambda: hive.watchers == 1)
        hive.deliver(letter_row(2, "Good evening"))
        assert "#2 alpha" in following.line()
        assert following.line() == "  Good evening\n"
        hive.wait_until(lambda: all(row.state == "handled" for row in hive.inbox))
        assert following.interrupt() == (130, "")
