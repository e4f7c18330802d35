"""The daemon's settings file: what it takes, what it refuses, and what comes of it in a hive."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hive_process import running_hive
from hyperhive.config import settings_file
from hyperhive.config.paths import Paths
from hyperhive.config.settings_file import AccountSettings, AgentDefaults, DaemonSettings
from hyperhive.daemon.assembly import hive_at
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.ids import AgentName

KEY = "sk-ant-api03-" + "MARKER" * 8
SCOUT = AgentName("scout")


@pytest.fixture
def paths() -> Iterator[Paths]:
    with tempfile.TemporaryDirectory(prefix="hh-") as root:
        yield Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")


def written(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_an_empty_object_means_every_default(tmp_path: Path) -> None:
    assert settings_file.read(written(tmp_path, {})) == DaemonSettings()


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    bad = {"backend": "docker", "manager": "yes", "dashboard": {"adress": "127.0.0.1:1"}, "agents": {"cpu": ""}}
    with pytest.raises(FaultError) as refused:
        settings_file.read(written(tmp_path, bad))
    assert refused.value.message.splitlines()[1:] == [
        '  backend: expected one of bubblewrap, nspawn, nixos, it is "docker"',
        '  manager: expected true or false, it is "yes"',
        "  unknown key `dashboard.adress`; did you mean `address`?",
        '  agents.cpu: expected text, it is ""',
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ('{"credential_file": "a\\u0000b"}', "NUL character"),
        (" " * (settings_file.MAX_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(FaultError, match=says):
        settings_file.read(written(tmp_path, text))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"backend": "podman"}, "backend: expected one of"),
        ({"agents": {"memory": "lots"}}, "cannot use the defaults of agents"),
        ({"agents": {"memory": "1M"}}, "cannot use the defaults of agents"),
        ({"dashboard": {"address": "0.0.0.0:7000"}}, "can be reached from other machines"),
    ],
)
def test_a_daemon_with_bad_settings_does_not_start_and_says_why(
    tmp_path: Path, paths: Paths, settings: dict[str, Any], says: str
) -> None:
    argv = [sys.executable, "-m", "hyperhive.cli", "serve", "--settings", str(written(tmp_path, settings))]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", **paths.environment()}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert says in done.stderr


def test_what_the_file_says_holds_and_an_option_of_the_command_goes_before_it(tmp_path: Path) -> None:
    dashboard = {"enable": False, "address": "127.0.0.1:1", "url": "https://hive.example.org"}
    file = written(tmp_path, {"manager": True, "dashboard": dashboard})
    with running_hive(dashboard=True) as (hive, _):  # with --dashboard 127.0.0.1:0 and --no-manager
        hive.stop()
        hive.dashboard_arguments = ("--settings", str(file))
        hive.start()
        assert str(hive.ask(host.LoginLink()).login_link).startswith("https://hive.example.org/")
        assert hive.ask(host.List()).agents == []


def test_an_agent_s_own_config_goes_before_the_defaults_of_the_hive(paths: Paths) -> None:
    async def scene() -> None:
        settings = DaemonSettings(agents=AgentDefaults(cpu="50%", memory="1G", network="none"))
        async with hive_at(paths, rehearsal=None, settings=settings) as hive:
            plain = await hive.fleet.make(SCOUT, {"agent.toml": ""})
            own = await hive.fleet.make(AgentName("other"), {"agent.toml": '[limits]\nmemory = "2G"\npids = 99\n'})
            assert (plain.settings.limits.cpu, plain.settings.limits.memory) == ("50%", "1G")
            assert plain.settings.network.mode == "none"
            assert (own.settings.limits.cpu, own.settings.limits.memory, own.settings.limits.pids) == ("50%", "2G", 99)
            shown = {one.key: one.value for one in (await hive.shape.config("scout")).settings}
            assert shown["limits.memory"] == '"1G"'

    asyncio.run(scene())


def test_a_credential_of_the_host_is_the_hive_s_and_stays_the_same_over_a_restart(
    paths: Paths, tmp_path: Path
) -> None:
    file = tmp_path / "claude"
    settings = DaemonSettings(credential_file=str(file))

    async def start() -> host.HiveCredential | None:
        async with hive_at(paths, rehearsal=None, settings=settings) as hive:
            return hive.credentials.shown()

    file.write_text(f"{KEY}\n")
    first, again = asyncio.run(start()), asyncio.run(start())
    file.write_text("CLAUDE_CODE_USE_BEDROCK=1\nAWS_BEARER_TOKEN_BEDROCK=MARKER\n")
    other = asyncio.run(start())

    assert first is not None
    assert (first.kind, first.variables) == ("api key", ["ANTHROPIC_API_KEY"])
    assert again == first
    assert other is not None
    assert other.variables == ["AWS_BEARER_TOKEN_BEDROCK", "CLAUDE_CODE_USE_BEDROCK"]


def test_accounts_are_those_of_the_settings_and_stay_the_same_over_a_restart(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "red").write_text(f"{KEY}\n")
    (tmp_path / "bad").write_text("MARKER\n")
    accounts = {name: AccountSettings(credential_file=str(tmp_path / name)) for name in ("red", "bad", "gone")}

    async def start(settings: DaemonSettings) -> list[host.HiveCredential]:
        async with hive_at(paths, rehearsal=None, settings=settings) as hive:
            assert hive.credentials.shown() is None
            return hive.credentials.accounts()

    first = asyncio.run(start(DaemonSettings(accounts=accounts)))
    assert [(one.account, one.variables) for one in first] == [("red", ["ANTHROPIC_API_KEY"])]
    assert asyncio.run(start(DaemonSettings(accounts=accounts))) == first
    (kept,) = paths.accounts.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert asyncio.run(start(DaemonSettings())) == []
    assert not [*paths.accounts.iterdir()]


def test_a_credential_of_the_host_that_is_none_is_said_without_showing_it(paths: Paths, tmp_path: Path) -> None:
    file = tmp_path / "claude"

    async def scene() -> None:
        async with hive_at(paths, rehearsal=None) as hive:
            await hive.credentials.set(KEY, "")
        file.write_text("MARKER\n")
        async with hive_at(paths, rehearsal=None, settings=DaemonSettings(credential_file=str(file))) as hive:
            assert not hive.credentials.is_there
            with pytest.raises(FaultError, match="cannot use this credential") as refused:
                hive.credentials.shown()
            assert "MARKER" not in refused.value.message

    asyncio.run(scene())
