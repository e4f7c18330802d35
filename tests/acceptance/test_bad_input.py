"""What an operator, an agent or a machine can get wrong: a clear error, nothing lost, and the hive goes on or says why
it does not start."""

import contextlib
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.rehearsal.script import Call, on
from hyperhive.testing.hive_process import PATIENCE_S, HiveProcess, eventually, running_hive

ORDINARY_UID = 21_003


@pytest.fixture
def unstarted() -> Iterator[HiveProcess]:
    """The directories of a hive that has never run; its daemon is for the test to start and to end."""
    with tempfile.TemporaryDirectory(prefix="hh-", ignore_cleanup_errors=True) as root:
        yield HiveProcess(Path(root))


@contextlib.contextmanager
def started(hive: HiveProcess) -> Iterator[HiveProcess]:
    try:
        yield hive.start()
    finally:
        hive.stop_all()


def refusal(hive: HiveProcess, request: host.AnyRequest) -> FaultError:
    with pytest.raises(FaultError) as refused:
        hive.ask(request)
    assert hive.ask(host.List()).ok
    return refused.value


def last_words(hive: HiveProcess, **environment: str) -> str:
    """What a daemon says that does not start: one sentence, and status 1."""
    process = hive.launch(**environment)
    assert process.wait(PATIENCE_S) == 1, hive.log.read_text()
    said = hive.log.read_text()
    assert "Traceback" not in said
    return said.splitlines()[-1]


def spawned(hive: HiveProcess, name: str = "a") -> None:
    hive.ask(host.Spawn(name=name))


def at_rest(hive: HiveProcess, name: str) -> None:
    """Spawned, and never to begin a turn: claude is not started."""
    spawned(hive, name)
    hive.ask(host.SetPaused(name=name, paused=True))


# names and bodies


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[(name, FaultKind.RESERVED_NAME) for name in ("operator", "system", "manager", "hm1nd")],
        *[
            (name, FaultKind.BAD_NAME)
            for name in ("", ".", "..", "../a", "a/b", "/etc", "a" * 64, "a" * 32, "Ada", "a b", "-a", "a-", "1a", "*",
                         "ä", "a\n", "a\0b", "a.b", "a_b")
        ],
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_is_refused_and_makes_nothing(empty: HiveProcess, name: str, kind: FaultKind) -> None:
    for request in (host.Spawn(name=name), host.RequestSpawn(name=name)):
        assert refusal(empty, request).kind is kind
    assert list((empty.paths.state_dir / "agents").iterdir()) == []
    assert empty.ask(host.Pending()).approvals == []


@pytest.mark.parametrize("name", ["..", ".", "", "/", "../../etc", "a/../.."])
def test_a_purge_by_a_name_that_is_a_way_out_touches_nothing(empty: HiveProcess, name: str) -> None:
    assert refusal(empty, host.Destroy(name=name, purge=True)).kind is FaultKind.BAD_NAME
    assert empty.paths.database.exists()
    assert empty.paths.shared.exists()


@pytest.mark.container
def test_a_second_agent_of_a_name_is_refused_and_the_first_goes_on(hive: HiveProcess) -> None:
    spawned(hive)
    record = (hive.paths.containers / "h-a" / "record.json").read_bytes()
    for request in (host.Spawn(name="a"), host.RequestSpawn(name="a")):
        assert refusal(hive, request).kind is FaultKind.NAME_TAKEN
    assert (hive.paths.containers / "h-a" / "record.json").read_bytes() == record


@pytest.mark.container
def test_mail_that_cannot_be_delivered_is_refused_with_what_to_do(hive: HiveProcess) -> None:
    spawned(hive, "builder")
    hive.ask(host.SetPaused(name="builder", paused=True))
    unknown = refusal(hive, host.Send(to="bilder", body="hello"))
    assert (unknown.kind, "'builder'" in unknown.message) == (FaultKind.UNKNOWN_RECIPIENT, True)
    hive.send("builder", "x" * 65536)
    long = refusal(hive, host.Send(to="builder", body="ü" * 32769))
    assert (long.kind, "/shared" in long.message) == (FaultKind.BODY_TOO_LONG, True)
    assert hive.status("builder").unread == 1


