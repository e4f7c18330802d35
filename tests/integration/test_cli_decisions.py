"""Deciding at a terminal and without one: what was shown is what is approved, and nothing is decided by accident."""

import io
import os
import pty
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from hyperhive.cli import main
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.settings import AgentDocument, AgentSettings
from hyperhive.testing.fake_host import FakeHive, FakeHost, agent_row
from hyperhive.testing.fake_shape import COMMIT, NOON, approval_row, job_row

Capture = pytest.CaptureFixture[str]
OLD = 40 * "1"
HOSTILE = "\x1b]0;owned\x07\x9b2J\u202e[bold]x[/bold]"


@pytest.fixture
def hive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHive]:
    """A hive in which a spawn and a change of an agent wait for a decision."""
    monkeypatch.setenv("HYPERHIVE_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HYPERHIVE_STATE_DIR", str(tmp_path))
    with FakeHost(tmp_path / "host.sock") as fake:
        fake.hive.agents["alpha"] = agent_row("alpha")
        fake.hive.approvals[7] = approval_row(7, "beta", "spawn", description="please")
        fake.hive.approvals[8] = approval_row(8, "alpha", description="more memory")
        fake.hive.diffs[8] = [part(["-memory = 1"], warnings=["much memory"]), part(["+memory = 2"])]
        fake.hive.configs["alpha"] = host.AgentConfig(
            name="alpha", sha=OLD, tag="deployed/0", text='model = "haiku"\n', settings=[],
            document=AgentDocument(name="alpha", settings=AgentSettings()),
        )  # fmt: skip
        fake.hive.deployments["alpha"] = [
            host.Deployment(id=5, agent="alpha", sha=COMMIT, tag="deployed/5", deployed_at=NOON, current=True),
            host.Deployment(id=0, agent="alpha", sha=OLD, tag="deployed/0", deployed_at=NOON),
        ]
        fake.hive.tombstones = [host.Tombstone(name="old", size_bytes=2048, last_modified=NOON, has_credentials=True)]
        yield fake.hive


def part(lines: list[str], *, warnings: list[str] | None = None) -> host.ApprovalDiff:
    """A part of the diff of 8, all of which adds a line and removes one."""
    changed = host.DiffFile(path="agent.toml", change="modified", added=1, removed=1, lines=lines)
    return host.ApprovalDiff(
        id=8, agent="alpha", kind="apply_commit", sha=COMMIT, base_sha=OLD, files=[changed], warnings=warnings or [],
        requester="manager", description="more memory", status="pending",
    )  # fmt: skip


def run(*argv: str) -> int:
    return main.run(main.make_app(), list(argv))


@contextmanager
def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *typed: str) -> Iterator[None]:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal, monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", terminal)
        os.write(ours, "".join(line + "\n" for line in typed).encode())
        yield
    os.close(ours)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


def decisions(hive: FakeHive) -> list[host.AnyRequest]:
    return [each for each in hive.received if isinstance(each, host.Approve | host.Deny | host.Rollback | host.Purge)]


# looking


def test_the_diff_is_whole_and_its_parts_are_one_file(hive: FakeHive, capsys: Capture) -> None:
    assert run("diff", "8") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-4:] == ["! much memory", "◆ modified agent.toml  +1 -1", "-memory = 1", "+memory = 2"]
    assert f"hive approve 8 --sha {COMMIT}" in err


def test_the_diff_of_a_decided_approval_names_no_next_step(hive: FakeHive, capsys: Capture) -> None:
    hive.diffs[8] = [msgspec.structs.replace(each, status="approved") for each in hive.diffs[8]]
    run("diff", "8")
    assert capsys.readouterr().err == ""


def test_a_diff_can_be_asked_for_against_another_base(hive: FakeHive) -> None:
    run("diff", "8", "--base", "queued")
    assert hive.received == [host.Diff(id=8, base="queued")]


@pytest.mark.parametrize("cut", ["lines", "end"])
def test_a_diff_that_came_in_part_is_not_shown_as_a_whole(hive: FakeHive, cut: str, capsys: Capture) -> None:
    if cut == "lines":
        hive.diffs[8].pop()
    hive.cut_diffs = cut == "end"
    assert run("diff", "8") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "did not come whole" in err


def test_the_queue_shows_the_pinned_commit_who_asked_and_how_many_warnings(hive: FakeHive, capsys: Capture) -> None:
    hive.approvals[8] = msgspec.structs.replace(hive.approvals[8], warnings=["a", "b", "c"])
    run("pending")
    out, err = capsys.readouterr()
    words = next(line for line in out.splitlines() if line.startswith("8")).split()
    assert words[:5] == ["8", "alpha", "apply_commit", COMMIT[:12], "manager"]
    assert words[-3:] == ["3", "more", "memory"]
    assert "hive diff ID" in err


