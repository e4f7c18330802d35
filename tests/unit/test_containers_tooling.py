"""What of the host's software a container sees, and that it is never more."""

from dataclasses import fields
from pathlib import Path, PurePosixPath

import pytest

from hyperhive.broker.roster import AgentRow
from hyperhive.config.paths import Paths
from hyperhive.containers.host import mounts_for
from hyperhive.containers.spec import Mount
from hyperhive.hub.agents import Agent
from hyperhive.hub.plan import Tooling, container_spec, nixos_spec
from hyperhive.protocol.faults import FaultError, FaultKind


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return path


def link(path: Path, to: str | Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)
    return path


def seen(mounts: tuple[Mount, ...]) -> dict[Path, str]:
    return {Path(mount.target): mount.link for mount in mounts}


def test_a_link_in_the_home_is_shown_alone_and_not_what_lies_around_it(tmp_path: Path) -> None:
    python = executable(tmp_path / "pythons/3.11/bin/python3.11")
    middle = link(tmp_path / "home/.local/bin/python3.11", python)
    start = link(tmp_path / "venv/bin/python", middle)
    mounts = mounts_for(start, (tmp_path / "pythons/3.11", tmp_path / "venv"))
    assert seen(mounts) == {tmp_path / "pythons/3.11": "", tmp_path / "venv": "", middle: str(python)}


def test_the_file_at_the_end_is_shown_when_no_directory_has_it(tmp_path: Path) -> None:
    python = executable(tmp_path / "home/bin/python3")
    start = link(tmp_path / "venv/bin/python", python)
    assert seen(mounts_for(start, (tmp_path / "venv",))) == {tmp_path / "venv": "", python: ""}


def test_a_link_through_a_linked_directory_leads_to_where_it_leads_on_the_host(tmp_path: Path) -> None:
    python = executable(tmp_path / "real/deep/python")
    link(tmp_path / "real/deep/bin/python", "../python")
    start = link(tmp_path / "short", "real/deep/bin") / "python"
    assert seen(mounts_for(start, (tmp_path / "venv",))) == {tmp_path / "venv": "", start: str(python), python: ""}


def test_the_python_of_the_system_hides_no_other_directory(tmp_path: Path) -> None:
    mounts = mounts_for(Path("/bin/sh"), (Path("/usr"), Path("/"), tmp_path / "venv"))
    assert seen(mounts) == {tmp_path / "venv": ""}


def test_a_directory_and_where_it_really_is_are_both_shown(tmp_path: Path) -> None:
    python = executable(tmp_path / "real/bin/python")
    linked = link(tmp_path / "linked", "real")
    assert seen(mounts_for(python, (linked,))) == {linked: "", tmp_path / "real": ""}


@pytest.mark.parametrize("mounted", [".", "state", "state/agents", "run", "run/x", "really"])
def test_no_container_is_made_that_would_show_the_hives_own_directories(tmp_path: Path, mounted: str) -> None:
    (tmp_path / "home/really").mkdir(parents=True)
    link(tmp_path / "home/state", "really")
    paths = Paths(state_dir=tmp_path / "home/state", runtime_dir=tmp_path / "home/run")
    place = tmp_path / "home" / mounted
    with pytest.raises(FaultError, match="install them elsewhere") as refused:
        spec_with(place, paths)
    assert refused.value.kind is FaultKind.BACKEND


def test_software_beside_the_hives_directories_is_no_reason_to_refuse(tmp_path: Path) -> None:
    paths = Paths(state_dir=tmp_path / "state", runtime_dir=tmp_path / "run")
    spec_with(tmp_path / "state-of-the-art", paths)


@pytest.mark.parametrize("name", ["manager", "a"])
def test_only_a_manager_on_nixos_sees_what_systems_are_made_from_and_cannot_write_it(
    tmp_path: Path, name: str
) -> None:
    paths = Paths(state_dir=tmp_path / "state", runtime_dir=tmp_path / "run")
    found = {str(mount.target): mount for mount in nixos_spec(agent(name), paths=paths, rehearsal=None).mounts}
    assert ("/meta" in found) is (name == "manager")
    assert name != "manager" or (found["/meta"].source, found["/meta"].writable) == (paths.meta, False)


def spec_with(place: Path, paths: Paths) -> None:
    mount = Mount(source=place, target=PurePosixPath(place))
    tooling = Tooling(claude=place / "claude", mounts=(mount,))
    container_spec(agent("a"), paths=paths, tooling=tooling, rehearsal=None, argv=("run",))


def agent(name: str) -> Agent:
    known = {"name": name, "wanted": "up", "backend": "bubblewrap"}
    return Agent(row=AgentRow.from_row({field.name: None for field in fields(AgentRow)} | known))
