"""The hive's own credential through a whole hive: who gets it, what survives, and where it is never found."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.agent import ReceiptState
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.script import Call, Fail, Say, on
from hyperhive.testing.hive_process import HiveProcess, eventually, running_hive
from hyperhive.testing.model import ScriptedModel

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(180)]

FIRST = "MARKER-OF-THE-FIRST-CREDENTIAL"
SECOND = "MARKER-OF-THE-SECOND-CREDENTIAL"
REPLY = Call("mcp__hyperhive__send", {"to": "operator", "body": "here I am", "in_reply_to": "{{id:int}}"})
HIVES = 'credentials = "hive"\n[network]\nmode = "host"\n'


@pytest.fixture
def hive() -> Iterator[HiveProcess]:
    needs.bwrap()
    needs.claude()
    with running_hive() as (hive, _):
        yield hive


def set_credential(hive: HiveProcess, key: str, model: ScriptedModel) -> host.HiveCredential:
    text = f"ANTHROPIC_API_KEY={key}\nANTHROPIC_BASE_URL=http://127.0.0.1:{model.port}\n"
    shown = hive.ask(host.SetCredential(env_file=text)).credential
    assert isinstance(shown, host.HiveCredential)
    return shown


def keys_used(model: ScriptedModel) -> set[str]:
    return {recorded.request.headers.get("x-api-key", "") for recorded in model.requests()}


def places_of(hive: HiveProcess, *secrets: str) -> list[Path]:
    """Every file of the hive's directories and its log that holds one of them."""
    files = [Path(place) / name for place, _, names in os.walk(hive.log.parent) for name in names]
    texts = {path: content(path) for path in files if path.is_file() and not path.is_symlink()}
    return [path for path, text in texts.items() if any(secret.encode() in text for secret in secrets)]


def content(path: Path) -> bytes:
    """Empty when the file has gone meanwhile: claude is at work."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def processes_with(file: str, secret: str) -> list[str]:
    """Programs that have it there, as root sees them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / file).read_bytes()
            program = (process / "comm").read_text().strip()
        except OSError:
            continue
        if secret.encode() in text and int(process.name) != os.getpid():
            found.append(program)
    return found


def test_agents_that_ask_for_it_work_with_it_and_it_is_found_nowhere_else(hive: HiveProcess) -> None:
    hive.stop()
    hive.rehearsing = False
    hive.start()
    with ScriptedModel(port=0) as model:
        model.script(
            "scout", on("", Fail(401, may_retry=False, times=1), REPLY, Say("Done.")), on("", REPLY, Say("."))
        )
        hive.prepare("scout", HIVES)
        hive.prepare("other", '[network]\nmode = "host"\n')
        hive.ask(host.Spawn(name="other"))
        hive.ask(host.Spawn(name="scout"))
        first = hive.send("scout", "where are you?")
        assert hive.until("scout", lambda row: row.needs_login).state == "needs_login"

        shown = set_credential(hive, FIRST, model)  # which the model refuses
        assert (shown.kind, shown.agents) == ("environment", ["scout"])
        model.wait("scout", 1)
        hive.until("scout", lambda row: row.needs_login)

        shown = set_credential(hive, SECOND, model)
        assert hive.reply(first) == "here I am"
        assert hive.receipt(first).attempt == 1
        assert keys_used(model) == {FIRST, SECOND}
        hive.until("other", lambda row: row.needs_login)
        assert {*processes_with("environ", SECOND)} == {"claude"}
        assert processes_with("cmdline", SECOND) == []

        eventually(lambda: hive.receipt(first).state == ReceiptState.HANDLED)  # else both are one turn's later
        (runner,) = _runners(hive, "scout")
        os.kill(runner, signal.SIGKILL)  # its container dies with it
        second = hive.send("scout", "and now?")
        assert hive.reply(second) == "here I am"
        hive.kill()  # the daemon, which must remember it
        hive.start()
        assert hive.ask(host.Credential()).credential == shown
        assert places_of(hive, FIRST, SECOND) == [hive.paths.credential]
        assert hive.paths.credential.stat().st_mode & 0o777 == 0o600
        assert FIRST.encode() not in hive.paths.credential.read_bytes()

        assert hive.ask(host.UnsetCredential()).done
        assert hive.ask(host.UnsetCredential()).done is False
        assert places_of(hive, FIRST, SECOND) == []
        hive.send("scout", "and without?")
        hive.until("scout", lambda row: row.needs_login)
        assert places_of(hive, FIRST, SECOND) == []
        eventually(lambda: processes_with("environ", SECOND) == [])


def _runners(hive: HiveProcess, name: str) -> list[int]:
    """First processes of the agent's container, as the host numbers them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environ = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            state = (process / "mountinfo").read_text()
        except OSError:
            continue
        is_runner = b"hyperhive.harness.runner" in command and b"HYPERHIVE_SOCKET" in environ
        if is_runner and f"{hive.log.parent.name}/state/agents/{name}/state" in state:
            found.append(int(process.name))
    return found


def test_a_hive_that_rehearses_has_none_and_one_that_has_one_does_not_rehearse(hive: HiveProcess) -> None:
    with pytest.raises(FaultError) as refused:
        hive.ask(host.SetCredential(secret="sk-ant-api03-" + "MARKER" * 8))
    assert refused.value.kind is FaultKind.NOT_ALLOWED
    assert "MARKER" not in refused.value.message
    assert not hive.paths.credential.exists()
    hive.stop()
    hive.paths.credential.write_text("{}")
    process = hive.launch()
    assert process.wait(60) == 1
    assert "cannot rehearse beside the hive's own credential" in hive.log.read_text()
    hive.paths.credential.unlink()


def test_a_file_that_cannot_be_read_is_said_and_put_right_by_setting_it(hive: HiveProcess) -> None:
    hive.stop()
    hive.rehearsing = False
    hive.paths.credential.write_text('{"kind":"MARKER"}')
    hive.start()
    with pytest.raises(FaultError) as refused:
        hive.ask(host.Credential())
    assert refused.value.kind is FaultKind.BAD_CONFIG
    assert "MARKER" not in hive.log.read_text() + refused.value.message
    secret = "sk-ant-oat01-" + "MARKER" * 8
    set_to = hive.ask(host.SetCredential(secret=secret)).credential
    assert isinstance(set_to, host.HiveCredential)
    assert (set_to.kind, hive.ask(host.Credential()).credential) == ("token", set_to)
    refused_line = hive.raw(b'{"cmd":"set_credential","secret":"' + b"MARKER" * 1000 + b'"}')
    assert refused_line["error_kind"] == "invalid_params"
    assert "MARKER" not in str(refused_line)
    assert [path.name for path in places_of(hive, "MARKER")] == ["credential.json"]