# approving


def test_newer_inputs_of_all_agents_are_shown_by_name_wherever_they_are_decided(
    hive: FakeHive, capsys: Capture
) -> None:
    wish = msgspec.structs.replace(approval_row(9, "", "update_meta_inputs"), commit_ref="hyperhive,agent-a/nixpkgs")
    hive.approvals[9] = wish
    about = host.ApprovalDiff(id=9, agent="", kind=wish.kind, inputs=["hyperhive", "agent-a/nixpkgs"])
    hive.diffs[9] = [about]
    run("pending")
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("9"))
    assert row.split()[:5] == ["9", "all", "agents", "update_meta_inputs", "manager"]
    run("diff", "9")
    assert "newer revisions of hyperhive, agent-a/nixpkgs" in capsys.readouterr().out
    assert run("approve", "9", "--yes") == 0
    assert "newer revisions of hyperhive, agent-a/nixpkgs" in capsys.readouterr().err
    hive.diffs[9] = [msgspec.structs.replace(about, inputs=[])]
    run("diff", "9")
    assert "newer revisions of all inputs" in capsys.readouterr().out


def test_at_a_terminal_the_change_is_shown_and_exactly_that_commit_is_approved(
    hive: FakeHive, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_a_terminal(monkeypatch, "y"):
        assert run("approve", "8") == 0
    asked = capsys.readouterr().err
    assert "! much memory" in asked
    assert "agent.toml  +1 -1" in asked
    assert [line for part in hive.diffs[8] for file in part.files for line in file.lines if line not in asked] == []
    assert decisions(hive) == [host.Approve(id=8, sha=COMMIT)]


@pytest.mark.parametrize("typed", ["", "n", "maybe"])
def test_anything_but_yes_decides_nothing(hive: FakeHive, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch, typed):
        assert run("approve", "8") == 1
    assert decisions(hive) == []


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(
    ("approval", "next_step"), [("8", f"hive approve 8 --sha {COMMIT}"), ("7", "approve 7 --yes")]
)
def test_without_a_terminal_an_approval_needs_the_commit_or_a_yes(
    hive: FakeHive, approval: str, next_step: str, capsys: Capture
) -> None:
    assert run("approve", approval) == 1
    assert next_step in capsys.readouterr().err
    assert decisions(hive) == []


@pytest.mark.usefixtures("nobody")
def test_the_first_characters_of_the_pinned_commit_are_enough(hive: FakeHive) -> None:
    assert run("approve", "8", "--sha", COMMIT[:7]) == 0
    assert decisions(hive) == [host.Approve(id=8, sha=COMMIT)]


@pytest.mark.usefixtures("nobody")
def test_another_commit_than_the_pinned_is_refused(hive: FakeHive, capsys: Capture) -> None:
    assert run("approve", "8", "--sha", OLD) == 1
    assert "is pinned to" in capsys.readouterr().err
    assert hive.approvals[8].status == "pending"


@pytest.mark.usefixtures("nobody")
def test_yes_approves_what_the_diff_showed_even_when_the_queue_says_another_commit(hive: FakeHive) -> None:
    hive.diffs[8] = [msgspec.structs.replace(each, sha=OLD) for each in hive.diffs[8]]
    assert run("approve", "8", "--yes") == 1
    assert decisions(hive) == [host.Approve(id=8, sha=OLD)]


@pytest.mark.usefixtures("nobody")
def test_a_change_that_was_not_shown_whole_is_not_approved(hive: FakeHive, capsys: Capture) -> None:
    hive.diffs[8].pop()
    assert run("approve", "8", "--yes") == 1
    assert decisions(hive) == []


def test_a_spawn_is_approved_without_a_commit(
    hive: FakeHive, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_a_terminal(monkeypatch, "y"):
        assert run("approve", "7") == 0
    assert "makes beta and starts it" in capsys.readouterr().err
    assert decisions(hive) == [host.Approve(id=7)]


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("status", ["denied", None])
def test_what_is_decided_or_unknown_is_refused_in_the_hives_words(
    hive: FakeHive, status: str | None, capsys: Capture
) -> None:
    if status is None:
        del hive.approvals[8]
    else:
        hive.approvals[8] = msgspec.structs.replace(hive.approvals[8], status=status)
    hive.work(job_row(2, "alpha", approval=8, state="done"), "of then")
    assert run("approve", "8") == 1
    assert "approval 8" in (said := capsys.readouterr().err)
    assert "of then" not in said


@pytest.mark.usefixtures("nobody")
def test_the_lines_of_the_job_are_shown_while_it_runs(hive: FakeHive, capsys: Capture) -> None:
    def carry_out(request: host.AnyRequest) -> None:
        if not isinstance(request, host.Approve):
            return
        hive.wait_until(lambda: hive.followers == 1)
        hive.work(job_row(1, "alpha", approval=3), "of another")
        hive.work(job_row(2, "alpha", approval=8), "made the container")
        hive.wait_until(lambda: hive.followers == 2)
        hive.work(job_row(2, "alpha", approval=8, state="done"), "\x1b[2Jsaid\nhello")

    hive.on_request = carry_out
    assert run("approve", "8", "--sha", COMMIT) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["  made the container", "  ␛[2Jsaid␊hello", "approved 8"]


@pytest.mark.usefixtures("nobody")
def test_the_last_lines_of_the_job_are_waited_for_when_the_answer_was_faster(hive: FakeHive, capsys: Capture) -> None:
    def end() -> None:
        hive.wait_until(lambda: hive.approvals[8].status == "approved")
        hive.work(job_row(2, "alpha", approval=8, state="done"), "said hello")

    def carry_out(request: host.AnyRequest) -> None:
        if isinstance(request, host.Approve):
            hive.work(job_row(2, "alpha", approval=8), "made the container")
            hive.wait_until(lambda: hive.followers == 2)

    hive.on_request = carry_out
    ending = threading.Thread(target=end)
    ending.start()
    run("approve", "8", "--sha", COMMIT)
    ending.join()
    assert capsys.readouterr().err.splitlines() == ["  made the container", "  said hello", "approved 8"]


@pytest.mark.usefixtures("nobody")
def test_a_job_that_fails_is_the_answer_and_exit_code_1(hive: FakeHive, capsys: Capture) -> None:
    def fail(request: host.AnyRequest) -> None:
        if isinstance(request, host.Approve):
            raise FaultError(FaultKind.BACKEND, "the agent did not come up; what was deployed runs on")

    hive.on_request = fail
    assert run("approve", "8", "--sha", COMMIT) == 1
    assert capsys.readouterr() == ("", "hive: the agent did not come up; what was deployed runs on\n")


def test_a_denial_asks_for_the_reason(hive: FakeHive, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch, "too much memory"):
        assert run("deny", "8") == 0
    assert decisions(hive) == [host.Deny(id=8, reason="too much memory")]


@pytest.mark.usefixtures("nobody")
def test_a_denial_without_a_reason_decides_nothing(hive: FakeHive, capsys: Capture) -> None:
    assert run("deny", "8") == 1
    assert "--reason" in capsys.readouterr().err
    assert hive.received == []


def test_a_rollback_says_from_where_to_where_and_names_the_one_it_showed(
    hive: FakeHive, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_a_terminal(monkeypatch, "y"):
        assert run("rollback", "alpha") == 0
    asked = capsys.readouterr().err
    assert asked.index("deployed/5") < asked.index("deployed/0")
    assert decisions(hive) == [host.Rollback(name="alpha", to=0)]


def test_a_purge_says_what_is_lost(hive: FakeHive, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch, "n"):
        assert run("purge", "old") == 1
    assert "2 KiB of old" in (asked := capsys.readouterr().err)
    assert "login" in asked
    assert decisions(hive) == []


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("argv", [["rollback", "alpha"], ["purge", "old"], ["edit", "alpha", "--file", "x"]])
def test_what_needs_a_yes_is_refused_when_nobody_can_be_asked(
    hive: FakeHive, argv: list[str], capsys: Capture
) -> None:
    assert run(*argv) == 1
    assert "--yes" in capsys.readouterr().err
    assert decisions(hive) == []


# proposing and editing


def test_a_proposal_is_told_with_its_pinned_commit_its_risk_and_what_is_next(hive: FakeHive, capsys: Capture) -> None:
    assert run("propose", "alpha", "c0ffee0", "-m", "why") == 0
    out, err = capsys.readouterr()
    assert hive.received[0] == host.RequestApplyCommit(name="alpha", commit_ref="c0ffee0", description="why")
    assert out == f"9 {COMMIT}\n"
    assert "hive diff 9" in err


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of the editor; it does nothing until a test writes it."""
    script = tmp_path / "editor"
    monkeypatch.setenv("VISUAL", f"/bin/sh {script}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    script.write_text("")
    return script


def expect_edit(hive: FakeHive) -> None:
    hive.diffs[9] = [msgspec.structs.replace(part(["-a", "+b"]), id=9)]


def test_an_edit_is_proposed_shown_and_approved(
    hive: FakeHive, editor: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor.write_text(
        f'cat "$1" > {tmp_path}/seen; stat -c %a "$(dirname "$1")" >> {tmp_path}/seen; echo "x = 1" > "$1"'
    )
    expect_edit(hive)
    with at_a_terminal(monkeypatch, "y"):
        assert run("edit", "alpha", "-m", "why") == 0
    assert (tmp_path / "seen").read_text() == 'model = "haiku"\n700\n'
    assert host.EditConfig(name="alpha", text="x = 1\n", base=OLD, description="why") in hive.received
    assert decisions(hive) == [host.Approve(id=9, sha=COMMIT)]
    assert list(tmp_path.glob("hive-edit-*")) == []


def test_an_edit_that_is_not_wanted_after_all_is_withdrawn(
    hive: FakeHive, editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor.write_text('echo "x = 1" > "$1"')
    expect_edit(hive)
    with at_a_terminal(monkeypatch, "n"):
        assert run("edit", "alpha") == 1
    assert decisions(hive) == [host.Deny(id=9, reason="withdrawn by the operator")]


def test_an_edit_that_changes_nothing_proposes_nothing(
    hive: FakeHive, editor: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_a_terminal(monkeypatch):
        assert run("edit", "alpha") == 0
    assert "nothing was changed" in capsys.readouterr().err
    assert hive.received == [host.Config(name="alpha")]


def test_a_faulty_edit_can_be_edited_again_and_is_kept_when_it_is_given_up(
    hive: FakeHive, editor: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor.write_text('echo "nonsense" >> "$1"')
    hive.edit_refusal = FaultError(FaultKind.BAD_CONFIG, "line 2: nonsense")
    with at_a_terminal(monkeypatch, "y", "n"):
        assert run("edit", "alpha") == 1
    said = capsys.readouterr().err
    assert said.count("Edit it again?") == 2
    (kept,) = tmp_path.glob("hive-edit-*/agent.toml")
    assert str(kept) in said
    assert kept.read_text().count("nonsense") == 2
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    assert decisions(hive) == []


@pytest.mark.parametrize(("line", "words"), [("exit 3", "ended with 3"), ('rm "$1"', "cannot read")])
def test_an_editor_that_goes_wrong_proposes_nothing(
    hive: FakeHive, editor: Path, line: str, words: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor.write_text(line)
    with at_a_terminal(monkeypatch):
        assert run("edit", "alpha") == 1
    assert words in capsys.readouterr().err
    assert hive.received == [host.Config(name="alpha")]


def test_an_editor_that_is_not_there_is_named(
    hive: FakeHive, editor: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", "no-such-editor")
    with at_a_terminal(monkeypatch):
        assert run("edit", "alpha") == 1
    assert "'no-such-editor'" in capsys.readouterr().err


@pytest.mark.usefixtures("nobody")
def test_an_edit_takes_a_file_and_a_yes_without_a_terminal(hive: FakeHive, tmp_path: Path) -> None:
    (tmp_path / "new.toml").write_text("x = 2\n")
    expect_edit(hive)
    assert run("edit", "alpha", "--file", str(tmp_path / "new.toml"), "--yes") == 0
    assert host.EditConfig(name="alpha", text="x = 2\n", base=OLD) in hive.received
    assert decisions(hive) == [host.Approve(id=9, sha=COMMIT)]


def test_an_edit_reads_stdin(hive: FakeHive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x = 3\n")))
    expect_edit(hive)
    assert run("edit", "alpha", "--file", "-", "--yes") == 0
    assert host.EditConfig(name="alpha", text="x = 3\n", base=OLD) in hive.received


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize(("content", "words"), [(b"\xff", "UTF-8"), (b"x" * (256 * 1024 + 1), "256 KiB")])
def test_a_file_that_is_no_config_is_refused_before_it_is_sent(
    hive: FakeHive, tmp_path: Path, content: bytes, words: str, capsys: Capture
) -> None:
    (tmp_path / "new.toml").write_bytes(content)
    assert run("edit", "alpha", "--file", str(tmp_path / "new.toml"), "--yes") == 1
    assert words in capsys.readouterr().err
    assert hive.received == [host.Config(name="alpha")]


# jobs, questions, and what agents write


def test_a_job_that_failed_is_listed_with_its_error(hive: FakeHive, capsys: Capture) -> None:
    hive.work(job_row(1, "beta"))
    hive.work(msgspec.structs.replace(job_row(2, "alpha", state="failed"), error="no space"))
    run("jobs", "alpha")
    assert "no space" in (out := capsys.readouterr().out)
    assert "beta" not in out


def test_a_log_is_followed_until_its_job_has_ended(hive: FakeHive, capsys: Capture) -> None:
    hive.work(job_row(2, "alpha", state="done"), "one", "two")
    assert run("job", "log", "2", "--follow") == 0
    out, err = capsys.readouterr()
    assert out == "one\ntwo\n"
    assert err == "2 deploy alpha: done\n"


@pytest.mark.parametrize(
    ("argv", "request_"),
    [
        (["rebuild", "--all"], host.UpdateAll()),
        (["rebuild", "alpha", "alpha"], host.Rebuild(name="alpha")),
        (["request-spawn", "gamma", "-d", "counts"], host.RequestSpawn(name="gamma", description="counts")),
        (["init-config", "gamma"], host.RequestInitConfig(name="gamma")),
        (["revive", "old"], host.Revive(name="old")),
        (["purge", "old", "-y"], host.Purge(name="old")),
        (["jobs", "alpha", "-n", "4"], host.Jobs(name="alpha", limit=4)),
        (["questions", "--all"], host.Questions(all=True)),
        (
            ["ask", "alpha", "how", "far?", "--option", "near", "--option", "far", "--multi", "--ttl", "15m"],
            host.Ask(to="alpha", question="how far?", options=["near", "far"], multi=True, ttl_seconds=900),
        ),
        (["reminders"], host.Reminders()),
        (["session", "revoke", "3"], host.RevokeWebSession(id=3)),
        (["session", "revoke", "--all"], host.RevokeWebSession(all=True)),
    ],
)
def test_a_command_asks_for_what_its_words_say(hive: FakeHive, argv: list[str], request_: host.AnyRequest) -> None:
    assert run(*argv) == 0
    assert hive.received[-1] == request_


@pytest.mark.parametrize("argv", [["rebuild"], ["rebuild", "alpha", "--all"], ["ask", "alpha", "x", "--ttl", "7h"]])
def test_what_makes_no_sense_reaches_nobody(hive: FakeHive, argv: list[str]) -> None:
    assert run(*argv) == 2
    assert hive.received == []


@pytest.mark.parametrize(
    "argv",
    [
        ["pending"], ["diff", "8"], ["approve", "8", "--yes"], ["config", "alpha"], ["config", "alpha", "--toml"],
        ["deployments", "alpha"], ["jobs"], ["job", "log", "2"], ["questions"], ["reminders"], ["sessions"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_what_agents_write_does_nothing_to_the_terminal(
    hive: FakeHive, argv: list[str], form: list[str], capsys: Capture
) -> None:
    hive.approvals[8] = msgspec.structs.replace(hive.approvals[8], description=HOSTILE, requester=HOSTILE)
    hostile = host.DiffFile(path=HOSTILE, change="added", added=1, lines=["+" + HOSTILE])
    hive.diffs[8] = [
        msgspec.structs.replace(part([]), files=[hostile], warnings=[HOSTILE], description=HOSTILE, requester=HOSTILE)
    ]
    setting = host.Setting(key=HOSTILE, value=HOSTILE, source="agent.toml")
    hive.configs["alpha"] = msgspec.structs.replace(hive.configs["alpha"], text=HOSTILE, settings=[setting])
    hive.deployments["alpha"] = [
        msgspec.structs.replace(each, description=HOSTILE) for each in hive.deployments["alpha"]
    ]
    hive.work(msgspec.structs.replace(job_row(2, "alpha", state="failed"), error=HOSTILE), HOSTILE)
    hive.questions[1] = host.Question(
        id=1, asker=HOSTILE, target="operator", question=HOSTILE, options=[HOSTILE], asked_at=NOON
    )
    hive.reminders[1] = host.Reminder(id=1, agent="alpha", message=HOSTILE, due_at=NOON, created_at=NOON)
    hive.sessions = [host.WebSession(id=1, address=HOSTILE, browser=HOSTILE, created_at=NOON, seen_at=NOON)]
    assert run(*argv, *form) == 0
    out, err = capsys.readouterr()
    assert form or "owned" in out + err
    assert not set(out + err) & set("\x1b\x07\x9b\u202e")
