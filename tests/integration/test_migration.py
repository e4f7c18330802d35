"""An installation of the original, with the schema and the trees that it had, becomes one of this hive."""

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from config_house import git
from hyperhive.config.paths import Paths
from hyperhive.daemon.migration import Migration, Report
from hyperhive.protocol import host
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError
from hyperhive.testing.hive_process import HiveProcess
from hyperhive.testing.model import ScriptedModel

HIVE = (sys.executable, "-m", "hyperhive.cli")
SEED = """
CREATE TABLE messages (id INTEGER PRIMARY KEY, sender TEXT, recipient TEXT, body TEXT, sent_at INTEGER,
  delivered_at INTEGER);
CREATE TABLE approvals (id INTEGER PRIMARY KEY, agent TEXT, kind TEXT, commit_ref TEXT, requested_at INTEGER,
  status TEXT, resolved_at INTEGER, note TEXT);
CREATE TABLE operator_questions (id INTEGER PRIMARY KEY, asker TEXT, question TEXT, options_json TEXT, multi INTEGER,
  asked_at INTEGER, deadline_at INTEGER, answered_at INTEGER, answer TEXT);
"""
LATER = """
ALTER TABLE messages ADD COLUMN acked_at INTEGER;
ALTER TABLE messages ADD COLUMN in_reply_to INTEGER;
ALTER TABLE approvals ADD COLUMN fetched_sha TEXT;
ALTER TABLE approvals ADD COLUMN description TEXT;
ALTER TABLE operator_questions ADD COLUMN target TEXT;
CREATE TABLE reminders (id INTEGER PRIMARY KEY, agent TEXT, message TEXT, due_at INTEGER, sent_at INTEGER,
  attempt_count INTEGER, last_error TEXT);
CREATE TABLE schedules (id INTEGER PRIMARY KEY, owner TEXT, body TEXT, interval_seconds INTEGER,
  next_fire_at_unix INTEGER);
CREATE TABLE schedule_targets (schedule_id INTEGER, target TEXT);
CREATE TABLE peers (name TEXT);
"""
OLD_FLAKE = "{ outputs = { hyperhive, ... }: { nixosConfigurations.default = 1; }; }\n"


