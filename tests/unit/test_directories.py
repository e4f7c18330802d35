"""Agents' directories on the host: whose they are, and that they become another's."""

import asyncio
import os
from pathlib import Path

import pytest

import needs
from hyperhive.config import trees
from hyperhive.config.paths import Paths
from hyperhive.hub import directories
from hyperhive.protocol.ids import AgentName

BEFORE, OTHER = 400_000, 400_001
FIRST, SECOND = (directories.FIRST_UID + 1000 + number * 65536 for number in range(2))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    needs.root()
    made = Paths(state_dir=tmp_path / "state", runtime_dir=tmp_path / "run")
    directories.make_hive(made)
    for name, uid in (("a", BEFORE), ("gone", FIRST)):
        directories.make(made, AgentName(name), uid)
    return made


def owner(path: Path) -> int:
    return path.lstat().st_uid


def give(paths: Paths) -> None:
    asyncio.run(directories.give(paths, AgentName("a"), SECOND))


def test_what_an_agent_has_is_given_to_its_new_uid_and_no_link_is_followed(paths: Paths, tmp_path: Path) -> None:
    state, secret = paths.agent_state("a"), tmp_path / "secret"
    secret.touch()
    os.chown(secret, BEFORE, BEFORE)
    (state / "own").touch()
    (state / "link").symlink_to(secret)
    (state / "elsewhere").symlink_to(tmp_path)
    (state / "another's").touch()
    for name, uid in (("own", BEFORE), ("link", BEFORE), ("elsewhere", BEFORE), ("another's", OTHER)):
        os.chown(state / name, uid, uid, follow_symlinks=False)

    give(paths)

    found = {path.name: owner(path) for path in state.iterdir()}
    assert found == {"own": SECOND, "link": SECOND, "elsewhere": SECOND, "another's": OTHER}
    assert (owner(state), owner(paths.agent_claude("a")), owner(secret)) == (SECOND, SECOND, BEFORE)


def test_what_a_killed_hive_has_half_given_is_given_the_next_time(paths: Paths) -> None:
    state = paths.agent_state("a")
    for name, uid in (("given", SECOND), ("not yet", BEFORE)):
        (state / name).touch()
        os.chown(state / name, uid, uid)

    give(paths)

    assert {owner(path) for path in (state, *state.iterdir())} == {SECOND}


def test_directories_may_be_as_deep_as_an_agent_makes_them(paths: Paths) -> None:
    here = os.open(paths.agent_state("a"), os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        os.chown("d", BEFORE, BEFORE, dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below

    give(paths)

    assert os.fstat(here).st_uid == SECOND
    os.close(here)
    trees.remove(paths.agent_state("a"))  # pytest could not


def test_a_new_uid_is_nobody_s_neither_of_the_living_nor_of_the_dead(paths: Paths) -> None:
    os.chown(paths.agent_state("gone"), FIRST + 7, FIRST + 7)  # as root in its container may have done

    assert directories.new_uid(paths, {BEFORE}) == SECOND
    assert directories.choose_uid(paths, AgentName("gone"), {BEFORE}) == FIRST