# a hive that cannot start


def test_a_second_hive_in_the_same_state_directory_is_refused_and_the_first_goes_on(unstarted: HiveProcess) -> None:
    with started(unstarted) as first:
        second = HiveProcess(first.paths.state_dir.parent / "second")
        said = last_words(second, HYPERHIVE_STATE_DIR=str(first.paths.state_dir))
        assert first.process is not None
        assert f"a hive with pid {first.process.pid}" in said
        assert first.ask(host.List()).ok


@pytest.mark.container
def test_a_second_hive_in_the_same_runtime_directory_is_refused_and_ends_no_container(hive: HiveProcess) -> None:
    spawned(hive)
    record = (hive.paths.containers / "h-a" / "record.json").read_bytes()
    second = HiveProcess(hive.paths.state_dir.parent / "second")
    said = last_words(second, HYPERHIVE_RUNTIME_DIR=str(hive.paths.runtime_dir))
    assert hive.process is not None
    assert f"a hive with pid {hive.process.pid}" in said
    assert "HYPERHIVE_RUNTIME_DIR" in said
    assert (hive.paths.containers / "h-a" / "record.json").read_bytes() == record
    assert hive.status("a").running


def test_a_file_in_place_of_the_state_directory_is_named(unstarted: HiveProcess) -> None:
    place = unstarted.log.with_name("place")
    place.write_text("mine")
    said = last_words(unstarted, HYPERHIVE_STATE_DIR=str(place))
    assert str(place) in said
    assert "HYPERHIVE_STATE_DIR" in said
    assert place.read_text() == "mine"


def test_a_state_directory_that_the_user_cannot_write_is_named(unstarted: HiveProcess) -> None:
    needs.root()
    theirs = unstarted.log.with_name("theirs")
    theirs.mkdir(mode=0o700)
    unstarted.log.parent.chmod(0o755)
    variables = [f"HYPERHIVE_{kind}_DIR={theirs / kind}" for kind in ("STATE", "RUNTIME")]
    unstarted.prefix = (
        *(sys.executable, "-m", "hyperhive.testing.unprivileged", str(ORDINARY_UID)),
        *("/usr/bin/env", *variables),
    )
    said = last_words(unstarted)
    assert f"cannot write {theirs}" in said
    assert "Permission denied" in said
    assert list(theirs.iterdir()) == []


@pytest.mark.parametrize("variable", ["HYPERHIVE_RUNTIME_DIR", "XDG_RUNTIME_DIR"])
def test_a_runtime_directory_too_long_for_a_socket_is_refused_before_anything_is_made(
    unstarted: HiveProcess, variable: str
) -> None:
    long = unstarted.log.parent / ("x" * 120)
    environment = {"HYPERHIVE_RUNTIME_DIR": "", variable: str(long)}
    said = last_words(unstarted, **environment)
    assert "HYPERHIVE_RUNTIME_DIR" in said
    assert "107" in said
    assert not long.exists()


def test_the_socket_of_an_agent_with_a_long_name_is_refused_in_words(unstarted: HiveProcess) -> None:
    needs.bwrap()
    room = 107 - len("/agents//mcp.sock") - 20
    place = unstarted.log.parent / ("r" * (room - len(str(unstarted.log.parent)) - 1))
    unstarted.paths = type(unstarted.paths)(state_dir=unstarted.paths.state_dir, runtime_dir=place)
    with started(unstarted) as hive:
        refused = refusal(hive, host.Spawn(name="a" * 31))
        assert "HYPERHIVE_RUNTIME_DIR" in refused.message
        assert hive.ask(host.List()).agents == []
        spawned(hive, "a")


