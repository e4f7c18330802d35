"""The whole path over containers of systemd-nspawn: real claude, only the model is scripted."""

import contextlib
import os
import select
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

import base_image
import needs
from base_image import base_images  # noqa: F401 - a fixture
from hyperhive.protocol import host
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.script import Call, Say, on
from hyperhive.testing.hive_process import HiveProcess, eventually, running_hive
from hyperhive.testing.model import ScriptedModel
from manager_house import cli

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(base_image.TIMEOUT_S)]

SEND = "mcp__hyperhive__send"
NSPAWN, BUBBLEWRAP = BackendKind.NSPAWN, BackendKind.BUBBLEWRAP
FORMER_UID = 400_000
"""As agents had them before there were containers with users of their own."""
WITH_SYSTEMD = 'init = "systemd"\n'


@pytest.fixture(scope="module")
def hive_and_model(base_images: Path) -> Iterator[tuple[HiveProcess, ScriptedModel]]:  # noqa: F811 - it is that
    needs.claude()
    needs.bwrap()
    with running_hive(manager=True, furnish=lambda hive: base_image.give(base_images, hive.paths.images)) as both:
        yield both


@pytest.fixture
def hive(hive_and_model: tuple[HiveProcess, ScriptedModel]) -> HiveProcess:
    return hive_and_model[0]


@pytest.fixture
def model(hive_and_model: tuple[HiveProcess, ScriptedModel]) -> ScriptedModel:
    return hive_and_model[1]


def spawn(hive: HiveProcess, model: ScriptedModel, name: str, config: str = "", backend: BackendKind = NSPAWN) -> None:
    model.script(
        name,
        on(
            "where are you",
            Call("Bash", {"command": "echo here >> /state/places; id -u"}),
            Call(SEND, {"to": "operator", "body": "uid {{result}}", "in_reply_to": "{{id:int}}"}),
            Say("told"),
            sender="operator",  # what the hive says of a rebuild may come in the same turn
        ),
        on("", Say("nothing to do")),
    )
    hive.prepare(name, config)
    hive.ask(host.Spawn(name=name, backend=backend))


def where(hive: HiveProcess, name: str) -> str:
    """Its answer, when the turn that gave it has ended: what follows then cuts none off."""
    answer = hive.reply(hive.send(name, "where are you"), timeout_s=120)
    hive.until(name, lambda row: row.turn_state == "idle")
    return answer


def end(hive: HiveProcess, name: str) -> None:
    hive.ask(host.Destroy(name=name, purge=True))
    assert not (hive.paths.runtime_dir / "nspawn" / f"h-{name}").exists()


def record(hive: HiveProcess, name: str) -> dict[str, Any]:
    text = (hive.paths.runtime_dir / "nspawn" / f"h-{name}" / "record.json").read_bytes()
    return dict(msgspec.json.decode(text))


def test_the_runner_has_no_privilege_left(hive: HiveProcess, model: ScriptedModel) -> None:
    """It is the program that began as the container's root."""
    spawn(hive, model, "a")
    init = record(hive, "a")["init"]["pid"]
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{init}/status").read_text().splitlines())
    uid = str(hive.paths.agent_state("a").stat().st_uid)
    assert set(status["Uid"].split()) == {uid}
    assert status["Groups"].split() == []
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert Path(f"/proc/{init}/environ").stat().st_uid == int(uid)
    end(hive, "a")


@pytest.mark.parametrize("config", ["", WITH_SYSTEMD], ids=["runner", "systemd"])
def test_an_agent_is_spawned_works_is_rebuilt_and_destroyed(
    hive: HiveProcess, model: ScriptedModel, config: str
) -> None:
    spawn(hive, model, "a", config)
    assert hive.status("a").backend == NSPAWN
    assert "uid 1000" in where(hive, "a")
    notes = hive.paths.agent_state("a") / "places"
    assert notes.stat().st_uid == hive.paths.agent_state("a").stat().st_uid > 0x20000000
    hive.ask(host.Rebuild(name="a"))
    assert "uid 1000" in where(hive, "a")
    assert len(notes.read_text().splitlines()) == 2
    end(hive, "a")