class Original:
    """An installation of the original's below a directory."""

    def __init__(self, root: Path, *, later: bool = False) -> None:
        self.path = root / "old"
        (self.path / "agents").mkdir(parents=True)
        place = self.path / ("db/broker.sqlite" if later else "broker.sqlite")
        place.parent.mkdir(exist_ok=True)
        self.database = sqlite3.connect(place, isolation_level=None)
        self.database.execute(
            "PRAGMA journal_mode = WAL"
        )  # as a hive that was not ended well: the newest is beside it
        self.database.executescript(SEED + (LATER if later else ""))

    def agent(self, name: str) -> str:
        """One with state, a login, and two deployments; the sha of what is deployed."""
        base = self.path / "agents" / name
        (base / "state").mkdir(parents=True)
        (base / "claude").mkdir()
        (base / "state/notes.md").write_text(f"notes of {name}\n")
        (base / "claude/.credentials.json").write_text("{}")
        repository = self.path / "applied" / name
        repository.mkdir(parents=True)
        config = base / "config"
        config.mkdir()
        for place in (repository, config):
            self.git(place, "init", "-qb", "main")
            (place / "agent.nix").write_text("{ }\n")
        (repository / "flake.nix").write_text(OLD_FLAKE)
        self.commit(repository, "deployed/0")
        (repository / "agent.nix").write_text("{ pkgs, ... }: { }\n")
        sha = self.commit(repository, "deployed/4")
        self.commit(config)
        return sha

    def commit(self, place: Path, tag: str = "") -> str:
        self.git(place, "add", ".")
        self.git(place, "commit", "-qm", "a config")
        if tag:
            self.git(place, "tag", tag)
        return self.git(place, "rev-parse", "HEAD")

    def git(self, place: Path, *words: str) -> str:
        who = ["-c", "user.name=hive-c0re", "-c", "user.email=hive-c0re@hyperhive"]
        done = subprocess.run(["git", "-C", str(place), *who, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def row(self, table: str, **values: object) -> None:
        places = ", ".join("?" * len(values))
        self.database.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", (*values.values(),))


@pytest.fixture
def root() -> Iterator[Path]:
    needs.program("git", "install git")
    with tempfile.TemporaryDirectory(prefix="hm-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def migrate(original: Original, state: Path, *, backend: BackendKind = BackendKind.NIXOS) -> Report:
    paths = Paths(state_dir=state, runtime_dir=state.parent / "run")
    migration = Migration(
        old=original.path, target=paths, backend=backend, containers=original.path.parent / "containers"
    )
    return asyncio.run(migration.apply())


def rows(state: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(state / "hive.sqlite") as database:
        return database.execute(query).fetchall()


def everything(place: Path) -> dict[str, tuple[int, bytes]]:
    """All files of a tree with their modes and contents."""
    return {
        str(path.relative_to(place)): (path.lstat().st_mode, _content(path))
        for path in sorted(place.rglob("*"))
        if not path.name.endswith("-shm")
    }


def _content(path: Path) -> bytes:
    return path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else b""


def test_agents_configs_logins_state_and_mail_of_the_first_version_are_taken_over(root: Path) -> None:
    original = Original(root)
    sha = original.agent("alice")
    original.agent("hm1nd")
    original.row("messages", sender="operator", recipient="alice", body="handled", sent_at=1000, delivered_at=1001)
    original.row("messages", sender="hm1nd", recipient="alice", body="waits", sent_at=2000, delivered_at=None)
    original.row("messages", sender="alice", recipient="operator", body="for you", sent_at=3000, delivered_at=None)
    original.row("messages", sender="alice", recipient="gone", body="to nobody", sent_at=3000, delivered_at=None)
    original.row("approvals", agent="alice", kind="apply_commit", commit_ref=sha, requested_at=1, status="approved")
    original.row("approvals", agent="bob", kind="spawn", commit_ref="", requested_at=2, status="pending")
    original.row("approvals", agent="x", kind="merge_config_pr", commit_ref="", requested_at=3, status="pending")
    original.row("operator_questions", asker="hm1nd", question="which?", options_json='["a","b"]', multi=0, asked_at=9)
    before = everything(original.path)

    report = migrate(original, root / "state")

    assert everything(original.path) == before
    state = root / "state"
    assert rows(state, "SELECT name, role, wanted, backend FROM agents ORDER BY name") == [
        ("alice", "agent", "down", "nixos"), ("manager", "manager", "down", "nixos"),
    ]  # fmt: skip
    assert rows(state, "SELECT id, sender, recipient, kind, body, state FROM messages ORDER BY id") == [
        (1, "operator", "alice", "operator", "handled", "acked"),
        (2, "manager", "alice", "manager", "waits", "queued"),
        (3, "alice", "operator", "agent", "for you", "queued"),
    ]
    assert rows(state, "SELECT id, status FROM approvals ORDER BY id") == [
        (1, "approved"), (2, "pending"), (3, "cancelled"),
    ]  # fmt: skip
    assert rows(state, "SELECT asker, options, answered_at FROM questions") == [("manager", '["a","b"]', None)]
    assert (state / "agents/alice/state/notes.md").read_text() == "notes of alice\n"
    assert (state / "agents/manager/claude/.credentials.json").exists()
    applied = state / "applied/alice"
    assert git(applied, "rev-parse", "main~0^{commit}") == rows(state, "SELECT deployed_sha FROM agents")[0][0]
    assert git(applied, "rev-parse", "deployed/4") == sha
    assert "nixosModules.default" in git(applied, "show", "main:flake.nix")
    assert git(applied, "show", "main:agent.nix") == "{ pkgs, ... }: { }"
    assert rows(state, "SELECT approval, sha FROM deployments WHERE agent = 'alice' AND approval = 4") == [(4, sha)]
    proposed = state / "proposed/alice/config"
    assert git(proposed, "-c", f"safe.directory={proposed}", "log", "--format=%s") == "a config"
    assert (proposed / "agent.nix").read_text() == "{ }\n"
    assert any("to or from nobody" in line for line in report.left)
    assert "3 of 4 messages" in report.taken


def test_what_was_delivered_and_not_acknowledged_comes_again(root: Path) -> None:
    original = Original(root, later=True)
    original.agent("alice")
    common = {"sender": "operator", "recipient": "alice", "sent_at": 1000}
    original.row("messages", **common, body="acked", delivered_at=1001, acked_at=1002)
    original.row("messages", **common, body="in a turn", delivered_at=1001, acked_at=None, in_reply_to=1)
    original.row("messages", **common, body="waits", delivered_at=None, acked_at=None)
    report = migrate(original, root / "state")
    assert rows(root / "state", "SELECT body, state, attempts, thread FROM messages ORDER BY id") == [
        ("acked", "acked", 1, 1), ("in a turn", "queued", 1, 1), ("waits", "queued", 0, 3),
    ]  # fmt: skip
    assert "3 of 3 messages" in report.taken


def test_reminders_come_along_and_a_look_says_of_every_table_what_is_taken_and_why_the_rest_is_not(
    root: Path,
) -> None:
    original = Original(root, later=True)
    original.agent("alice")
    (original.path / "agents/alice/state/hyperhive-turn-stats.sqlite").touch()
    original.row("reminders", agent="alice", message="look", due_at=2_000_000_000, attempt_count=0)
    original.row("reminders", agent="alice", message="x", due_at=1000, sent_at=1001)
    original.row("reminders", agent="gone", message="x", due_at=2_000_000_000)
    original.row("reminders", agent="alice", message="", due_at=2_000_000_000)
    original.row("messages", sender="alice", recipient="gone", body="x", sent_at=1)
    original.row("schedules", owner="alice", body="tidy", interval_seconds=3600)
    original.row("schedule_targets", schedule_id=1, target="alice\nand others")
    original.row("schedules", owner="alice", body="once", next_fire_at_unix=2_000_000_000)
    original.row("peers", name="elsewhere")
    before = everything(original.path)
    paths = Paths(state_dir=root / "state", runtime_dir=root / "run")
    look = Migration(old=original.path, target=paths, backend=BackendKind.NIXOS, containers=root / "containers")
    seen = asyncio.run(look.look())
    assert everything(original.path) == before
    assert not paths.state_dir.exists()

    report = migrate(original, root / "state")

    assert {"0 of 1 messages", "1 of 4 reminders", "0 of 0 approvals"} <= {*report.taken}
    anew = "propose it for each, as [schedule.NAME] with every = 3600 in its agent.toml"
    expected = [
        "1 messages: to or from nobody that there is",
        "1 reminders: they have come already",
        "1 reminders: to or from nobody that there is",
        "1 reminders: damaged",
        f"schedule 1 of alice for alice\\nand others: {anew}",
        "schedule 2 of alice for nobody known: it was to come once: send it, or have the agent remind itself",
        "1 rows of the table peers: this hive has nothing like it",
        "alice: statistics of its turns: the agent could write them; they stay a file of its state",
    ]
    assert {*expected} <= {*report.left}
    assert {*seen.left} == {*report.left}
    assert [line for line in seen.taken if " of " in line] == [line for line in report.taken if " of " in line]
    assert rows(root / "state", "SELECT agent, message, due_at, settled_at FROM reminders") == [
        ("alice", "look", 2_000_000_000.0, None)
    ]


def test_reminders_that_say_nowhere_when_they_are_due_are_left_with_the_names_of_their_columns(root: Path) -> None:
    original = Original(root, later=True)
    original.agent("alice")
    original.database.executescript("ALTER TABLE reminders RENAME COLUMN due_at TO moment")
    original.row("reminders", agent="alice", message="look", moment=2_000_000_000)
    report = migrate(original, root / "state")
    assert (
        "1 reminders: there is no telling when they are due; their columns are id, agent, message, moment, sent_at, "
        "attempt_count, last_error"
    ) in report.left


def test_who_has_no_container_any_more_stays_as_a_tombstone(root: Path) -> None:
    original = Original(root)
    original.agent("alice")
    original.agent("bob")
    (root / "containers").mkdir()
    (root / "containers/h-bob.conf").write_text("PRIVATE_NETWORK=0\n")
    migrate(original, root / "state")
    assert rows(root / "state", "SELECT name FROM agents") == [("bob",)]
    assert (root / "state/agents/alice/state/notes.md").exists()


def test_an_old_tree_in_the_new_ones_place_is_moved_aside_unchanged(root: Path) -> None:
    original = Original(root)
    original.agent("alice")
    before = everything(original.path)
    report = migrate(original, original.path)
    assert everything(Path(report.aside)) == before
    assert (original.path / "hive.sqlite").exists()


def test_nothing_is_followed_and_nothing_but_files_is_taken(root: Path) -> None:
    original = Original(root)
    original.agent("alice")
    secret = root / "secret"
    secret.write_text("of the host")
    state = original.path / "agents/alice/state"
    (state / "link").symlink_to(secret)
    (state / "deep").symlink_to(root)
    os.mkfifo(state / "pipe")
    original.agent("bob")
    claude = original.path / "agents/bob/claude"
    (claude / ".credentials.json").unlink()
    claude.rmdir()
    claude.symlink_to(root)
    (original.path / "agents/Bad Name").mkdir()
    report = migrate(original, root / "state")
    taken = root / "state/agents/alice/state"
    assert (taken / "link").readlink() == secret
    assert (taken / "deep").is_symlink()
    assert not (taken / "pipe").exists()
    assert [*(root / "state/agents/bob/claude").iterdir()] == []
    assert any("pipe" in line for line in report.left)
    assert any("Bad Name" in line for line in report.left)


def test_one_that_fails_leaves_everything_as_it_was(root: Path) -> None:
    original = Original(root)
    original.agent("alice")
    original.database.close()
    (original.path / "broker.sqlite").write_bytes(b"no database" * 100)
    before = everything(original.path)
    with pytest.raises(FaultError, match="cannot read the database"):
        migrate(original, root / "state")
    assert everything(original.path) == before
    assert sorted(path.name for path in root.iterdir()) == ["old"]


def test_it_looks_only_unless_told_otherwise(root: Path) -> None:
    original = Original(root)
    original.agent("alice")
    done = subprocess.run(
        [*HIVE, "migrate-from-hyperhive", str(original.path), "--json"],
        env={"PATH": os.environ["PATH"], **Paths(state_dir=root / "state", runtime_dir=root / "run").environment()},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["applied"] is False
    assert "agent alice" in found["taken"]
    assert sorted(path.name for path in root.iterdir()) == ["old"]


@pytest.mark.container
def test_a_hive_begins_with_what_was_taken_over(root: Path) -> None:
    needs.bwrap()
    original = Original(root)
    original.agent("alice")
    original.row("messages", sender="operator", recipient="alice", body="waits", sent_at=2000, delivered_at=None)
    migrate(original, root / "state", backend=BackendKind.BUBBLEWRAP)
    hive = HiveProcess(root)
    with ScriptedModel(hive.paths.rehearsal_socket):
        hive.start()
        try:
            row = hive.status("alice")
            assert (row.wanted, row.unread) == ("down", 1)
            assert (hive.ask(host.Inbox(name="alice")).inbox or [])[0].body == "waits"
            hive.ask(host.SetPaused(name="alice", paused=True))
            hive.ask(host.Start(scope=host.LifecycleScope(agent_names=["alice"])))
            hive.until("alice", lambda row: bool(row.running and row.active_model))
        finally:
            hive.stop_all()