@pytest.mark.parametrize("mode", [None, 0o600])
def test_a_claude_that_is_missing_or_cannot_be_executed_is_named(unstarted: HiveProcess, mode: int | None) -> None:
    claude = unstarted.log.with_name("claude")
    if mode is not None:
        claude.touch(mode=mode)
    said = last_words(unstarted, HYPERHIVE_CLAUDE=str(claude))
    assert str(claude) in said
    assert "HYPERHIVE_CLAUDE" in said


@pytest.mark.container
def test_a_host_without_user_namespaces_is_told_how_to_allow_them(unstarted: HiveProcess) -> None:
    needs.bwrap()
    unstarted.prefix = (
        *("unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "sh", "-c"),
        *('echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"),
    )
    with started(unstarted) as hive:
        refused = refusal(hive, host.Spawn(name="a"))
        assert refused.kind is FaultKind.BACKEND
        assert "user namespaces cannot be used" in refused.message
        assert "user.max_user_namespaces" in refused.message
        assert "then: hive start a" in refused.message
        assert hive.status("a").failed
        assert str(hive.status("a").failure) in refused.message


# agent.toml and what stands in its place

WRONG = "model = \nallowed_recipients = 7"
TRAPS = ["wrong", "mistyped", "not_utf8", "link", "pipe", "directory", "large"]


def put_trap(trap: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    if trap == "wrong":
        path.write_text(WRONG)
    elif trap == "mistyped":
        path.write_text("sleep_after = 'soon'")
    elif trap == "not_utf8":
        path.write_bytes(b"model = '\xff'")
    elif trap == "link":
        path.symlink_to("/etc/passwd")
    elif trap == "pipe":
        os.mkfifo(path)
    elif trap == "directory":
        path.mkdir()
    elif trap == "large":
        path.write_text("# " + "x" * (1 << 20))


@pytest.mark.container
def test_a_config_that_is_wrong_is_refused_with_every_fault_and_changes_nothing(hive: HiveProcess) -> None:
    at_rest(hive, "a")
    before = hive.ask(host.Config(name="a")).config, (hive.paths.containers / "h-a" / "record.json").read_bytes()
    refused = refusal(hive, host.EditConfig(name="a", text="modle = 'x'\n[limits]\npids = 0\n"))
    assert refused.kind is FaultKind.BAD_CONFIG
    assert "line 1" in refused.message
    assert "line 3" in refused.message
    assert hive.ask(host.Pending()).approvals == []
    now = hive.ask(host.Config(name="a")).config, (hive.paths.containers / "h-a" / "record.json").read_bytes()
    assert now == before
    assert hive.status("a").running


@pytest.mark.container
@pytest.mark.parametrize("trap", ["wrong", "link", "pipe"])
def test_what_lies_in_the_working_tree_of_what_is_deployed_counts_for_nothing(hive: HiveProcess, trap: str) -> None:
    at_rest(hive, "a")
    hive.ask(host.Kill(name="a"))
    hive.kill()
    shown = hive.paths.applied("a") / "agent.toml"
    text = shown.read_text()
    put_trap(trap, shown)
    hive.start()
    hive.ask(host.Start(scope=host.LifecycleScope(agent_names=["a"])))
    assert (hive.status("a").running, hive.status("a").failed) == (True, False)
    eventually(lambda: shown.is_file() and not shown.is_symlink() and shown.read_text() == text)


@pytest.mark.container
def test_an_agent_whose_deployed_config_is_gone_is_failed_and_no_other(hive: HiveProcess) -> None:
    at_rest(hive, "a")
    at_rest(hive, "b")
    hive.ask(host.Kill(name="a"))
    hive.kill()
    git = hive.paths.applied("a") / ".git"
    git.rename(git.with_name("lost"))
    hive.start()
    assert hive.status("b").running
    assert refusal(hive, host.Start(scope=host.LifecycleScope(agent_names=["a"]))).kind is not FaultKind.INTERNAL
    assert hive.status("a").failed
    git.with_name("lost").rename(git)
    hive.ask(host.Start(scope=host.LifecycleScope(agent_names=["a"])))
    assert (hive.status("a").running, hive.status("a").failed) == (True, False)


# the agent's own directory


OWN_FILES = ["hyperhive-model", "hyperhive-events.sqlite", "hyperhive-session", "notes.md"]


@pytest.mark.container
@pytest.mark.parametrize("name", OWN_FILES)
@pytest.mark.parametrize("trap", ["link", "pipe", "directory", "large"])
def test_an_agent_comes_up_whatever_stands_in_place_of_its_files(hive: HiveProcess, name: str, trap: str) -> None:
    hive.paths.agent_state("a").mkdir(parents=True)
    put_trap(trap, hive.paths.agent_state("a") / name)
    spawned(hive)
    hive.until("a", lambda row: row.active_model == "haiku")
    kept = not (name == "hyperhive-model" and trap in ("link", "directory"))
    assert bool(hive.ask(host.SetModel(name="a", model="opus")).warning) is not kept
    assert hive.status("a").running


@pytest.mark.container
@pytest.mark.claude
def test_an_agent_works_with_links_in_place_of_all_its_files_and_writes_through_none() -> None:
    needs.bwrap()
    needs.claude()
    with running_hive() as (hive, model):
        model.script(
            "a",
            on("hello", Call("mcp__hyperhive__send", {"to": "operator", "body": "hi", "in_reply_to": "{{id:int}}"})),
        )
        target = hive.paths.shared / "target"
        target.write_text("untouched")
        target.chmod(0o666)
        hive.paths.agent_state("a").mkdir(parents=True)
        for name in OWN_FILES:
            (hive.paths.agent_state("a") / name).symlink_to("/shared/target")
        spawned(hive)
        assert hive.reply(hive.send("a", "hello")) == "hi"
        assert target.read_text() == "untouched"


@pytest.mark.container
def test_a_purge_follows_no_link_out_of_the_agents_directory(hive: HiveProcess) -> None:
    spawned(hive)
    outside = hive.log.with_name("outside")
    outside.mkdir()
    (outside / "file").write_text("mine")
    (hive.paths.agent_state("a") / "way-out").symlink_to(outside)
    hive.ask(host.Destroy(name="a"))
    (stone,) = hive.ask(host.Tombstones()).tombstones or []
    assert stone.name == "a"
    hive.ask(host.Destroy(name="a", purge=True))
    assert (outside / "file").read_text() == "mine"
    assert not hive.paths.agent("a").exists()


# a full disk


def fill(directory: Path) -> Path:
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


def sent_until_refused(
    hive: HiveProcess, letters: Iterator[host.Send], stored: list[int]
) -> tuple[host.Send, FaultError]:
    for letter in letters:
        try:
            stored += hive.ask(letter).ids or []
        except FaultError as fault:
            return letter, fault
    raise AssertionError("the disk never got full")


@pytest.mark.container
def test_a_full_disk_refuses_mail_and_loses_none(unstarted: HiveProcess) -> None:
    needs.root()
    needs.bwrap()
    state = unstarted.paths.state_dir
    unstarted.prefix = (
        *("unshare", "--mount", "--propagation", "slave", "sh", "-c"),
        *('mount -t tmpfs -o size=16m,mode=0755 small "$0" && mkdir "$0/rehearsal" && exec "$@"', str(state)),
    )
    with started(unstarted) as hive:
        assert hive.process is not None
        spawned(hive)
        hive.ask(host.Kill(name="a"))
        ballast = fill(Path(f"/proc/{hive.process.pid}/root{state}"))
        letters = (host.Send(to="a", body=f"{n} {'x' * 60_000}", mid=uuid.uuid4().hex) for n in range(1000))
        stored: list[int] = []
        refused, fault = sent_until_refused(hive, letters, stored)
        assert fault.kind is FaultKind.STORAGE
        assert len(hive.ask(host.Inbox(name="a", limit=1000)).inbox or []) == len(stored)
        assert hive.ask(host.AgentStatus()).ok
        ballast.unlink()
        stored += hive.ask(refused).ids or []
        kept = hive.ask(host.Inbox(name="a", limit=1000)).inbox or []
        assert [row.id for row in kept] == stored
        assert kept[-1].body == refused.body