def test_an_agent_starts_from_what_it_was_made_from_also_when_nothing_newer_can_be_made(
    hive: HiveProcess, model: ScriptedModel
) -> None:
    spawn(hive, model, "a")
    base = hive.paths.images / "base"
    shared = base.rename(base.with_name("base.whole"))
    base.mkdir()
    for image in shared.iterdir():
        if image.name != "current":
            (base / image.name).symlink_to(image.resolve())
    try:
        hive.ask(host.Restart(name="a"))
        hive.until("a", lambda row: bool(row.running and row.active_model))
        alone = host.LifecycleScope(agent_names=["a"])
        hive.ask(host.Stop(scope=alone))
        hive.ask(host.Start(scope=alone))
        with pytest.raises(FaultError, match="no base image"):
            hive.ask(host.Rebuild(name="a"))
    finally:
        shutil.rmtree(base)
        shared.rename(base)
    end(hive, "a")


def test_an_agent_moves_to_another_backend_and_back_with_all_that_it_has(
    hive: HiveProcess, model: ScriptedModel
) -> None:
    spawn(hive, model, "b")
    where(hive, "b")
    for backend in (BUBBLEWRAP, NSPAWN):
        hive.ask(host.Move(name="b", backend=backend))
        assert hive.status("b").backend == backend
        assert "uid 1000" in where(hive, "b")
    assert len((hive.paths.agent_state("b") / "places").read_text().splitlines()) == 3
    with pytest.raises(FaultError) as refused:
        hive.ask(host.Move(name="b", backend=NSPAWN))
    assert refused.value.kind is FaultKind.WRONG_STATE
    end(hive, "b")


def test_an_agent_of_an_older_hive_gets_uids_of_its_own_when_it_moves(hive: HiveProcess, model: ScriptedModel) -> None:
    spawn(hive, model, "h", backend=BUBBLEWRAP)
    hive.ask(host.Destroy(name="h"))
    state, login = hive.paths.agent_state("h"), hive.paths.agent_claude("h")
    for path in (state, login, *state.rglob("*"), *login.rglob("*")):
        os.chown(path, FORMER_UID, FORMER_UID, follow_symlinks=False)
    hive.ask(host.Spawn(name="h", backend=BUBBLEWRAP))
    assert "uid 1000" in where(hive, "h")
    assert (state / "places").stat().st_uid == FORMER_UID

    hive.ask(host.Move(name="h", backend=NSPAWN))

    assert "uid 1000" in where(hive, "h")
    assert len((state / "places").read_text().splitlines()) == 2
    assert not [path for path in (login, *login.rglob("*"), *state.rglob("*")) if path.lstat().st_uid < 0x20000000]
    end(hive, "h")


def test_an_agent_stays_where_its_config_can_be_had(hive: HiveProcess, model: ScriptedModel) -> None:
    spawn(hive, model, "c", WITH_SYSTEMD)
    with pytest.raises(FaultError, match="service manager") as refused:
        hive.ask(host.Move(name="c", backend=BUBBLEWRAP))
    assert refused.value.kind is FaultKind.BAD_CONFIG
    assert hive.status("c").backend == NSPAWN
    assert hive.status("c").running
    end(hive, "c")


def test_a_move_that_fails_goes_back(hive: HiveProcess, model: ScriptedModel) -> None:
    spawn(hive, model, "d")
    obstacle = hive.paths.containers / "h-d"
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.write_text("where a container's directory is to be")
    with pytest.raises(FaultError):
        hive.ask(host.Move(name="d", backend=BUBBLEWRAP))
    obstacle.unlink()
    assert hive.status("d").backend == NSPAWN
    assert "uid 1000" in where(hive, "d")
    end(hive, "d")


