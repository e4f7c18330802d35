"""`hive auth login` as an operator uses it, against a hive in memory behind a real socket."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from hyperhive.cli import main
from hyperhive.protocol import host
from hyperhive.protocol.agent import Login
from hyperhive.testing.fake_host import FakeHive, FakeHost, agent_row

LINK = "https://claude.ai/oauth/authorize?z-x"
WAITING = Login(state="waiting", url=LINK)


@pytest.fixture
def hive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHive]:
    monkeypatch.setenv("HYPERHIVE_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HYPERHIVE_STATE_DIR", str(tmp_path))
    with FakeHost(tmp_path / "host.sock") as fake:
        fake.hive.agents["alpha"] = agent_row("alpha")
        yield fake.hive


@pytest.fixture
def log_in(monkeypatch: pytest.MonkeyPatch) -> "LogIn":
    return LogIn(monkeypatch)


class LogIn:
    """Runs the command with these lines typed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *options: str, typed: str) -> int:
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        return main.run(main.make_app(), ["auth", "login", "alpha", *options])


def asked_of(hive: FakeHive) -> list[type[host.AnyRequest]]:
    return [type(request) for request in hive.received]


def codes(hive: FakeHive) -> list[str]:
    return [request.code for request in hive.received if isinstance(request, host.AgentLoginCode)]


def test_the_link_is_shown_and_each_code_handed_over_until_one_is_taken(
    hive: FakeHive, log_in: LogIn, capsys: pytest.CaptureFixture[str]
) -> None:
    hive.login_steps = [WAITING, Login(state="waiting", url=LINK, note="not the full code")]
    assert log_in(typed="half\nwhole#code\n") == 0
    out, err = capsys.readouterr()
    assert out == f"{LINK}\n"
    assert "not the full code" in err
    assert "is logged in" in err
    assert codes(hive) == ["half", "whole#code"]


def test_a_login_that_failed_says_why(hive: FakeHive, log_in: LogIn, capsys: pytest.CaptureFixture[str]) -> None:
    hive.login_steps = [WAITING, Login(state="failed", note="Couldn't log in: no")]
    assert log_in(typed="a#b\n") == 1
    assert "claude in alpha is not logged in: Couldn't log in: no" in capsys.readouterr().err


def test_without_a_code_the_login_is_cancelled(hive: FakeHive, log_in: LogIn) -> None:
    hive.login_steps = [WAITING]
    assert log_in(typed="") == 1
    assert asked_of(hive) == [host.AgentLogin, host.AgentLoginCancel]


def test_ctrl_c_cancels_the_login(hive: FakeHive, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def readline(self, _size: int) -> str:
            raise KeyboardInterrupt

    hive.login_steps = [WAITING]
    monkeypatch.setattr(sys, "stdin", Interrupted())
    assert main.run(main.make_app(), ["auth", "login", "alpha"]) == main.INTERRUPTED
    assert asked_of(hive) == [host.AgentLogin, host.AgentLoginCancel]


def test_a_link_to_elsewhere_comes_with_a_warning(
    hive: FakeHive, log_in: LogIn, capsys: pytest.CaptureFixture[str]
) -> None:
    hive.login_steps = [Login(state="waiting", url="https://claude.ai.example.com/")]
    log_in(typed="")
    assert "does not lead to claude's makers" in capsys.readouterr().err


def test_as_json_each_step_is_a_line(hive: FakeHive, log_in: LogIn, capsys: pytest.CaptureFixture[str]) -> None:
    hive.login_steps = [WAITING]
    assert log_in("--json", typed="a#b\n") == 0
    out, _ = capsys.readouterr()
    assert [json.loads(line)["login"]["state"] for line in out.splitlines()] == ["waiting", "done"]


def test_the_list_says_until_when_a_limit_holds(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    row = agent_row("alpha")
    hive.agents["alpha"] = msgspec.structs.replace(row, state="rate_limited", limited_until="2026-03-01T14:00:00Z")
    assert main.run(main.make_app(), ["list"]) == 0
    out, _ = capsys.readouterr()
    assert "rate_limited" in out
    assert "until 2026-03-01T14:00:00Z" in out


GIVEN = host.HiveCredential(
    kind="api key",
    variables=["ANTHROPIC_API_KEY"],
    fingerprint="5f1c20ab",
    set_at="2026-03-01T14:00:00Z",
    agents=["alpha"],
)


def hive_auth(*words: str) -> int:
    return main.run(main.make_app(), ["auth", *words])


def test_a_credential_is_read_from_stdin_or_a_file_and_only_its_fingerprint_is_shown(
    hive: FakeHive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    hive.credential = GIVEN
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-ant-api03-MARKER\n"))
    assert hive_auth("set") == 0
    (tmp_path / "env").write_text("ANTHROPIC_API_KEY=MARKER\n")
    assert hive_auth("set", "--env-file", str(tmp_path / "env")) == 0
    assert hive_auth("show") == 0
    assert hive.received[-3:] == [
        host.SetCredential(secret="sk-ant-api03-MARKER"),
        host.SetCredential(env_file="ANTHROPIC_API_KEY=MARKER\n"),
        host.Credential(),
    ]
    said = "".join(capsys.readouterr())
    assert said.count("5f1c20ab") == 3
    assert "MARKER" not in said


def test_accounts_are_shown_by_their_names_also_where_there_is_no_other_credential(
    hive: FakeHive, capsys: pytest.CaptureFixture[str]
) -> None:
    hive.accounts = [replace(GIVEN, account="red", agents=["scout"])]
    assert hive_auth("show") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "account      red"
    assert "agents       scout" in said.out
    assert "no credential of its own" in said.err


@pytest.mark.parametrize("typed", ["", "  \n", "x" * 5000])
def test_no_credential_or_far_too_much_of_one_changes_nothing(
    hive: FakeHive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert hive_auth("set") == 1
    assert hive_auth("set", "--env-file", "/nonexistent/file") == 1
    assert hive.received == []
    assert "nothing was changed" in capsys.readouterr().err


def test_forgetting_the_credential_asks_once(hive: FakeHive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert hive_auth("unset") == 1
    assert hive.received == []
    assert hive_auth("unset", "--yes") == 0
    assert hive.received == [host.UnsetCredential()]


def test_the_list_says_how_one_is_stuck_and_what_to_do_first(
    hive: FakeHive, capsys: pytest.CaptureFixture[str]
) -> None:
    row = agent_row("alpha")
    hive.agents["alpha"] = msgspec.structs.replace(row, state="stuck", stuck="deaf", stuck_note="it takes no mail")
    assert main.run(main.make_app(), ["list"]) == 0
    out, _ = capsys.readouterr()
    assert "deaf, hive restart alpha: it takes no mail" in out
