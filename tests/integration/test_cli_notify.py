"""`hive notify` as an operator uses it, against a hive in memory behind a real socket."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperhive.cli import main
from hyperhive.protocol import host
from hyperhive.protocol.notify import NotifyKind
from hyperhive.testing.fake_host import FakeHive, FakeHost
from hyperhive.testing.fake_shape import NOON

SECRET = "ntfy://ntfy.example.org/5ecret"


@pytest.fixture
def hive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHive]:
    monkeypatch.setenv("HYPERHIVE_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HYPERHIVE_STATE_DIR", str(tmp_path))
    with FakeHost(tmp_path / "host.sock") as fake:
        yield fake.hive


def notify(*argv: str) -> int:
    return main.run(main.make_app(), ["notify", *argv])


def test_a_url_is_read_unseen_and_sent_whole(
    hive: FakeHive, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
    assert notify("add", "-", "--for", "approval, question", "--name", "phone") == 0
    said = capsys.readouterr()
    kinds = [NotifyKind.APPROVAL, NotifyKind.QUESTION]
    assert hive.received[-1] == host.AddNotifyTarget(url=SECRET, kinds=kinds, name="phone")
    assert "phone is told from now on" in said.err
    assert "5ecret" not in said.out + said.err


def test_a_kind_that_is_none_is_refused_with_those_that_are(
    hive: FakeHive, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notify("add", SECRET, "--for", "approval,everything") == 1
    said = capsys.readouterr().err
    assert "'everything' is no kind of notification" in said
    assert "deploy_failed" in said
    assert not hive.received


def test_the_list_says_how_each_target_does(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    assert notify("list") == 0
    assert "hive notify add URL" in capsys.readouterr().err
    hive.notify_targets.append(
        host.NotifyTarget(
            name="phone", url="ntfy://h.example/…", kinds=["approval"], sent=3, waiting=1, given_up=2, sent_at=NOON,
            error="it cannot be reached", error_at=NOON,
        )
    )  # fmt: skip
    assert notify("list") == 0
    row = capsys.readouterr().out.splitlines()[-1]
    for part in ("phone", "ntfy://h.example/…", "approval", "3, ", "1", "2", "it cannot be reached"):
        assert part in row


def test_a_test_that_fails_says_why_and_so_does_the_status(hive: FakeHive, capsys: pytest.CaptureFixture[str]) -> None:
    assert notify("test", "phone") == 0
    assert capsys.readouterr().out == "phone: it took the message\n"
    hive.notify_error = "it cannot be reached"
    assert notify("test") == 1
    assert "it cannot be reached" in capsys.readouterr().out