def test_the_journal_of_a_container_is_there_while_it_runs_and_after(hive: HiveProcess, model: ScriptedModel) -> None:
    spawn(hive, model, "e", WITH_SYSTEMD)
    where(hive, "e")

    def lines(**which: Any) -> list[str]:
        return list(hive.ask(host.Logs(name="e", **which)).messages or [])

    assert any("Started" in line and "harness" in line for line in lines(unit="container"))
    hive.ask(host.Kill(name="e"))
    journal = lines(unit="container", boot=True, lines=5000)
    assert any("harness" in line for line in journal), journal
    assert len(lines(unit="container", lines=2)) == 2
    with pytest.raises(FaultError, match="kernel"):
        lines(unit="kernel")
    end(hive, "e")


def test_the_manager_is_told_how_a_container_died_and_what_it_said_last(
    hive: HiveProcess, model: ScriptedModel
) -> None:
    model.script("manager", on("", Say("noted")))
    spawn(hive, model, "f", WITH_SYSTEMD)
    where(hive, "f")
    os.kill(record(hive, "f")["init"]["pid"], signal.SIGKILL)
    crash = told(hive, "container_crash")
    assert (crash["agent"], crash["cause"], crash["signal"]) == ("f", "signal", 9)
    assert "uid 1000" in where(hive, "f")
    end(hive, "f")


def test_after_a_reboot_the_agent_comes_back_and_its_mail_waits_for_it(
    hive: HiveProcess, model: ScriptedModel
) -> None:
    spawn(hive, model, "g")
    hive.ask(host.SetPaused(name="g", paused=True))
    waiting = hive.send("g", "where are you")
    hive.kill()
    before = record(hive, "g")
    os.kill(before["init"]["pid"], signal.SIGKILL)
    path = hive.paths.runtime_dir / "nspawn" / "h-g" / "record.json"
    path.write_bytes(msgspec.json.encode(before | {"boot": "another"}))
    hive.start()
    hive.until("g", lambda row: row.running)
    assert record(hive, "g")["init"] != before["init"]
    hive.ask(host.SetPaused(name="g", paused=False))
    assert "uid 1000" in hive.reply(waiting, timeout_s=120)
    end(hive, "g")


def told(hive: HiveProcess, event: str) -> dict[str, Any]:
    """The newest such helper event of the manager's, once there is one."""

    def bodies() -> list[str]:
        rows = hive.ask(host.Inbox(name="manager", limit=200)).inbox or []
        return [row.body for row in rows if row.sender == "system" and f'"{event}"' in row.body]

    eventually(lambda: bool(bodies()))
    return dict(msgspec.json.decode(bodies()[-1]))


def test_a_base_that_is_being_made_is_given_up_without_a_trace(hive: HiveProcess) -> None:
    bases = [image.id for image in hive.ask(host.Images()).images or []]
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(hive.ask, host.BuildImage(), timeout_s=300)
        eventually(lambda: bool(programs("mmdebstrap", hive)), 120)
        maker = os.pidfd_open(programs("mmdebstrap", hive)[0])
        try:
            (job,) = [job for job in hive.ask(host.Jobs()).jobs or [] if job.state == "running"]
            cli(hive, "job", "cancel", str(job.id))
            assert select.select([maker], [], [], 30)[0], "it is made on"
        finally:
            os.close(maker)
        with pytest.raises(FaultError, match="cancelled by the operator"):
            making.result(60)
    assert [image.id for image in hive.ask(host.Images()).images or []] == bases
    assert not list((hive.paths.images / "work").iterdir())


def programs(name: str, hive: HiveProcess) -> list[int]:
    """The processes on whose command lines are that name and a path of this hive's images, the oldest first."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            if name in words and str(hive.paths.images) in words:
                found.append(int(process.name))
    return sorted(found)
