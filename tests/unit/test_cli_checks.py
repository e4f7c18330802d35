"""What the doctor finds, fact by fact."""

import os
from pathlib import Path

import pytest

from hyperhive import __version__
from hyperhive.cli import checks
from hyperhive.config.paths import Paths
from hyperhive.protocol.host import HiveInfo

HELLO = HiveInfo(version=__version__, pid=10, backend="bubblewrap", state_dir="/s", runtime_dir="/r", agents=2)


@pytest.mark.parametrize(("version", "ok"), [((3, 10, 9), False), ((3, 11, 0), True), ((3, 13, 1), True)])
def test_a_python_that_is_too_old_is_found(version: tuple[int, ...], ok: bool) -> None:
    assert checks.python(version).ok is ok


def test_a_directory_that_others_can_write_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    finding = checks.directory("state directory", tmp_path)
    assert not finding.ok
    assert "0777" in finding.detail
    assert "HYPERHIVE_STATE_DIR" in finding.remedy


def test_a_directory_that_can_be_made_is_fine_and_is_not_made(tmp_path: Path) -> None:
    assert checks.directory("runtime directory", tmp_path / "a/b").ok
    assert not (tmp_path / "a").exists()


def test_a_directory_that_cannot_be_made_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    finding = checks.directory("runtime directory", tmp_path / "file/run")
    assert not finding.ok
    assert "HYPERHIVE_RUNTIME_DIR" in finding.remedy


def test_the_space_is_that_of_the_disk_the_state_will_be_on(tmp_path: Path) -> None:
    assert str(tmp_path) in checks.disk_space(tmp_path / "not/yet").detail


def test_a_daemon_of_another_version_is_found() -> None:
    assert checks.daemon_version(HELLO).ok
    assert not checks.daemon_version(None).ok


def test_real_credentials_beside_the_rehearsal_are_named_and_not_shown() -> None:
    finding = checks.rehearsal_alone({"ANTHROPIC_API_KEY": "a secret"})
    assert not finding.ok
    assert "ANTHROPIC_API_KEY" in finding.remedy
    assert "a secret" not in finding.detail + finding.remedy
    assert checks.rehearsal_alone({}).ok


PATHS = Paths(state_dir=Path("/s"), runtime_dir=Path("/r"))


def process(proc: Path, pid: int, argv: list[str], environ: dict[str, str]) -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "cmdline").write_bytes(b"\0".join(map(os.fsencode, argv)) + b"\0")
    pairs = [f"{name}={value}" for name, value in environ.items()]
    (proc / str(pid) / "environ").write_bytes(b"\0".join(map(os.fsencode, pairs)))


@pytest.mark.parametrize(
    ("argv", "environ", "found"),
    [
        (["/usr/bin/python3", "/usr/bin/hive", "serve"], PATHS.environment(), True),
        (["python3", "-m", "hyperhive.cli", "serve", "--rehearsal", "/x"], PATHS.environment(), True),
        (["/usr/bin/hive-c0re", "serve"], PATHS.environment(), True),
        (["/usr/bin/hive", "list"], PATHS.environment(), False),
        (["/usr/bin/hive", "send", "serve"], PATHS.environment(), False),
        (["/usr/bin/nginx", "serve"], PATHS.environment(), False),
        (["/usr/bin/hive", "serve"], PATHS.environment() | {"HYPERHIVE_STATE_DIR": "/other"}, False),
    ],
)
def test_a_second_daemon_of_the_same_directories_is_found(
    tmp_path: Path, argv: list[str], environ: dict[str, str], found: bool
) -> None:
    process(tmp_path, 77, argv, environ)
    findings = checks.second_daemons(10, PATHS, tmp_path)
    assert [("77" in finding.detail, "kill 77" in finding.remedy) for finding in findings] == [(True, True)] * found


def test_the_daemon_that_answers_is_not_a_second_one(tmp_path: Path) -> None:
    process(tmp_path, 10, ["/usr/bin/hive", "serve"], PATHS.environment())
    assert checks.second_daemons(10, PATHS, tmp_path) == []
