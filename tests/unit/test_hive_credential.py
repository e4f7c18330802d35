"""The hive's own credential: its form, its file and what anybody is shown of it."""

import stat
from pathlib import Path

import pytest

from hyperhive.config import credentials, private_file
from hyperhive.config.credentials import credential, of_env_file, of_secret
from hyperhive.hub.risks import warnings
from hyperhive.protocol import agent, host
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.settings import AgentSettings

KEY = "sk-ant-api03-" + "MARKER" * 8
TOKEN = "sk-ant-oat01-" + "MARKER" * 8


def test_a_key_and_a_token_are_told_apart_by_how_they_begin() -> None:
    assert of_secret(f" {KEY}\n") == ("api key", {"ANTHROPIC_API_KEY": KEY})
    assert of_secret(TOKEN) == ("token", {"CLAUDE_CODE_OAUTH_TOKEN": TOKEN})


@pytest.mark.parametrize("text", ["MARKER", f"{KEY} more", f"{KEY}\n{KEY}", "sk-ant-MARKER", KEY + "é", KEY * 40])
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(FaultError) as refused:
        of_secret(text)
    assert "MARKER" not in refused.value.message


def test_an_env_file_may_have_comments_quotes_and_exports() -> None:
    text = f"# a gateway\r\n\nexport ANTHROPIC_BASE_URL='https://gateway'\nANTHROPIC_AUTH_TOKEN = \"{KEY}\"\n"
    assert of_env_file(text) == {"ANTHROPIC_BASE_URL": "https://gateway", "ANTHROPIC_AUTH_TOKEN": KEY}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("AWS_REGION=eu-west-1\n", "lets nobody in"),
        (f"ANTHROPIC_API_KEY={KEY}\nPATH=/MARKER", "line 2 has PATH"),
        (f"LD_PRELOAD=MARKER\nANTHROPIC_API_KEY={KEY}", "line 1 has LD_PRELOAD"),
        ("dGhlIE1BUktFUg_MARKER=", "line 1 is not NAME=VALUE"),
        ("MARKER", "line 1 is not NAME=VALUE"),
        (f"ANTHROPIC_API_KEY={KEY}\nANTHROPIC_API_KEY={KEY}", "line 2 gives ANTHROPIC_API_KEY once more"),
        ("ANTHROPIC_API_KEY=", "the value of ANTHROPIC_API_KEY in line 1"),
        ("ANTHROPIC_API_KEY=MARKER\x1b[2J", "the value of ANTHROPIC_API_KEY in line 1"),
        ("ANTHROPIC_API_KEY=" + "MARKER" * 5000, "the value of ANTHROPIC_API_KEY in line 1"),
    ],
)
def test_a_wrong_env_file_is_refused_with_its_line_and_without_its_values(text: str, why: str) -> None:
    with pytest.raises(FaultError) as refused:
        of_env_file(text)
    assert why in refused.value.message
    assert "MARKER" not in refused.value.message


def test_the_file_is_for_the_hive_alone_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "credential.json"
    first = credential("api key", {"ANTHROPIC_API_KEY": KEY}, before=None, now=1.0)
    private_file.write(path, first)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = credential("api key", {"ANTHROPIC_API_KEY": KEY}, before=first, now=2.0)
    private_file.write(path, again)
    assert credentials.read(path) == again
    assert [entry.name for entry in tmp_path.iterdir()] == ["credential.json"]
    assert (again.fingerprint, again.mark != first.mark) == (first.fingerprint, True)
    other = credential("api key", {"ANTHROPIC_API_KEY": KEY + "x"}, before=first, now=2.0)
    elsewhere = credential("api key", {"ANTHROPIC_API_KEY": KEY}, before=None, now=2.0)
    assert len({first.fingerprint, other.fingerprint, elsewhere.fingerprint}) == 3
    assert private_file.remove(path)
    assert not private_file.remove(path)
    assert credentials.read(path) is None


def test_a_file_that_cannot_be_read_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "credential.json"
    path.write_text('{"kind":"MARKER"}')
    with pytest.raises(FaultError) as refused:
        credentials.read(path)
    assert "MARKER" not in refused.value.message


def test_nothing_that_carries_it_shows_it_when_it_is_written_out() -> None:
    carriers = (
        host.SetCredential(secret=KEY),
        host.SetCredential(env_file=f"ANTHROPIC_API_KEY={KEY}"),
        agent.Credential(env={"ANTHROPIC_API_KEY": KEY}, mark="m"),
        credential("api key", {"ANTHROPIC_API_KEY": KEY}, before=None, now=1.0),
    )
    assert not [carrier for carrier in carriers if "MARKER" in f"{carrier!r} {carrier}"]


def test_a_config_that_asks_for_it_is_a_risk() -> None:
    own, hives = AgentSettings(), AgentSettings(credentials="hive")
    assert [line for line in warnings(own, hives) if "the hive's own credential" in line]
    assert not warnings(hives, hives)
    assert not warnings(hives, own)
