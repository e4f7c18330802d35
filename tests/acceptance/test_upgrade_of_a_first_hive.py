"""A state directory as the first version left it, with a container that runs on, is taken over."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import needs
from config_house import git
from hyperhive.broker.database import migrate, migrations
from hyperhive.config.paths import Paths
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess, running_hive
from manager_house import asks, at_rest, cli, document, inside, letters, spawned, told

pytestmark = [pytest.mark.container, pytest.mark.timeout(120)]

SETTINGS = 'description = "keeps the books"\nallowed_recipients = ["rests"]\n'
DRAFT = f'{SETTINGS}model = "opus"\n'


@pytest.fixture
def hive() -> Iterator[HiveProcess]:
    needs.bwrap()
    needs.program("git", "install git")
    with running_hive() as (hive, _):
        yield hive


def as_the_first_version_left_it(paths: Paths) -> None:
    """What that one kept: its tables, an agent.toml that was applied, and the operator's copy of it to edit."""
    _first_tables(paths.database)
    for name, copy in (("runs", DRAFT), ("rests", "")):
        text = (paths.applied(name) / "agent.toml").read_text()
        shutil.rmtree(paths.applied(name))
        paths.applied(name).mkdir(mode=0o700)
        (paths.applied(name) / "agent.toml").write_text(text)
        (paths.agent(name) / "config").unlink()
        (paths.agent(name) / "config").mkdir(mode=0o700)
        (paths.agent(name) / "config/agent.toml").write_text(copy or text)
    made_from = paths.agent_runtime("runs") / "agent.json"
    known = json.loads(made_from.read_text())
    del known["deployed_sha"]
    made_from.write_text(json.dumps(known))
    (paths.state_dir / "applied").chmod(0o700)
    shutil.rmtree(paths.proposed)
    shutil.rmtree(paths.state_dir / "staging")


def _first_tables(path: Path) -> None:
    """The same agents and mail in a database of the first schema; it knew of no commits."""
    rows: dict[str, list[tuple[object, ...]]] = {}
    with closing(sqlite3.connect(":memory:")) as first:
        migrate(first, migrations()[:1])
        tables = [name for (name,) in first.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {
            table: ", ".join(column[1] for column in first.execute(f"PRAGMA table_info({table})")) for table in tables
        }
    with closing(sqlite3.connect(path)) as now:
        for table, names in columns.items():
            rows[table] = now.execute(f"SELECT {names} FROM {table}").fetchall()
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    with closing(sqlite3.connect(path)) as old:
        migrate(old, migrations()[:1])
        for table, names in columns.items():
            old.execute(f"DELETE FROM {table}")
            values = ", ".join("?" * (names.count(",") + 1))
            old.executemany(f"INSERT INTO {table} ({names}) VALUES ({values})", rows[table])
        old.execute("UPDATE agents SET deployed_sha = ''")
        old.commit()


def first_process(hive: HiveProcess) -> int:
    number = json.loads((hive.paths.containers / "h-runs/record.json").read_bytes())["init"]["pid"]
    assert isinstance(number, int)
    return number


def test_agents_of_the_first_version_live_on_and_their_configs_are_commits_from_now_on(hive: HiveProcess) -> None:
    spawned(hive, "runs", SETTINGS)
    spawned(hive, "rests")
    hive.ask(host.Kill(name="rests"))
    mail = hive.send("runs", "for later")
    (hive.paths.agent_state("runs") / "notes.md").write_text("mine")
    before, heard = first_process(hive), [row.body for row in letters(hive, "runs")]
    hive.kill()
    as_the_first_version_left_it(hive.paths)
    hive.manager = True
    hive.start()

    # as they were
    assert first_process(hive) == before
    assert (hive.status("runs").running, hive.status("rests").running) == (True, False)
    assert (hive.status("runs").needs_update, hive.status("rests").needs_update) == (True, False)
    assert (hive.status("runs").paused, hive.status("runs").unread) == (True, 1)
    assert [row.body for row in letters(hive, "runs")] == heard
    assert hive.receipt(mail).state == "sent"
    assert (hive.paths.agent_state("runs") / "notes.md").read_text() == "mine"
    assert "rests" in asks(hive, "runs", "send", mid="m", to="operator", body="x")["message"]
    at_rest(hive, "manager")

    # their configs
    shown = hive.ask(host.Config(name="runs")).config
    assert isinstance(shown, host.AgentConfig)
    assert (shown.text, shown.tag) == (SETTINGS, "deployed/0")
    assert "keeps the books" in cli(hive, "config", "runs")
    assert git(hive.paths.applied("runs"), "rev-parse", "main", "deployed/0").split() == [shown.sha] * 2
    assert str(hive.status("runs").deployed_sha) == shown.sha[:12]
    for place in ("/agents/runs/config", "/applied/runs"):
        assert "keeps the books" in inside(hive, "manager", f"cat {place}/agent.toml\n")
    assert (hive.paths.agent("runs") / "config").resolve() == hive.paths.agent_config("runs").resolve()
    assert (hive.paths.agent("runs") / "config.old/agent.toml").read_text() == DRAFT

    # and changes of them
    changed = hive.log.with_name("changed.toml")
    changed.write_text(SETTINGS.replace("books", "records"))
    cli(hive, "edit", "runs", "--file", str(changed), "--yes")
    assert document(hive, "runs")["settings"]["description"] == "keeps the records"
    assert first_process(hive) != before
    told(hive, "manager", "rebuilt", agent="runs", ok=True)
    cli(hive, "rollback", "runs", "--yes")
    assert document(hive, "runs")["settings"]["description"] == "keeps the books"
    assert (hive.ask(host.Config(name="runs")).config or shown).sha == shown.sha
    hive.ask(host.Start(scope=host.LifecycleScope(agent_names=["rests"])))
    assert hive.status("rests").running
    assert not hive.status("runs").needs_update
    hive.kill()
    hive.start()
    assert (hive.ask(host.Config(name="runs")).config or shown).sha == shown.sha
    assert len(hive.ask(host.Deployments(name="runs")).deployments or []) == 3
