"""Where a hive keeps its things, for each kind of user and environment."""

import socket
from pathlib import Path

import pytest

from hyperhive.config.paths import Paths, PathsError

USER = 1000


def test_the_variables_move_both_trees(tmp_path: Path) -> None:
    environ = {"HYPERHIVE_STATE_DIR": "/srv/state", "HYPERHIVE_RUNTIME_DIR": "/srv/run"}
    paths = Paths.from_environment(environ, 0, root=tmp_path)
    assert paths == Paths(state_dir=Path("/srv/state"), runtime_dir=Path("/srv/run"))
    assert paths.environment() == environ


@pytest.mark.parametrize("mark", ["etc/hyperhive", "var/lib/hyperhive"])
def test_root_with_a_system_install_serves_the_system_hive(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).mkdir(parents=True)
    paths = Paths.from_environment({"HOME": "/root"}, 0, root=tmp_path)
    assert paths.state_dir == tmp_path / "var/lib/hyperhive"
    assert paths.host_socket == tmp_path / "run/hyperhive/host.sock"


def test_root_without_a_system_install_serves_a_hive_of_its_own(tmp_path: Path) -> None:
    environ = {"HOME": "/root", "XDG_RUNTIME_DIR": "/run/user/0"}
    assert Paths.from_environment(environ, 0, root=tmp_path).state_dir == Path("/root/.local/state/hyperhive")


def test_a_user_serves_a_hive_of_their_own_even_where_a_system_install_is(tmp_path: Path) -> None:
    (tmp_path / "etc/hyperhive").mkdir(parents=True)
    environ = {"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/1000", "XDG_STATE_HOME": "/home/u/state"}
    paths = Paths.from_environment(environ, USER, root=tmp_path)
    assert paths == Paths(state_dir=Path("/home/u/state/hyperhive"), runtime_dir=Path("/run/user/1000/hyperhive"))


def test_a_relative_xdg_directory_is_ignored(tmp_path: Path) -> None:
    environ = {"HOME": "/home/u", "XDG_RUNTIME_DIR": "/run/user/1000", "XDG_STATE_HOME": "state"}
    assert Paths.from_environment(environ, USER, root=tmp_path).state_dir == Path("/home/u/.local/state/hyperhive")


def test_without_a_runtime_directory_of_the_session_it_lies_in_tmp_by_uid(tmp_path: Path) -> None:
    paths = Paths.from_environment({"HOME": "/home/u"}, 123456789, root=tmp_path)
    assert paths.runtime_dir == Path("/tmp/hyperhive-123456789")


def test_a_directory_in_tmp_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    trap = Path("/tmp/hyperhive-123456788")
    trap.mkdir()  # its owner is whoever runs the tests, and not 123456788
    try:
        with pytest.raises(PathsError, match="HYPERHIVE_RUNTIME_DIR"):
            Paths.from_environment({"HOME": "/home/u"}, 123456788, root=tmp_path)
    finally:
        trap.rmdir()


def test_a_socket_path_that_the_kernel_would_refuse_is_refused_with_the_variable_to_set() -> None:
    with pytest.raises(PathsError, match=r"107.*HYPERHIVE_RUNTIME_DIR"):
        Paths.from_environment({"HYPERHIVE_RUNTIME_DIR": "/" + "r" * 110, "HOME": "/h"}, USER)


def test_the_longest_socket_path_that_is_allowed_can_be_bound(tmp_path: Path) -> None:
    room = 107 - len(str(tmp_path)) - len("/host.sock") - 1
    runtime = tmp_path / ("r" * room)
    runtime.mkdir()
    path = Paths(state_dir=tmp_path, runtime_dir=runtime).host_socket
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
    with pytest.raises(PathsError):
        _ = Paths(state_dir=tmp_path, runtime_dir=tmp_path / ("r" * (room + 1))).host_socket


def test_an_agents_socket_and_the_models_are_bounded_too(tmp_path: Path) -> None:
    paths = Paths(state_dir=Path("/" + "s" * 100), runtime_dir=Path("/" + "r" * 70))
    assert paths.host_socket
    with pytest.raises(PathsError, match="HYPERHIVE_RUNTIME_DIR"):
        paths.agent_socket("a" * 31)
    with pytest.raises(PathsError, match="HYPERHIVE_STATE_DIR"):
        _ = paths.rehearsal_socket


def test_a_user_talks_to_the_system_hive_when_only_that_is_running(tmp_path: Path) -> None:
    system = tmp_path / "run/hyperhive"
    system.mkdir(parents=True)
    (system / "host.sock").touch()
    environ = {"HOME": "/home/u", "XDG_RUNTIME_DIR": str(tmp_path / "session")}
    assert Paths.for_client(environ, USER, root=tmp_path).runtime_dir == system


def test_a_user_talks_to_their_own_hive_when_it_is_running(tmp_path: Path) -> None:
    for directory in (tmp_path / "run/hyperhive", tmp_path / "session/hyperhive"):
        directory.mkdir(parents=True)
        (directory / "host.sock").touch()
    environ = {"HOME": "/home/u", "XDG_RUNTIME_DIR": str(tmp_path / "session")}
    assert Paths.for_client(environ, USER, root=tmp_path).runtime_dir == tmp_path / "session/hyperhive"


def test_a_hive_that_was_named_is_the_one_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "run/hyperhive").mkdir(parents=True)
    (tmp_path / "run/hyperhive/host.sock").touch()
    environ = {"HOME": "/home/u", "HYPERHIVE_RUNTIME_DIR": str(tmp_path / "mine")}
    assert Paths.for_client(environ, USER, root=tmp_path).runtime_dir == tmp_path / "mine"


def test_the_trees_are_those_of_the_contract() -> None:
    paths = Paths(state_dir=Path("/s"), runtime_dir=Path("/r"))
    assert paths.database == Path("/s/hive.sqlite")
    assert paths.agent_state("a") == Path("/s/agents/a/state")
    assert paths.agent_claude("a") == Path("/s/agents/a/claude")
    assert paths.agent_config("a") == Path("/s/proposed/a/config")
    assert paths.applied("a") == Path("/s/applied/a")
    assert paths.shared == Path("/s/shared")
    assert paths.agent_socket("a") == Path("/r/agents/a/mcp.sock")
    assert paths.rehearsal_socket == Path("/s/rehearsal/model.sock")
